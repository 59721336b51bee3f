"""Changing what a data set says of itself, and nothing of its data.

Belongs here: the head record, read with proof, changed, written as one commit, read back with
proof. Whatever is not to be changed stays, fields of newer programs too. A card that somebody
else changes at the same time is read again and changed as it is by then, unless the caller said
which one they had seen (``base``): then it is theirs to look again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from atd.errors import Conflict, InvalidSyntax, LexiconError, ProofError, RecordAbsent, TooLarge
from atd.names import check_alias, check_name, check_version
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.syntax import quote
from atd.records import Alias, Creator, Dataset, Release, StrongRef, head_uri, release_uri
from atd.schema.differences import Difference, card_differences
from atd_daemon.publishing.asked import CARD, Card
from atd_daemon.publishing.batches import Action, Write
from atd_daemon.publishing.current import Place
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.sending import Guard, Sender
from atd_daemon.sync.found import Found
from atd_daemon.sync.release import of_kind
from atd_daemon.sync.resolve import Resolver

CLEARABLE: Final = (*CARD, "deprecated")
MAX_ROUNDS: Final = 5
_MAX_BYTES: Final = 900_000


@dataclass(frozen=True)
class Edit:
    """The input of ``network.atd.publishing.edit``; see the lexicon.

    Args:
        card: fields that are to be as given; ``clear``: fields that go.
        add_tags, remove_tags: words, after ``card`` and ``clear``.
        deprecated: why the data set should no longer be used; None: not said.
        aliases: the version that each is to stand for; None: it goes.
        base: the CID of the head that the caller saw.
    """

    name: str
    account: str | None = None
    card: Card = field(default_factory=Card)
    clear: tuple[str, ...] = ()
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    deprecated: str | None = None
    aliases: Mapping[str, str | None] = field(default_factory=dict)
    base: Cid | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        for alias, version in self.aliases.items():
            check_alias(alias)
            if version is not None:
                check_version(version)
        unknown = [one for one in self.clear if one not in CLEARABLE]
        if unknown:
            raise InvalidSyntax(
                f"a card has no field {quote(unknown[0])}",
                next_step=f"it has {', '.join(CLEARABLE)}",
            )

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From the endpoint's input, whose shape its lexicon has checked."""
        base = given.get("base")
        return cls(
            name=given["name"],
            account=given.get("account"),
            card=Card.from_json(given.get("card", {})),
            clear=tuple(given.get("clear", ())),
            add_tags=tuple(given.get("addTags", ())),
            remove_tags=tuple(given.get("removeTags", ())),
            deprecated=given.get("deprecated"),
            aliases={one["name"]: one.get("version") for one in given.get("aliases", ())},
            base=None if base is None else Cid.parse(base),
            dry_run=given.get("dryRun", False),
        )

    def over(self, old: Dataset, releases: Mapping[str, StrongRef]) -> Dataset:
        """``old``, changed.

        Args:
            releases: by the versions of ``aliases``.

        Raises:
            RecordAbsent: an alias that is to go is not there.
        """
        words: dict[str, Any] = {
            name: () if isinstance(getattr(old, name), tuple) else None for name in self.clear
        }
        words |= self.card.words
        if "creators" in self.card.words:
            words["creators"] = _knowing(self.card.words["creators"], old.creators)
        if self.deprecated is not None:
            words["deprecated"] = self.deprecated
        tags = words.get("tags", old.tags)
        kept = [tag for tag in tags if tag not in self.remove_tags]
        words["tags"] = tuple(dict.fromkeys((*kept, *self.add_tags)))
        words["aliases"] = self._aliases(old, releases)
        return dataclasses.replace(old, **words)

    def _aliases(self, old: Dataset, releases: Mapping[str, StrongRef]) -> tuple[Alias, ...]:
        found = {alias.name: alias for alias in old.aliases}
        for name, version in self.aliases.items():
            if version is None:
                if found.pop(name, None) is None:
                    raise RecordAbsent(
                        f"{old.name} has no alias {name}",
                        next_step=f"see which it has with: atd tag {old.name}",
                    )
                continue
            more = found[name].more if name in found else {}
            found[name] = Alias(name, releases[version], more)
        return tuple(found.values())


@dataclass(frozen=True)
class Edited:
    """What an edit changed, or would change: the head was ``previous``, and is ``cid`` now."""

    identity: Identity
    before: Dataset
    after: Dataset
    previous: Cid
    cid: Cid
    written: bool
    rev: str | None = None

    @property
    def differences(self) -> list[Difference]:
        """In words."""
        return card_differences(self.before, self.after)

    def to_json(self) -> dict[str, Any]:
        """As ``network.atd.publishing.edit#edited``."""
        did = self.identity.did
        said = {
            "uri": str(head_uri(did, self.before.name)),
            "cid": str(self.cid),
            "previous": str(self.previous),
            "did": str(did),
            "handle": self.identity.handle,
            "name": self.before.name,
            "written": self.written,
            "changes": [_difference(one) for one in self.differences],
            "before": _said(self.before),
            "after": _said(self.after),
            "rev": self.rev,
        }
        return {key: value for key, value in said.items() if value is not None}


@dataclass
class Editing:
    """Carries out one edit of a data set of ``identity``."""

    identity: Identity
    asked: Edit
    resolver: Resolver
    sender: Sender
    patience: Patience
    listener: Listener

    async def run(self, now: float) -> Edited:
        """Change the card; run again after whatever stood in the way, it changes what is left.

        Args:
            now: seconds since 1970.

        Raises:
            RecordAbsent: there is no such data set, release or alias, proved.
            LexiconError: the head that is published is not usable.
            Conflict: the card is not the one that the caller saw, or it is changed all the time.
            AtdError: what cannot be waited out.
        """
        uri = head_uri(self.identity.did, self.asked.name)
        trouble: Conflict | None = None
        for _ in range(MAX_ROUNDS):
            head = await self.sender.at(uri)
            old = self._usable(head)
            new = self.asked.over(old, await self._releases())
            assert head.cid is not None, "it is usable"
            if new == old or self.asked.dry_run:
                return Edited(self.identity, old, new, head.cid, head.cid, written=False)
            moment = datetime.fromtimestamp(int(now * 1000) / 1000, UTC)
            write = self._write(head, dataclasses.replace(new, updated_at=moment))
            try:
                await self.sender.send(((write,),), Guard(uri, head.cid))
            except Conflict as error:
                trouble = error
                self.listener.step(name="changed meanwhile", detail="reading the card again")
                continue
            self.listener.step(name="written", detail=str(uri))
            found = await self._read_back(write)
            rev = str(found.rev)
            return Edited(self.identity, old, new, head.cid, found.cid, written=True, rev=rev)
        assert trouble is not None
        raise trouble

    def _usable(self, head: Place) -> Dataset:
        name, handle = self.asked.name, self.identity.handle
        if head.cid is None:
            who = f"@{handle}" if handle else self.identity.did
            raise RecordAbsent(
                f"there is no data set {name}: {head.uri} does not exist",
                next_step=f"see what there is with: atd ls {who}",
            )
        if not isinstance(head.record, Dataset):
            raise LexiconError(
                f"the card of {name} is not usable: {head.fault}",
                next_step="publish the data again, which mends it",
            )
        if self.asked.base not in (None, head.cid):
            raise Conflict(
                f"the card of {name} was changed by another program since it was looked at",
                next_step="look at it with: atd show; then edit it again",
            )
        return head.record

    async def _releases(self) -> dict[str, StrongRef]:
        """The releases that aliases are to stand for, proved."""
        found: dict[str, StrongRef] = {}
        for version in self.asked.aliases.values():
            if version is None:
                continue
            place = await self.sender.at(release_uri(self.identity.did, self.asked.name, version))
            if place.cid is None:
                raise RecordAbsent(
                    f"there is no {place.uri}",
                    next_step=f"see its versions with: atd show {self.identity.did}/"
                    f"{self.asked.name}",
                )
            if not isinstance(place.record, Release):
                raise LexiconError(f"{place.uri} is not usable: {place.fault}")
            found[version] = StrongRef(place.uri, place.cid)
        return found

    def _write(self, head: Place, new: Dataset) -> Write:
        write = Write.of(Action.UPDATE, head.uri, new.to_value())
        if len(write.block) > _MAX_BYTES:
            raise TooLarge(
                f"the record {head.uri} has {len(write.block)} bytes; a PDS takes 1,000,000",
                next_step="shorten the description",
            )
        return write

    async def _read_back(self, write: Write) -> Found[Dataset]:
        """The head as it was written, proved, and so in the index."""
        found = await self.patience.harmless(
            "reading back", lambda: self.resolver.record(write.uri, refresh=True)
        )
        if found.cid != write.cid:
            raise ProofError(
                f"wrote {write.uri} as {write.cid}, but read back {found.cid}",
                next_step="another program may have changed it since; look with: atd show",
            )
        self.listener.step(name="proved", detail=f"rev {found.rev}")
        return of_kind(found, Dataset)


def _knowing(new: Iterable[Creator], old: Iterable[Creator]) -> tuple[Creator, ...]:
    """``new``, with what newer programs said of each that was there already."""
    more = {one.name: one.more for one in old}
    return tuple(dataclasses.replace(one, more=more.get(one.name, {})) for one in new)


def _difference(one: Difference) -> dict[str, Any]:
    said = {"sign": one.sign, "what": one.what, "before": one.before, "after": one.after}
    return {key: value for key, value in said.items() if value is not None}


def _said(dataset: Dataset) -> dict[str, Any]:
    """The card, and what else an edit can change."""
    value = dataset.to_value()
    shown: Iterable[str] = (*CARD, "deprecated", "aliases")
    return {name: value[name] for name in shown if name in value}
