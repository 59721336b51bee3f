"""What we know: the index of proved records, in one SQLite file.

`Catalog` is the room's face. Behind it: `database` opens the file and runs transactions, `schema`
says what is in it, `migrations` brings an older file up to date, `place` refuses places where
SQLite cannot keep its word, `writer` is the only way in, `queries` and `search` are the ways out,
`recipes` lists and finds recipes, `history` remembers what changed, `holdings` what is known of the
store's files, `kept` what was pulled on purpose, `model` has the values that come out.

Rules. Nothing enters but what `atd.protocol.proof` has made, together with the value that
`atd.records` parsed from it. What cannot be proved or read is kept as a problem, visible with its
reason, and is never listed as a data set. Text from records goes into SQL as parameters only, and
time is told by the caller. Everything here can be rebuilt from the network, except what it
remembers of revisions: whoever removes the index also forgets how new each publisher once was.
"""

from atd_daemon.catalog.catalog import Catalog
from atd_daemon.catalog.model import (
    Change,
    Changes,
    Counts,
    DatasetEntry,
    Flaw,
    NamedDataset,
    Problem,
    Publisher,
    RecipeEntry,
    ReleaseEntry,
    SearchPage,
    StoredRecord,
)

__all__ = [
    "Catalog",
    "Change",
    "Changes",
    "Counts",
    "DatasetEntry",
    "Flaw",
    "NamedDataset",
    "Problem",
    "Publisher",
    "RecipeEntry",
    "ReleaseEntry",
    "SearchPage",
    "StoredRecord",
]
