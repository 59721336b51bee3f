"""Images as files of a folder: what of them is looked at, and what may be taken out.

Belongs here: the medium; which file is what is in `atd.publishing.sources.media_folder`. Each
is checked before anything is published, by the structure of its file or, where that was asked for,
by decoding it. Samples hold the files as they are, unless their metadata are to be stripped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from atd.errors import LocalError
from atd.publishing.sources import metadata
from atd.publishing.sources.given import Given
from atd.publishing.sources.media_folder import open_media
from atd.publishing.sources.source import Source
from atd.schema.fields import Image
from atd.shards import media

SUFFIXES: Final = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def open_given(given: Given) -> Source:
    """The images below a folder; see `open_media`.

    Raises:
        BadSource: unreadable, corrupt or unclassed images, or none at all.
    """
    return open_media(given, Images(given.strip, given.decode))


@dataclass
class Images:
    """What is learned about images while each is checked; see `Medium`."""

    strip: bool
    decode: bool = False
    types: set[str] = field(default_factory=set)
    shapes: set[tuple[str, tuple[int, int]]] = field(default_factory=set)
    noted: int = 0
    placed: int = 0
    one_at_a_time: Lock = field(default_factory=Lock, repr=False)
    name: str = "image"
    plural: str = "images"
    suffixes: tuple[str, ...] = SUFFIXES
    looked_at: bool = True

    def look(self, data: bytes) -> None:
        """Check one file, and note what it is and what it carries."""
        notes = metadata.look(data)
        kept = _stripped(data) if self.strip else data
        width, height, mode = media.Image(kept).check(decode=self.decode)
        media_type = media.sniff(kept)
        with self.one_at_a_time:
            self.shapes.add((mode, (width, height)))
            self.types |= {media_type} if media_type else set()
            self.noted += notes.words
            self.placed += notes.place

    def kind(self) -> Image:
        """The kind that every picture has: with mode and size only where all agree."""
        modes = {mode for mode, _ in self.shapes}
        sizes = {size for _, size in self.shapes}
        return Image(
            tuple(sorted(self.types)),
            mode=modes.pop() if len(modes) == 1 else None,
            size=sizes.pop() if len(sizes) == 1 else None,
        )

    @property
    def preparing(self) -> Callable[[bytes], bytes] | None:
        """Taking the metadata out, where that was asked for."""
        return _stripped if self.strip else None

    @property
    def decoding(self) -> Callable[[bytes], Any]:
        """To pixels."""
        return _decoded

    def travels(self, total: int) -> tuple[str, ...]:
        """What metadata there are, unless they are taken out."""
        if not self.noted or self.strip:
            return ()
        places = f", with GPS positions in {self.placed}" if self.placed else ""
        return (
            f"metadata (EXIF, XMP, comments) in {self.noted} of {total} images{places}: "
            "--strip-metadata leaves them out",
        )

    def warnings(self) -> tuple[str, ...]:
        """Nothing beyond what travels."""
        return ()


def _stripped(data: bytes) -> bytes:
    try:
        return metadata.strip(data)
    except metadata.CannotStrip as error:
        raise LocalError(str(error)) from None


def _decoded(data: bytes) -> Any:
    return media.Image(data).decode()
