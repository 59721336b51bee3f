"""Sounds as files of a folder: what of them is looked at.

Belongs here: the medium; which file is what is in `atd.publishing.sources.media_folder`. Every
sound is decoded once before anything is published: WAV always, others where soundfile is installed
(extra ``audio``). Without it their first bytes have to do, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from atd.errors import LocalError
from atd.protocol.syntax import quote
from atd.publishing.sources.given import Given
from atd.publishing.sources.media_folder import open_media
from atd.publishing.sources.source import Source
from atd.schema.fields import Audio
from atd.shards import media

SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus")


def open_given(given: Given) -> Source:
    """The sounds below a folder; see `open_media`.

    Raises:
        BadSource: unreadable, corrupt or unclassed sounds, or none at all.
    """
    return open_media(given, Sounds())


@dataclass
class Sounds:
    """What is learned about sounds while each is decoded once; see `Medium`."""

    types: set[str] = field(default_factory=set)
    unheard: int = 0
    one_at_a_time: Lock = field(default_factory=Lock, repr=False)
    name: str = "audio"
    plural: str = "sounds"
    suffixes: tuple[str, ...] = SUFFIXES
    looked_at: bool = True

    def look(self, data: bytes) -> None:
        """Decode one file, and note what it is."""
        media_type = media.sniff(data)
        if media_type is None or not media_type.startswith("audio/"):
            raise LocalError(f"not a sound: it begins with {quote(data[:12])}")
        unheard = 0
        try:
            media.Audio(data).decode()
        except LocalError:  # only that the library is not there; a damaged sound is a ShardError
            unheard = 1
        with self.one_at_a_time:
            self.unheard += unheard
            self.types.add(media_type)

    def kind(self) -> Audio:
        """The kind that every sound has."""
        return Audio(tuple(sorted(self.types)))

    @property
    def preparing(self) -> Callable[[bytes], bytes] | None:
        """Nothing: sounds are published as they are."""
        return None

    @property
    def decoding(self) -> Callable[[bytes], Any]:
        """To the samples of the sound."""
        return _decoded

    def travels(self, total: int) -> tuple[str, ...]:
        """What sound files carry beside the sound."""
        return ("sounds as they are, with the tags (names, places) that they may carry",)

    def warnings(self) -> tuple[str, ...]:
        """How many were not decoded."""
        if not self.unheard:
            return ()
        return (
            f"{self.unheard} sounds were not decoded to see whether they are whole: that needs "
            "pip install 'atd-catalog[audio]'",
        )


def _decoded(data: bytes) -> Any:
    return media.Audio(data).decode()
