"""Shard files by digest: a file is there whole and right, or it is not there.

`Store` is the room's face. Behind it: `sources` says what is wanted and from where, `layout` where
files lie and how one becomes visible, `locks` who may touch which, `seals` remembers which files
were verified, `partial` is a download that is not finished, `replies` judges what a server
answered, `download` drives all that from one source to the next, `flights` lets many wait for one
download, `leftovers` finds what is of no use, and `threads` keeps disk work off the event loop.

Rules. Files are named by digest alone: no text of a record ever reaches the file system. A visible
file was hashed from end to end, is read-only, and is only ever replaced by rename or unlinked,
never truncated or written, because readers have it mapped. One that is found damaged is renamed
into the quarantine, where the last few are kept to be looked at.
"""

from atd_daemon.store.download import Progress, RetryPolicy
from atd_daemon.store.sources import Blob, ShardWant, Source, Url
from atd_daemon.store.store import Store, Usage

__all__ = ["Blob", "Progress", "RetryPolicy", "ShardWant", "Source", "Store", "Url", "Usage"]
