"""A PDS of one's own, in the daemon: an account at a domain, its signed repository, its firehose.

::

    app ── routes_* ── xrpc        HTTP: parse, call, answer          the only rooms that know HTTP
              │
            host ── backup         all accounts of a folder, one file and back
              │
           account                 one account, its parts wired
      ┌───────┼────────┬─────────┐
    repo   reading   blobs   sessions   feed      what it does; all SQL is here
      └── tree  writes  events ──┘       │
              database  keys  domain  limits  refusal

``Host.open(folder)`` and ``create_host_app(host)`` are all that the rest of the daemon needs.
"""
