"""Publishing: from staged shards to records that are read back with proof.

::

    begin ──▶ staging folder, cuts          (the client packs into it)
    commit ──▶ check ─▶ decide ─▶ upload ─▶ compose ─▶ send ─▶ read back ─▶ adopt
                          │         │          │         │
                        journal   journal    journal   journal   (killed anywhere: a rerun goes on)

`publication` is the room's face, `run` one attempt with its steps; `unpublish` is the undo. `edit`
changes a card, and `recipes` writes recipes that stand by themselves: one proved write each, and no
journal.

What a step will do is journaled before it is done, and what it did is learned by proof, never from
a reply alone: a write whose answer got lost is looked for in the publisher's signed tree. Pure:
`decide`, `compose`, `batches`, `appending`, `changes`. The network is reached through
`atd_daemon.network` and `atd_daemon.sync` only.
"""
