"""Engines: what carries out tasks that are independent of each other, here or on many machines.

::

    driver ── tasks ──▶ Foreman ── submit ──▶ Engine: local │ dask │ ray │ another's
       ◀── results ────────┘    ◀── outcomes ──┘

A task is a value that pickles and a function of a module that takes it. It may be run twice, or
twice at once, and that must be harmless: it writes what it makes whole, under a name made from its
content. So a worker that dies costs one task and no more, and nothing is visible until the driver
commits. This room knows nothing of shards; what a task does is its caller's business.
"""
