"""What a CITATION.cff says (https://citation-file-format.github.io, versions 1.0 to 1.2).

Belongs here: the fields of the Citation File Format that a card has a place for. Unknown fields and
fields of another type than the format has are passed over: what is left is still said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote as percent

from atd.cards import spdx, yaml_door
from atd.cards.bibtex import entry
from atd.cards.said import (
    MAX_CREATORS,
    TEXT_LIMITS,
    Proposal,
    Said,
    bounded,
    creator,
    is_address,
    line,
    plain,
    words,
)
from atd.errors import BadSource, InvalidSyntax

_ORCID: Final = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[0-9X])/?", re.I)
_DOI: Final = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S{1,200})", re.I)

Cff = Mapping[str, Any]


def read(text: str, name: str = "CITATION.cff") -> Proposal:
    """What the file says of the data set.

    Args:
        text: of the file, without a byte order mark.
        name: of the file, for origins and notes.
    """
    try:
        cff = yaml_door.load(text, name)
    except BadSource as error:
        return Proposal({}, (f"not taken: {error.message}",))
    if not isinstance(cff, dict) or "cff-version" not in cff:
        return Proposal({}, (f"{name} is not taken: it has no cff-version",))
    notes: list[str] = []
    title, abstract = _text(cff, "title"), _text(cff, "abstract")
    preferred = cff.get("preferred-citation")
    values: dict[str, tuple[Any, int]] = {
        "title": (bounded(line(title), TEXT_LIMITS["title"]), 1),
        "description": (bounded(plain(abstract), TEXT_LIMITS["description"]), 1),
        "license": (_license(cff, name, notes), 1),
        "tags": (words(_list(cff, "keywords")), 1),
        "creators": (_creators(cff), 0),
        "homepage": (_homepage(cff), 1),
        "citation": _citation(cff, preferred),
    }
    said = {field: Said(value, name, weight) for field, (value, weight) in values.items() if value}
    return Proposal(said, tuple(notes))


def people(source: Cff) -> list[tuple[str, str, Cff]]:
    """The authors: the name as it is read, as BibTeX has it, and the entry."""
    found: list[tuple[str, str, Cff]] = []
    authors = source.get("authors")
    for one in authors if isinstance(authors, list) else ():
        if not isinstance(one, dict):
            continue
        particle, family, suffix, given, alone = (
            line(_text(one, key))
            for key in ("name-particle", "family-names", "name-suffix", "given-names", "name")
        )
        last = " ".join(filter(None, (particle, family)))
        if last:
            read_as = " ".join(filter(None, (given, last, suffix)))
            found.append((read_as, ", ".join(filter(None, (last, suffix, given))), one))
        elif alone or given or (alias := line(_text(one, "alias"))):
            whole = alone or given or alias
            found.append((whole, "{" + whole + "}", one))
    return found[:MAX_CREATORS]


def doi(source: Cff) -> str | None:
    """The DOI, bare: its own, else the first of its identifiers."""
    said = [_text(source, "doi")]
    identifiers = source.get("identifiers")
    for one in identifiers if isinstance(identifiers, list) else ():
        if isinstance(one, dict) and _text(one, "type").lower() == "doi":
            said.append(_text(one, "value"))
    matches = (_DOI.fullmatch(line(one)) for one in said)
    return next((match[1] for match in matches if match), None)


def _creators(cff: Cff) -> list[dict[str, str]]:
    made = (creator(name, url=_page(one)) for name, _, one in people(cff))
    return [one for one in made if one is not None]


def _page(person: Cff) -> str | None:
    """Where somebody is: the ORCID, else a website."""
    orcid = _ORCID.fullmatch(line(_text(person, "orcid")))
    if orcid is not None:
        return f"https://orcid.org/{orcid[1].upper()}"
    return line(_text(person, "website")) or None


def _license(cff: Cff, name: str, notes: list[str]) -> str | None:
    """A list means that any of its licences may be chosen (schema guide, ``license``)."""
    said = [line(one) for one in _list(cff, "license")]
    if not said:
        return None
    try:
        each = [spdx.check_license(one) for one in said]
        return spdx.check_license(" OR ".join(each))
    except InvalidSyntax as error:
        notes.append(f"{name}: {error.message}")
        return None


def _homepage(cff: Cff) -> str | None:
    found = doi(cff)
    at_doi = None if found is None else f"https://doi.org/{percent(found, safe='/:.;()-_')}"
    said = [line(_text(cff, key)) for key in ("url", "repository", "repository-artifact")]
    places = [*said[:1], at_doi or "", *said[1:]]
    return next((one for one in places if one and is_address(one)), None)


def _citation(cff: Cff, preferred: Any) -> tuple[str, int]:
    """BibTeX: of what the file asks to cite instead, else of the thing itself."""
    instead = isinstance(preferred, dict) and bool(_text(preferred, "title"))
    cited = preferred if instead else cff
    if not _text(cited, "title"):
        return "", 2
    text = entry(cited, people(cited), doi(cited))
    return bounded(text, TEXT_LIMITS["citation"]), 0 if instead else 2


def _text(source: Cff, key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def _list(source: Cff, key: str) -> list[str]:
    value = source.get(key)
    items = value if isinstance(value, list) else [value]
    return [one for one in items if isinstance(one, str) and one.strip()]
