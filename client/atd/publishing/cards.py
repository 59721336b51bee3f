"""The card of a publication: what the caller says, what files beside the data say, what is there.

Belongs here: who has the last word on each field. What was said to the call wins; then what README,
CITATION.cff and LICENSE say; what nobody says anew stays as it is published. A file that says what
it said when the name was last published from here says nothing anew: whoever edited the card since
then did so on purpose. Docs: docs/cards.md, docs/decisions/0025.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atd.cards import files
from atd.cards.said import FIELDS, Proposal, Said
from atd.cards.spdx import check_license
from atd.errors import InvalidSyntax
from atd.publishing.sources import kinds

GIVEN: Final = "given"
PUBLISHED: Final = "published"


@dataclass(frozen=True)
class Settled:
    """The card as it would be: each field with who says it; ``changes``: what is to be written."""

    fields: Mapping[str, Said] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Each field as ``{"value": …, "from": …}``."""
        return {name: {"value": one.value, "from": one.origin} for name, one in self.fields.items()}


@dataclass(frozen=True)
class Words:
    """What a call says of a data set, and what the files beside its data propose."""

    given: Mapping[str, Any] = field(default_factory=dict)
    proposal: Proposal = field(default_factory=Proposal)

    @classmethod
    def of(
        cls,
        source: object,
        *,
        title: str | None,
        description: str | None,
        license: str | None,
        tags: Sequence[str],
        card: Mapping[str, Any] | None,
        card_files: bool,
    ) -> Words:
        """The words of one call of `atd.publish`.

        Raises:
            InvalidSyntax: the licence is no SPDX expression, or ``card`` has a field that no card
                has.
        """
        said = {
            "title": title,
            "description": description,
            "license": license,
            "tags": list(tags) or None,
            **(card or {}),
        }
        given = {name: value for name, value in said.items() if value is not None}
        unknown = [name for name in given if name not in FIELDS]
        if unknown:
            raise InvalidSyntax(
                f"a card has no field {unknown[0]!a}", next_step=f"it has {', '.join(FIELDS)}"
            )
        if "license" in given:
            given["license"] = check_license(given["license"])
        folder = _folder_of(source) if card_files else None
        return cls(given, Proposal() if folder is None else files.proposed(folder))

    @property
    def begin(self) -> dict[str, Any]:
        """What ``network.atd.publishing.begin`` is to remember of the files."""
        return {"proposed": self.proposal.values} if self.proposal.fields else {}

    def settle(self, begun: Mapping[str, Any]) -> Settled:
        """The card, given what ``begin`` answered; an empty answer: nothing is known of before."""
        published: Mapping[str, Any] = begun.get("card", {})
        before: Mapping[str, Any] = {} if begun.get("first", True) else begun.get("proposed", {})
        fields: dict[str, Said] = {}
        changes: dict[str, Any] = {}
        notes = list(self.proposal.notes)
        for name in FIELDS:
            said = self.proposal.fields.get(name)
            if name in self.given:
                fields[name] = Said(self.given[name], GIVEN)
                changes[name] = self.given[name]
            elif said is not None and before.get(name) != said.value:
                fields[name] = said
                changes[name] = said.value
            else:
                if name in published:
                    fields[name] = Said(published[name], PUBLISHED)
                if said is not None and published.get(name) != said.value:
                    notes.append(
                        f"{said.origin} says another {name} than the card, as it did before the "
                        "card was edited: the card stays (atd edit NAME --from DIR takes the file)"
                    )
        return Settled(fields, changes, tuple(notes))


def _folder_of(source: object) -> Path | None:
    """The folder whose files speak of ``source``, fetched if it is elsewhere."""
    elsewhere = kinds.about(source) if isinstance(source, str) else None
    return files.folder_of(source) if elsewhere is None else elsewhere
