"""What is wrong on this machine, and what to do about it: the checks behind ``atd doctor``.

::

    finding      one line of the result
    places       settings, folders, disk space, databases, the cache's quota
    processes    the daemon: is it there, is it ours, what does it say of itself
    reach        the network: names, the PLC directory, servers, clocks
    libraries    what is installed
    rounds       all of them, one after the other

Rules. It only looks: nothing is created, repaired, migrated or started, and databases are opened so
that not even a lock file appears. It works when the daemon is away or broken: each check stands
alone, and one that breaks is a finding of its own. A check says what it found in words, and every
finding that is not well says what to do.
"""
