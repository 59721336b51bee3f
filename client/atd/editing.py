"""What a publisher changes of a data set without its data: ``atd.edit``, ``deprecate``, ``tag``.

What belongs here: the three questions to the daemon and the value that they answer with. The daemon
writes one record, bound to what it proved before, and reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from atd import api, cards
from atd.changes import line_of
from atd.connection import Connection
from atd.errors import InvalidSyntax
from atd.names import check_alias, check_version
from atd.refs import DatasetRef, name_of, parse_authority, parse_dataset_ref, parse_name
from atd.service import OnProgress, finish

DISCOURAGED: Final = "Its publisher advises against using this data set."


@dataclass(frozen=True)
class Edited:
    """What an edit changed, or would change.

    Args:
        cid: of the head record as it is now; ``previous``: as it was.
        written: whether anything was written.
        changes: what differs, a line each: ``~ licence: MIT -> CC0-1.0``, ``+ tag: alps``.
        before, after: the card, with ``deprecated`` and ``aliases``, as the record has it.
        raw: the daemon's own answer.
    """

    uri: str
    cid: str
    previous: str
    did: str
    handle: str | None
    name: str
    written: bool
    changes: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> str:
        """What to pass to `atd.load`: by handle where that is proved, else by DID."""
        return name_of(self.did, self.handle, self.name)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Edited:
        """From ``network.atd.publishing.edit#edited``."""
        return cls(
            uri=value["uri"],
            cid=value["cid"],
            previous=value["previous"],
            did=value["did"],
            handle=value.get("handle"),
            name=value["name"],
            written=value["written"],
            changes=tuple(map(line_of, value["changes"])),
            before=value["before"],
            after=value["after"],
            raw=value,
        )


def edit(
    name: str,
    *,
    title: str | None = None,
    description: str | None = None,
    license: str | None = None,
    citation: str | None = None,
    homepage: str | None = None,
    agreement: str | None = None,
    tags: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    creators: Sequence[Mapping[str, str]] | None = None,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    clear: Sequence[str] = (),
    account: str | None = None,
    base: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Edited:
    """Change the card of a published data set: nothing of its data, no new release.

    What is not named stays as it is. A card that another program changes at the same time is read
    again, and changed as it is by then.

    Args:
        name: of a data set of one's own, also ``@handle/name``.
        title, description, license, citation, homepage, agreement: what each is to be.
        tags, tasks, creators: all of them anew; a creator has ``name``, and ``url`` or ``did``.
        add_tags, remove_tags: tags that come or go.
        clear: fields that go, such as ``homepage``.
        account: who published it, by handle or DID; the only one where it is None.
        base: the ``cid`` of an earlier answer: if the card is another one by now, that is a
            Conflict.
        dry_run: only say what would change.

    Raises:
        InvalidSyntax: the licence is no SPDX expression, or there is no such field.
        RecordAbsent: there is no such data set, proved.
        Conflict: see ``base``.
        LoginRefused, Busy, RateLimited, Unreachable, …: as they say.
    """
    words = {
        "title": title,
        "description": description,
        "license": None if license is None else cards.check_license(license),
        "agreement": agreement,
        "tags": None if tags is None else list(tags),
        "tasks": None if tasks is None else list(tasks),
        "creators": None if creators is None else [dict(one) for one in creators],
        "citation": citation,
        "homepage": homepage,
    }
    question = {
        "card": {key: value for key, value in words.items() if value is not None},
        "clear": list(clear),
        "addTags": list(add_tags),
        "removeTags": list(remove_tags),
        "base": base,
        "dryRun": dry_run,
    }
    return _ask(name, account, question, on_progress, connection)


def deprecate(
    name: str,
    reason: str | None = None,
    *,
    use: str | None = None,
    undo: bool = False,
    account: str | None = None,
    base: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Edited:
    """Say that a data set should no longer be used: whoever lists or loads it is told so.

    Args:
        name, account, base, dry_run: as `edit`.
        reason: why.
        use: the data set to use instead, with its publisher.
        undo: it may be used again.

    Raises:
        InvalidSyntax: ``use`` names no data set with its publisher.
        AtdError: as `edit`.
    """
    said = [] if reason is None else [_sentence(reason.strip())]
    if use is not None:
        said.append(f"Use {parse_dataset_ref(use)} instead.")
    if undo and said:
        raise InvalidSyntax("a data set is either deprecated or not", next_step="leave one out")
    words: dict[str, Any] = {"deprecated": " ".join(said) or DISCOURAGED}
    question = {"clear": ["deprecated"]} if undo else words
    return _ask(
        name, account, {**question, "base": base, "dryRun": dry_run}, on_progress, connection
    )


def _sentence(text: str) -> str:
    """``text`` with the full stop that it lacks where another sentence follows."""
    return text if text.endswith((".", "!", "?", "…")) or not text else f"{text}."


def tag(
    name: str,
    version: str | None,
    tag: str,
    *,
    account: str | None = None,
    base: str | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Edited:
    """Call a release of a data set ``tag``: ``@handle/name@tag`` means it from then on.

    Args:
        name, account, base, dry_run: as `edit`.
        version: which release; None: nothing is called so any more.
        tag: ``[a-z][a-z0-9._-]{0,63}``, such as ``stable``; neither ``latest`` nor like ``v1``.

    Raises:
        RecordAbsent: there is no such data set, version or tag, proved.
        AtdError: as `edit`.
    """
    said = {"name": check_alias(tag)}
    if version is not None:
        said["version"] = check_version(version)
    question = {"aliases": [said], "base": base, "dryRun": dry_run}
    return _ask(name, account, question, on_progress, connection)


def own(name: str, account: str | None = None) -> tuple[str, str | None]:
    """The name and the account of a data set of one's own: ``flowers``, ``@handle/flowers``.

    Raises:
        InvalidSyntax: it is neither, or it names a release.
    """
    bare = parse_name(name)
    ref = parse_dataset_ref(name) if bare is None else bare
    if not (ref.version is None and ref.alias is None and ref.split is None):
        raise InvalidSyntax(
            f"expected the name of a data set, without version and split, found {name!a}"
        )
    if isinstance(ref, DatasetRef) and account is None:
        return ref.name, str(ref.authority)
    return ref.name, None if account is None else str(parse_authority(account))


def _ask(
    name: str,
    account: str | None,
    question: Mapping[str, Any],
    on_progress: OnProgress | None,
    connection: Connection | None,
) -> Edited:
    short, owner = own(name, account)
    given = {"name": short, "account": owner, **question}
    asked = {key: value for key, value in given.items() if value not in (None, [], {}, False)}
    events = (connection or Connection()).stream(api.EDIT, asked)
    return Edited.from_json(finish(events, on_progress))
