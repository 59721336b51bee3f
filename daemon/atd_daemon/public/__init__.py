"""The public read-only mode: one daemon as the catalogue and the shard mirror of a group.

::

    reading   what may be read, out of the index alone
    shards    which shards may be had, by digest
    limits    how much of it one client may have
    answers   the routes' answers
    app       the routes, and what all answers have in common

Rules. Nothing is fetched on a stranger's behalf: no part that could is handed to this room, and
every request runs with the network switched off besides. Nothing enters the index. Only data sets
of publishers who are *followed* are served, because only of those are deletions and takedowns
noticed within minutes; whether one is still listed is looked up with every request. What a client
gets proves itself: records come with their proofs, shards by their digests.
"""
