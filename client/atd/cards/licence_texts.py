"""Which licence a LICENSE file is, by its text.

Belongs here: the texts of the licences that data sets come under, as digests. A text is made words
(``[a-z0-9]{2,}`` of the NFKC form in lower case, so that lines, quotes, capitals and the numbers of
paragraphs do not matter). What lies between the first and the last phrase of a licence's own terms
must then be that licence word for word: one word more or less, and it is not known. Titles,
copyright lines, preambles and appendices around the terms may differ, but not be much longer.

The digests were made from the SPDX license list (https://spdx.org/licenses).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from atd.cards.spdx import check_license
from atd.errors import InvalidSyntax

_WORD: Final = re.compile(r"[a-z0-9]{2,}")
_NOTICE: Final = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]{1,200})")
_HOLDER: Final = re.compile(
    r"neither the name of (?:[a-z0-9]+ ){1,20}?nor the names of (?:its|his|her|their|the) "
    r"(?:[a-z0-9]+ ){0,8}?may be used"
)
_PLAIN: Final = (
    "neither the name of the copyright holder nor the names of its contributors may be used"
)
_RESERVED: Final = frozenset(
    ("except", "excluding", "commons", "commercial", "noncommercial", "dual", "either", "unless")
)
"""Words beside a short licence that may mean that it is not all of it."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """Where the terms of a licence, or of several alike, begin and end.

    ``before`` and ``after``: words that may stand around them.
    """

    start: str
    end: str
    before: int
    after: int
    short: bool = False


_TERMS: Final = (
    _Terms(
        "permission is hereby granted free of charge to any person obtaining copy of this",
        "connection with the software or the use or other dealings in the software",
        80,
        0,
        short=True,
    ),
    _Terms(
        "redistribution and use in source and binary forms with or without modification are",
        "out of the use of this software even if advised of the possibility of such damage",
        80,
        0,
        short=True,
    ),
    _Terms(
        "this is free and unencumbered software released into the public domain",
        "or the use or other dealings in the software",
        10,
        20,
        short=True,
    ),
    _Terms(
        "definitions license shall mean the terms and conditions for use reproduction and",
        "end of terms and conditions",
        90,
        240,
    ),
    _Terms(
        "definitions contributor means each individual or legal entity that creates",
        "the notice described in exhibit of this license must be attached",
        30,
        160,
    ),
    _Terms("statement of purpose the laws of most", "this cc0 or use of the work", 130, 40),
    _Terms(
        "section definitions adapted material means material subject to copyright",
        "including from the legal processes of any jurisdiction or authority",
        560,
        200,
    ),
    _Terms(
        "license the work as defined below is provided under the terms of this creative commons",
        "not intended to restrict the license of any rights under applicable law",
        110,
        240,
    ),
    _Terms(
        "preamble the open database license odbl is license agreement intended to allow",
        "in this license in order to meet the terms of this license",
        60,
        20,
    ),
    _Terms(
        "preamble the open data commons attribution license is license agreement intended",
        "in this license in order to meet the terms of this license",
        60,
        20,
    ),
    _Terms(
        "preamble the open data commons public domain dedication licence is document",
        "included in this document in order to meet the intent of this document",
        60,
        20,
    ),
    _Terms(
        "this is the community data license agreement",
        "any subsequent version published by the steward",
        40,
        10,
    ),
    _Terms(
        "this is the community data license agreement permissive version",
        "for example machine learning models and models insights",
        40,
        10,
    ),
    _Terms(
        "this is the computational use of data agreement version",
        "under the terms of the uda material that is included in the data",
        40,
        10,
    ),
    _Terms(
        "this is the open use of data agreement version",
        "under the terms of the uda material that is included in the data",
        40,
        10,
    ),
)

_DIGESTS: Final = {
    "3346c203353b286e2021c9b077352db1": "MIT",
    "969096095458619e1d848ac09f25633d": "BSD-2-Clause",
    "e6d26552e15479b2a0ec54e7cd87eb67": "BSD-3-Clause",
    "a72c37b3c78515a7e3e6f54c0fa65002": "Unlicense",
    "994eb4ceae8891ac8471ae88b7d86bad": "Apache-2.0",
    "4f0e2e1e232ff38c0624f45038fcafb0": "MPL-2.0",
    "888f5a8ca3001ed6ff8c45e2fc4ad9fd": "CC0-1.0",
    "cf7894fab56af4fae944bc60f98d57cd": "CC-BY-4.0",
    "bd12ebda27d25712d6de2b5120a16ddc": "CC-BY-SA-4.0",
    "7e01290f5453c30e617c375757f4b0eb": "CC-BY-NC-4.0",
    "bfbe74ace867cd34a139dc608d87b5a6": "CC-BY-NC-SA-4.0",
    "88e86caac05db95b7a739400e5acf169": "CC-BY-ND-4.0",
    "649f1a8005e0d1a4d52d2ab346798550": "CC-BY-NC-ND-4.0",
    "4cf26b0993074f09b7c864240315756b": "CC-BY-3.0",
    "37dad079c2a9180f3ec906bd228349b6": "CC-BY-SA-3.0",
    "5257b2c5af482e19da385f1f16003bc3": "CC-BY-NC-3.0",
    "ee12d361c4d637102d42511c17d359a8": "CC-BY-NC-SA-3.0",
    "c9aef2a67f2564e35655d3916d1eedaa": "CC-BY-ND-3.0",
    "1d18e2f685e817076e5ed580b1db9ba7": "CC-BY-NC-ND-3.0",
    "f0117b10a944d75f8c910330712eeea1": "ODbL-1.0",
    "fd025833ffdc8cf6c309401d7910a981": "ODC-By-1.0",
    "98ab443fcd25aae4577c8ea322737abf": "PDDL-1.0",
    "05a7e7c1c9f7049bda44be487408b540": "CDLA-Permissive-1.0",
    "8ad0e272a1658579dd74d891ada4337a": "CDLA-Permissive-2.0",
    "41149d0e3a8f7a208061e43063a21b08": "CDLA-Sharing-1.0",
    "ea9bbc8599d32ea5043fad08287f8cf8": "C-UDA-1.0",
    "c4edfbf0e41df66520b65fd17ab12c0d": "O-UDA-1.0",
}

_UNDECIDED: Final = (
    ("gnu affero general public license version 3", "AGPL-3.0-only", "AGPL-3.0-or-later"),
    ("gnu lesser general public license version 3", "LGPL-3.0-only", "LGPL-3.0-or-later"),
    ("gnu lesser general public license version 2 1", "LGPL-2.1-only", "LGPL-2.1-or-later"),
    ("gnu general public license version 3", "GPL-3.0-only", "GPL-3.0-or-later"),
    ("gnu general public license version 2", "GPL-2.0-only", "GPL-2.0-or-later"),
)
"""Texts that do not say which of two licences is meant."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a text is: an SPDX expression, or why there is none."""

    license: str | None
    note: str | None = None


def recognized(text: str, name: str = "LICENSE") -> Recognized:
    """The licence that ``text`` is.

    Args:
        name: of the file, for the note.
    """
    notices = {found.strip(" \t*/#->") for found in _NOTICE.findall(text)}
    if len(notices) == 1:
        try:
            return Recognized(check_license(notices.pop()))
        except InvalidSyntax as error:
            return Recognized(None, f"{name}: {error.message}")
    said = _HOLDER.sub(_PLAIN, words_of(text))
    found = {one for terms in _TERMS if (one := _match(said, terms)) is not None}
    if len(found) == 1:
        return Recognized(found.pop())
    head = " ".join(re.findall(r"[a-z0-9]+", text[:1000].lower())[:20])
    for title, *ids in _UNDECIDED:
        if title in head:
            return Recognized(None, f"{name} does not say whether {' or '.join(ids)} is meant")
    return Recognized(None, f"{name} is not word for word a licence that is known here")


def words_of(text: str) -> str:
    """The words of ``text`` of two characters or more, one space between them."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


def _match(said: str, terms: _Terms) -> str | None:
    start, end = said.find(terms.start), said.rfind(terms.end)
    if start < 0 or end < start:
        return None
    end += len(terms.end)
    before, after = said[:start].split(), said[end:].split()
    if len(before) > terms.before or len(after) > terms.after:
        return None
    if terms.short and not _RESERVED.isdisjoint((*before, *after)):
        return None
    return _DIGESTS.get(digest_of(said[start:end]))


def digest_of(terms: str) -> str:
    """The digest by which a licence's own terms are known: of their words."""
    return hashlib.sha256(terms.encode()).hexdigest()[:32]
