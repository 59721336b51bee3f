"""What a shard is: reproducible tar writing, cuts, member index, sample codec, reading, batches.

::

    sample --codec--> values --layout--> members --tar--> shard file        (writer, cut)
    shard file --tar, index--> members --layout--> values --codec--> sample (reader) --> Batch

Reading believes nothing: whatever a shard holds, what comes out is a sample that fits its schema or
an `atd.errors.ShardError` naming the shard, the key and the field. Nothing here opens a connection.
Light on purpose: each module is imported by name.
"""
