"""Packing as tasks that any engine carries out, with one commit on the driver.

::

    split ──▶ driver: keys, parts ── PartTask ──▶ pack_part, on a worker ──▶ shards, result file
              driver ◀── what each part holds ─────────┘
              driver: parts that are one shard together, once more; then the manifest

Shards are the same, byte by byte, as those that one process makes (`atd.shards.parts` says why).
"""
