"""Following publishers: the index stays equal to what they have signed, and says how fresh it is.

`follower` is the room's face. Behind it: `states` (the table of what may follow on what) and
`judging` (what a message means to a repository) are pure; `repo` is what is known of one publisher
while the daemon runs; `stream` reads the events of one host; `intake` takes its messages in;
`tending` resolves, confirms, checks and resyncs one repository; `discovering` lists publishers as
hints; `timing` is the clock and the waiting, which tests bring themselves.

Rules. Nothing of a stream is believed: a message has an effect only after `atd.protocol.live` has
proved it and it continues what is known; everything else is counted and leads to asking the
publisher's PDS. What was processed is remembered in the transaction of its effects. Each host has
a connection and a turn of its own, so none can hold up another, and whatever a host can make us
keep is bounded.
"""
