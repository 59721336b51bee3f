"""Where shards are put: blobs of the PDS, a folder, a bucket, or a place where they are already.

`kinds.destination` chooses; each module here is one kind, and all keep the rules of `base`.
"""
