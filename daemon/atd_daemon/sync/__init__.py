"""Keeping what we know true: from the network, through the proof, into the index.

`resolve` proves one record, one data set or one publisher; nothing else puts records of others
into the catalog.
"""
