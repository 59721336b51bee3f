"""What people type to name a data set, as values. Pure: looks at no disk and no network.

::

    @alice.example.com/flowers              a data set, by its publisher's handle
    alice.example.com/flowers@1.2.0:train   the same, one version of it, one split of that
    @alice.example.com/flowers@stable       the release that its publisher calls so (an alias)
    did:plc:…/flowers                       by DID
    at://did:plc:…/network.atd.dataset/flowers       by URI: of a data set …
    at://did:plc:…/network.atd.release/flowers:1.0.0 … or of a release
    ./shards   /data/shards   flowers       a folder of shards
    https://…/{000..009}.tar   s3://…       shards outside any catalogue
    mnist   com.lecun.mnist@1.0.0           a name alone, of whoever publishes it (`parse_name`)

A name alone looks like a folder of that name: `parse_ref` gives the folder, and whoever can look
whether there is one asks `parse_name`. A word whose first part is a handle (it has a dot) or a DID
names a data set; a folder that looks like one is written ``./name.with.dots/folder``.
``at://@handle`` is not ATProto and is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atd.errors import InvalidSyntax
from atd.names import (
    DATASET,
    LATEST,
    RELEASE,
    check_alias,
    check_name,
    check_split,
    check_version,
    split_release_key,
)
from atd.protocol.syntax import AtUri, Did, Handle, parse_actor, quote

_DATASET: Final = re.compile(r"([^/]+)/([^/@:]+)(?:@([^/@:]+))?(?::([^/@:]+))?")
_BARE: Final = re.compile(r"([^/@:]+)(?:@([^/@:]+))?(?::([^/@:]+))?")
_FOLDER_STARTS: Final = ("/", "./", "../", "~")
_URL_SCHEMES: Final = ("http://", "https://", "s3://")
_PUBLISHED: Final = "write @HANDLE/NAME[@VERSION][:SPLIT], did:…/NAME or at://…"
_FORMS: Final = f"{_PUBLISHED}; a folder: ./NAME"


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A data set in the catalogue; a version or an alias, and a split, where they were given."""

    authority: Did | Handle
    name: str
    version: str | None = None
    split: str | None = None
    alias: str | None = None

    @property
    def is_latest(self) -> bool:
        """Whether it means whichever release is the latest."""
        return self.version is None and self.alias is None

    def __str__(self) -> str:
        start = self.authority if isinstance(self.authority, Did) else f"@{self.authority}"
        release = self.version or self.alias
        version = f"@{release}" if release else ""
        split = f":{self.split}" if self.split else ""
        return f"{start}/{self.name}{version}{split}"


@dataclass(frozen=True, slots=True)
class NameRef:
    """The name of a data set without its publisher, and what else was given of a `DatasetRef`."""

    name: str
    version: str | None = None
    split: str | None = None
    alias: str | None = None

    def of(self, authority: Did | Handle) -> DatasetRef:
        """The data set of this name that ``authority`` publishes."""
        return DatasetRef(authority, self.name, self.version, self.split, self.alias)


@dataclass(frozen=True, slots=True)
class FolderRef:
    """A folder of shards on this machine, as it was typed (``~`` and all)."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class UrlRef:
    """Shards at ``http(s)://`` or ``s3://``, outside any catalogue; may hold a brace pattern."""

    pattern: str

    def __str__(self) -> str:
        return self.pattern


Ref = DatasetRef | FolderRef | UrlRef


def parse_ref(text: str) -> Ref:
    """What ``text`` names.

    Raises:
        InvalidSyntax: nothing that atd can read: another URL scheme, a handle, a name, a version or
            a split that is none, or characters that no reference holds.
    """
    if not text or len(text) > 4096 or not text.isprintable():
        raise InvalidSyntax(f"expected a reference to a data set, got {quote(text)}")
    if text.startswith("at://"):
        return _from_uri(text)
    if text.startswith(_URL_SCHEMES):
        return UrlRef(text)
    if "://" in text:
        scheme = text.partition("://")[0]
        raise InvalidSyntax(
            f"expected an https://, http://, s3:// or at:// address, got the scheme {quote(scheme)}"
        )
    if text in (".", "..") or text.startswith(_FOLDER_STARTS):
        return FolderRef(text)
    if text.startswith(("@", "did:")) or "." in text.partition("/")[0]:
        if "/" in text:
            return _from_words(text)
        if text.startswith(("@", "did:")):
            raise InvalidSyntax(
                f"{quote(text)} names a publisher, not a data set", next_step=_FORMS
            )
    return FolderRef(text)


def parse_dataset_ref(text: str) -> DatasetRef:
    """The data set in the catalogue that ``text`` names.

    Raises:
        InvalidSyntax: it names a folder or a URL, or nothing at all.
    """
    ref = parse_ref(text)
    if not isinstance(ref, DatasetRef):
        raise InvalidSyntax(
            f"expected a published data set, got {quote(text)}", next_step=_PUBLISHED
        )
    return ref


def parse_name(text: str) -> NameRef | None:
    """The name alone that ``text`` is, with whatever release and split it has; None: it is none.

    A DID, a URI, a path and whatever has a publisher are none.
    """
    match = None if text.startswith("did:") else _BARE.fullmatch(text)
    if match is None:
        return None
    name, release, split = match.groups()
    try:
        version, alias = _release(release)
        checked = None if split is None else check_split(split)
        return NameRef(check_name(name), version, checked, alias)
    except InvalidSyntax:
        return None


def name_of(did: str, handle: str | None, name: str) -> str:
    """What names a data set to `atd.load`: by handle where that is proved, else by DID."""
    return f"@{handle}/{name}" if handle else f"{did}/{name}"


def parse_authority(text: str) -> Did | Handle:
    """A publisher as people write one: ``@alice.example.com``, ``alice.example.com`` or a DID.

    Raises:
        InvalidSyntax: it is neither.
    """
    return parse_actor(text.removeprefix("@"))


def _from_words(text: str) -> DatasetRef:
    match = _DATASET.fullmatch(text)
    if match is None:
        raise InvalidSyntax(f"expected a data set, got {quote(text)}", next_step=_FORMS)
    authority, name, release, split = match.groups()
    version, alias = _release(release)
    return DatasetRef(
        parse_authority(authority),
        check_name(name),
        version,
        None if split is None else check_split(split),
        alias,
    )


def _release(text: str | None) -> tuple[str | None, str | None]:
    """The version or the alias that stands after ``@``; neither for ``latest``."""
    if text is None or text == LATEST:
        return None, None
    if "a" <= text[0] <= "z":
        return None, check_alias(text)
    return check_version(text), None


def _from_uri(text: str) -> DatasetRef:
    uri = AtUri.parse(text)
    if uri.collection == DATASET and uri.rkey is not None:
        return DatasetRef(uri.authority, check_name(uri.rkey))
    if uri.collection == RELEASE and uri.rkey is not None:
        name, version = split_release_key(uri.rkey)
        return DatasetRef(uri.authority, name, version)
    raise InvalidSyntax(
        f"expected the URI of a {DATASET} or a {RELEASE}, got {quote(text)}", next_step=_FORMS
    )
