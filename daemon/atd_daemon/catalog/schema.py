"""What is in the index: its tables, their version, and why they look as they do.

Each entry of ``STEPS`` brings the file from one version to the next; steps are only ever added.
``migrations`` runs them, everything else only compares ``VERSION``.

Search. ``search`` is an FTS5 index over the rows of ``datasets`` (external content: the text is
stored once), kept in step by triggers. The tokeniser is unicode61: letters and digits are words,
everything else separates them, so ``com.lecun.mnist`` and ``iris_flowers`` are found by each of
their parts; case and diacritics do not count. There is no stemming, which would guess a language;
instead the last word of a query matches as a prefix, for which prefixes of 3 and 4 characters are
indexed. ``keys`` holds one opaque word for each thing that a search can be filtered by (`marks.py`
makes them), so that a filter is part of the same index lookup as the words.

Order. ``datasets.id`` is new with every change of a data set's head and never used twice:
descending, it is "newest first" without sorting, which is what bounds the cost of a search.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x61746469  # "atdi"; tells our file from any other SQLite file

_FIRST: Final = """
CREATE TABLE publishers (
    did TEXT PRIMARY KEY,
    handle TEXT,              -- only while it is proved in both directions
    handle_at REAL,
    pds TEXT,
    rev TEXT,                 -- the newest revision that was proved
    verified_at REAL,
    complete_rev TEXT,        -- the revision at which all of it was proved
    complete_commit TEXT,
    complete_at REAL,
    error TEXT,               -- what was wrong when it was last asked
    error_message TEXT,
    error_at REAL
);
CREATE INDEX publishers_by_handle ON publishers (handle);

CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    uri TEXT NOT NULL UNIQUE,
    did TEXT NOT NULL REFERENCES publishers (did),
    collection TEXT NOT NULL,
    rkey TEXT NOT NULL,
    cid TEXT NOT NULL,
    rev TEXT NOT NULL,
    commit_cid TEXT NOT NULL,
    verified_at REAL NOT NULL,
    block BLOB NOT NULL,
    proof BLOB NOT NULL
);
CREATE INDEX records_by_did ON records (did, collection);

CREATE TABLE absences (
    uri TEXT PRIMARY KEY,
    did TEXT NOT NULL REFERENCES publishers (did),
    rev TEXT NOT NULL,
    verified_at REAL NOT NULL,
    proof BLOB NOT NULL
);

CREATE TABLE releases (
    uri TEXT PRIMARY KEY REFERENCES records (uri),
    did TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    cid TEXT NOT NULL,
    samples INTEGER NOT NULL,
    shards INTEGER NOT NULL,
    size INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    notes TEXT
);
CREATE INDEX releases_by_name ON releases (did, name);

CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uri TEXT NOT NULL UNIQUE REFERENCES records (uri),
    did TEXT NOT NULL,
    cid TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT,
    description TEXT,
    tags TEXT NOT NULL,       -- a JSON list
    license TEXT,
    publisher TEXT,           -- the proved handle, for searching
    keys TEXT NOT NULL,
    latest_uri TEXT NOT NULL,
    latest_cid TEXT NOT NULL,
    version TEXT NOT NULL,
    deprecated TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT
);
CREATE INDEX datasets_by_did ON datasets (did, name);

CREATE VIRTUAL TABLE search USING fts5 (
    name, title, description, tags, license, publisher, keys,
    content = 'datasets', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
CREATE TRIGGER datasets_added AFTER INSERT ON datasets BEGIN
    INSERT INTO search (rowid, name, title, description, tags, license, publisher, keys)
    VALUES (new.id, new.name, new.title, new.description, new.tags, new.license, new.publisher,
            new.keys);
END;
CREATE TRIGGER datasets_removed AFTER DELETE ON datasets BEGIN
    INSERT INTO search (search, rowid, name, title, description, tags, license, publisher, keys)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.tags, old.license,
            old.publisher, old.keys);
END;
CREATE TRIGGER datasets_changed AFTER UPDATE ON datasets BEGIN
    INSERT INTO search (search, rowid, name, title, description, tags, license, publisher, keys)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.tags, old.license,
            old.publisher, old.keys);
    INSERT INTO search (rowid, name, title, description, tags, license, publisher, keys)
    VALUES (new.id, new.name, new.title, new.description, new.tags, new.license, new.publisher,
            new.keys);
END;

CREATE TABLE problems (
    uri TEXT PRIMARY KEY,
    did TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL
);
CREATE INDEX problems_by_did ON problems (did);

CREATE TABLE identities (
    key TEXT PRIMARY KEY,     -- a handle or a DID
    text TEXT NOT NULL,       -- what it led to: a DID, a DID document; empty for nothing
    at_s REAL NOT NULL
);
"""

# What is in the index already was seen once, at the moment of its proof.
_HISTORY: Final = """
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order in which things were seen
    uri TEXT NOT NULL,
    did TEXT NOT NULL,
    collection TEXT NOT NULL,
    rkey TEXT NOT NULL,
    action TEXT NOT NULL,     -- create, update, delete
    cid TEXT,                 -- what is there since; none after a deletion
    prev_cid TEXT,            -- what was there before
    rev TEXT NOT NULL,
    commit_cid TEXT NOT NULL,
    seen_at REAL NOT NULL,
    alarm TEXT                -- moved, backwards, unreadable
);
CREATE INDEX history_by_uri ON history (uri);
CREATE INDEX history_by_did ON history (did);

CREATE TABLE old_blocks (     -- what was replaced or deleted, for comparing
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uri TEXT NOT NULL,
    did TEXT NOT NULL,
    cid TEXT NOT NULL,
    block BLOB NOT NULL
);
CREATE INDEX old_blocks_by_uri ON old_blocks (uri, cid);
CREATE INDEX old_blocks_by_did ON old_blocks (did);

CREATE TABLE history_tallies (
    did TEXT PRIMARY KEY,
    rows INTEGER NOT NULL,
    old_bytes INTEGER NOT NULL
);

INSERT INTO history (uri, did, collection, rkey, action, cid, rev, commit_cid, seen_at)
SELECT uri, did, collection, rkey, 'create', cid, rev, commit_cid, verified_at FROM records
ORDER BY verified_at, id;
INSERT INTO history_tallies SELECT did, count(*), 0 FROM history GROUP BY did;
"""

# A row of `following` outlives what is forgotten of its publisher; `hosts` are few, as are reasons.
_FOLLOWING: Final = """
CREATE TABLE following (
    did TEXT PRIMARY KEY REFERENCES publishers (did),
    since_at REAL NOT NULL,
    state TEXT NOT NULL,      -- a word of sync.follow.states
    status TEXT,              -- what its PDS calls an account that is not active
    rev TEXT,                 -- the newest commit that was taken in; the next one continues it
    data_cid TEXT,
    commit_cid TEXT,
    host TEXT,                -- the PDS that gave it
    complete INTEGER NOT NULL,
    verified_at REAL,
    checked_at REAL,          -- its PDS last said that there is nothing newer
    behind_at REAL,           -- since when there is something that we do not have
    delay_s REAL,             -- from the publisher's revision to the index, lately
    reason TEXT,              -- the last error, until it is over
    message TEXT,
    error_at REAL
);

CREATE TABLE hosts (
    origin TEXT PRIMARY KEY,
    cursor INTEGER,           -- its events are processed up to here
    connected_at REAL,
    frame_at REAL,
    reason TEXT,
    message TEXT,
    error_at REAL
);

CREATE TABLE rejects (
    did TEXT NOT NULL,        -- empty: of nobody that is followed
    host TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    last_at REAL NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (did, host, reason)
);
"""

# Which files may leave the store first; see `holdings`.
_HOLDINGS: Final = """
CREATE TABLE holdings (
    digest TEXT PRIMARY KEY,  -- of a file in the store
    size INTEGER NOT NULL,
    used_at REAL NOT NULL
);
CREATE INDEX holdings_by_use ON holdings (used_at);

CREATE TABLE belongings (
    digest TEXT NOT NULL,
    release TEXT NOT NULL,    -- for which it was asked
    name TEXT NOT NULL,       -- what that release calls it
    PRIMARY KEY (digest, release)
);
CREATE INDEX belongings_by_release ON belongings (release);

CREATE TABLE pins (
    target TEXT PRIMARY KEY,  -- the URI of a release, or a digest
    at REAL NOT NULL
);
"""

# More to search by. What is in the columns is made of the records when the index is opened.
_SEARCH: Final = """
ALTER TABLE releases ADD COLUMN schema_uri TEXT;
ALTER TABLE releases ADD COLUMN schema_cid TEXT;
CREATE INDEX releases_by_schema ON releases (schema_uri);

CREATE TABLE schemas (
    uri TEXT PRIMARY KEY REFERENCES records (uri),
    cid TEXT NOT NULL,
    fields TEXT NOT NULL,     -- their names and kinds, for searching
    marks TEXT NOT NULL,      -- the same for filters
    modalities TEXT NOT NULL
);

ALTER TABLE datasets ADD COLUMN tasks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE datasets ADD COLUMN fields TEXT NOT NULL DEFAULT '';
ALTER TABLE datasets ADD COLUMN modalities TEXT NOT NULL DEFAULT '';
ALTER TABLE datasets ADD COLUMN samples INTEGER;
ALTER TABLE datasets ADD COLUMN size INTEGER;
ALTER TABLE datasets ADD COLUMN updated TEXT NOT NULL DEFAULT '';
CREATE INDEX datasets_by_name ON datasets (name);
CREATE INDEX datasets_by_latest ON datasets (latest_uri);
-- Everything that matches are compared with, without reading their texts.
CREATE INDEX datasets_narrow ON datasets (id, name, updated, samples, size);

DROP TRIGGER datasets_added;
DROP TRIGGER datasets_removed;
DROP TRIGGER datasets_changed;
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (
    name, title, description, tags, tasks, fields, license, publisher, keys,
    content = 'datasets', content_rowid = 'id', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '3 4'
);
CREATE TRIGGER datasets_added AFTER INSERT ON datasets BEGIN
    INSERT INTO search (rowid, name, title, description, tags, tasks, fields, license, publisher,
                        keys)
    VALUES (new.id, new.name, new.title, new.description, new.tags, new.tasks, new.fields,
            new.license, new.publisher, new.keys);
END;
CREATE TRIGGER datasets_removed AFTER DELETE ON datasets BEGIN
    INSERT INTO search (search, rowid, name, title, description, tags, tasks, fields, license,
                        publisher, keys)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.tags, old.tasks,
            old.fields, old.license, old.publisher, old.keys);
END;
CREATE TRIGGER datasets_changed AFTER UPDATE ON datasets BEGIN
    INSERT INTO search (search, rowid, name, title, description, tags, tasks, fields, license,
                        publisher, keys)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.tags, old.tasks,
            old.fields, old.license, old.publisher, old.keys);
    INSERT INTO search (rowid, name, title, description, tags, tasks, fields, license, publisher,
                        keys)
    VALUES (new.id, new.name, new.title, new.description, new.tags, new.tasks, new.fields,
            new.license, new.publisher, new.keys);
END;
INSERT INTO search (search) VALUES ('rebuild');

CREATE TABLE derived (version INTEGER NOT NULL);  -- of what was made of the records
"""

# What somebody pulled on purpose; see `kept`.
_KEPT: Final = """
CREATE TABLE kept (
    did TEXT NOT NULL,
    name TEXT NOT NULL,
    release TEXT NOT NULL,    -- the one that was pulled last
    cid TEXT NOT NULL,        -- its content
    since REAL NOT NULL,
    PRIMARY KEY (did, name)
);
"""

# Recipes of publishers. Whoever was read whole before is to be read once more: their recipes were
# not looked at then.
_RECIPES: Final = """
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uri TEXT NOT NULL UNIQUE REFERENCES records (uri),
    did TEXT NOT NULL,
    cid TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT,
    description TEXT,
    license TEXT,
    publisher TEXT,           -- the proved handle, for searching
    size INTEGER NOT NULL,    -- what it says of its downloads, in bytes
    updated TEXT NOT NULL
);
CREATE INDEX recipes_by_did ON recipes (did, name);

CREATE VIRTUAL TABLE recipe_search USING fts5 (
    name, title, description, license, publisher,
    content = 'recipes', content_rowid = 'id', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '3 4'
);
CREATE TRIGGER recipes_added AFTER INSERT ON recipes BEGIN
    INSERT INTO recipe_search (rowid, name, title, description, license, publisher)
    VALUES (new.id, new.name, new.title, new.description, new.license, new.publisher);
END;
CREATE TRIGGER recipes_removed AFTER DELETE ON recipes BEGIN
    INSERT INTO recipe_search (recipe_search, rowid, name, title, description, license, publisher)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.license, old.publisher);
END;
CREATE TRIGGER recipes_changed AFTER UPDATE ON recipes BEGIN
    INSERT INTO recipe_search (recipe_search, rowid, name, title, description, license, publisher)
    VALUES ('delete', old.id, old.name, old.title, old.description, old.license, old.publisher);
    INSERT INTO recipe_search (rowid, name, title, description, license, publisher)
    VALUES (new.id, new.name, new.title, new.description, new.license, new.publisher);
END;

UPDATE publishers SET complete_rev = NULL, complete_commit = NULL, complete_at = NULL;
UPDATE following SET state = 'desynchronized' WHERE state = 'synchronized';
"""

STEPS: Final[tuple[tuple[str, str], ...]] = (
    ("first", _FIRST),
    ("history", _HISTORY),
    ("following", _FOLLOWING),
    ("holdings", _HOLDINGS),
    ("search", _SEARCH),
    ("kept", _KEPT),
    ("recipes", _RECIPES),
)
VERSION: Final = len(STEPS)
