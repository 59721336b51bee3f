"""SPDX licence expressions: the only importer of ``packaging``.

Belongs here: checking an expression (SPDX specification, annex "SPDX license expressions": ids,
``AND``, ``OR``, ``WITH``, ``LicenseRef-…``) against the SPDX list, and the names that the Hugging
Face Hub has for licences.
"""

from __future__ import annotations

import difflib
import re
from typing import Final

from packaging import licenses
from packaging.licenses._spdx import EXCEPTIONS, LICENSES  # the list has no public name

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

MAX_CHARACTERS: Final = 256

_IDS: Final[dict[str, str]] = {key: value["id"] for key, value in LICENSES.items()}
_OPERATOR: Final = re.compile(r"\b(?:AND|OR|WITH)\b|[()]", re.IGNORECASE)
_REF: Final = re.compile(r"[^A-Za-z0-9.-]+")
_HUB: Final = {
    "odc-by": "ODC-By-1.0",
    "odbl": "ODbL-1.0",
    "pddl": "PDDL-1.0",
    "c-uda": "C-UDA-1.0",
    "cc0": "CC0-1.0",
    "lgpl-lr": "LGPLLR",
}
"""The Hub's names for one licence of the SPDX list; its other names are SPDX ids in lower case."""

_FAMILIES: Final = frozenset(("cc", "gpl", "lgpl", "agpl", "bsd", "gfdl", "unknown"))
"""The Hub's names for several licences, or for none."""

_UNLISTED: Final = re.compile(
    r"(?:.*openrail.*|.*-rail-.*|llama.*|gemma|deepfloyd-if-license|apple-amlr|apple-ascl"
    r"|tii-falcon-llm|h-research|intel-research|fair-noncommercial-research-license|open-mdw"
    r"|grok2-community)"
)
"""The Hub's names for licences that the SPDX list does not have."""


def check_license(text: str) -> str:
    """The SPDX expression ``text`` in the list's own spelling: ``cc-by-4.0`` is ``CC-BY-4.0``.

    Raises:
        InvalidSyntax: it is none, or has an id that is not in the list; names the nearest ones.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidSyntax(f"expected a licence of at most {MAX_CHARACTERS} characters")
    try:
        return str(licenses.canonicalize_license_expression(text))
    except (licenses.InvalidLicenseExpression, RecursionError, MemoryError, ValueError):
        pass
    unknown = next((one for one in _ids(text) if not _is_known(one)), None)
    if unknown is not None and not _OPERATOR.search(text):
        unknown = text  # such as CC BY 4.0
    if unknown is None:
        raise InvalidSyntax(
            f"expected an SPDX licence expression, found {quote(text)}",
            next_step="write one such as CC-BY-4.0, MIT OR Apache-2.0, or LicenseRef-NAME",
        )
    near = nearest(unknown)
    raise InvalidSyntax(
        f"the SPDX list has no licence {quote(unknown)}",
        next_step=(f"did you mean {' or '.join(near)}? else write " if near else "write ")
        + "LicenseRef-NAME for a licence of your own",
    )


def nearest(text: str) -> list[str]:
    """The ids of the list that look most like ``text``, at most three."""
    asked = text.lower().strip().replace(" ", "-").replace("_", "-")
    hub = [_HUB[asked]] if asked in _HUB else []
    longer = sorted(
        (id for key, id in _IDS.items() if key.startswith(f"{asked}-") or key == asked),
        key=lambda id: (_age(id), len(id), id),
    )
    close = [_IDS[key] for key in difflib.get_close_matches(asked, _IDS, n=3, cutoff=0.6)]
    return list(dict.fromkeys([*hub, *longer[:3], *close]))[:3]


def of_hub(name: str) -> str | None:
    """The SPDX expression for the Hub's name of a licence; None: not one licence for certain."""
    key = name.strip().lower()
    if key in _FAMILIES or not key:
        return None
    if key in _HUB:
        return _HUB[key]
    if _UNLISTED.fullmatch(key):
        return reference(key)
    try:
        return check_license(name.strip())
    except InvalidSyntax:
        return None


def reference(name: str) -> str | None:
    """``LicenseRef-NAME`` for a licence that has a name of its own."""
    spelt = _REF.sub("-", name).strip("-.")[:100]
    return f"LicenseRef-{spelt}" if spelt else None


def _ids(text: str) -> list[str]:
    tokens = text.replace("(", " ").replace(")", " ").split()
    return [one for one in tokens if one.upper() not in ("AND", "OR", "WITH")]


def _is_known(token: str) -> bool:
    key = token.lower().removesuffix("+")
    return key.startswith("licenseref-") or key in _IDS or key in EXCEPTIONS


def _age(id: str) -> float:
    """Newer versions of a licence first."""
    number = re.search(r"(\d+(?:\.\d+)?)", id.partition("-")[2])
    return -float(number[1]) if number else 0.0
