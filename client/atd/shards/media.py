"""Encoded media as values: the file as it is, and what is inside only when asked.

Belongs here: `Media`, `Image` and `Audio`, telling formats apart by their first bytes, and the way
to the codec libraries, which are loaded by the first picture or sound and not before. What they may
be asked, and with which limits, is in `atd.shards.pillow`, `atd.shards.sound` and its door.
"""

from __future__ import annotations

import builtins
import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from numpy.typing import NDArray

from atd.errors import ShardError
from atd.schema import fields
from atd.shards.room import check_room
from atd.shards.unfit import Undecodable, Unfit

if TYPE_CHECKING:
    from atd.shards.pillow import Picture

_SIGNATURES: Final = (
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/tiff", re.compile(rb"II\*\0|MM\0\*")),
    ("image/bmp", re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL)),
    ("image/avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("image/jp2", re.compile(rb"\0\0\0\x0cjP  ")),
    ("audio/wav", re.compile(rb"RIFF....WAVE", re.DOTALL)),
    ("audio/flac", re.compile(rb"fLaC")),
    ("audio/ogg", re.compile(rb"OggS")),
    ("audio/mpeg", re.compile(rb"ID3|\xff[\xfb\xf3\xf2]")),
    ("video/webm", re.compile(rb"\x1a\x45\xdf\xa3")),
    ("video/mp4", re.compile(rb"....ftyp", re.DOTALL)),
)

SUFFIXES: Final[dict[str, str]] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/avif": "avif",
    "image/jp2": "jp2",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "video/webm": "webm",
    "video/mp4": "mp4",
}
"""The usual file name suffix of each media type that `sniff` knows."""


def sniff(data: bytes | memoryview) -> str | None:
    """The media type that the first bytes of ``data`` announce, or None if they announce none."""
    head = bytes(data[:16])
    return next((name for name, pattern in _SIGNATURES if pattern.match(head)), None)


class Media:
    """An encoded file from a sample: video, an `Image` or an `Audio`. Compared by its bytes.

    Args:
        data: the file; a view of a shard is kept as a view until the bytes are asked for.
        where: shard, key and field, for messages.
    """

    __slots__ = ("_data", "anew", "where")

    def __init__(self, data: builtins.bytes | memoryview, where: str = "") -> None:
        self._data = data
        self.where = where
        self.anew: Callable[[], Media | None] | None = None
        """The same file out of a shard that was hashed just now, or None if nobody can: asked when
        it cannot be decoded, since a disk may lose bits without a trace."""

    @property
    def bytes(self) -> builtins.bytes:
        """The file, byte for byte as it was published. `ShardError` if it is beyond all memory."""
        try:
            check_room(len(self._data))
        except Unfit as error:
            raise ShardError(f"{self.where or type(self).__name__.lower()}: {error}") from None
        return builtins.bytes(self._data)

    @property
    def media_type(self) -> str | None:
        """Such as ``image/png``, by the first bytes; None if they say nothing."""
        return sniff(self._data)

    def _decoded(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` makes of the bytes; if they make no sense, of those that were signed.

        Raises:
            ShardError: nor do those. AtdError: they are not here, and cannot be had anew.
        """
        try:
            return ask()
        except Undecodable as error:
            wrong = ShardError(f"{self.where or type(self).__name__.lower()}: {error}")
            wrong.__cause__ = error
        fresh = self._fresh()
        if fresh is None or fresh == self:
            raise wrong
        self._data, self.anew = fresh._data, None
        return self._decoded(ask)

    def _fresh(self) -> Media | None:
        try:
            return None if self.anew is None else self.anew()
        except ShardError:  # then it is what was signed that makes no sense
            return None

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Media) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self.bytes)

    def __reduce__(self) -> tuple[type[Media], tuple[builtins.bytes, str]]:
        return type(self), (self.bytes, self.where)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.media_type or 'unknown'}, {len(self)} bytes)"


class Image(Media):
    """An encoded image: its header is read when asked for ``size``, its pixels by `decode`."""

    __slots__ = ()
    __atd_kind__: ClassVar = fields.Image()
    """What a class of samples publishes where it is annotated with this one."""

    def header(self) -> tuple[int, int, str]:
        """Width, height in pixels and mode, of one look at the header. `ShardError` if none."""
        width, height, mode = self._ask("header")
        return width, height, mode

    def check(self, *, decode: bool = False) -> tuple[int, int, str]:
        """What `header` says, of an image that is whole.

        Args:
            decode: find that out by decoding it; else by the structure of the file, which is a
                matter of reading it (`atd.shards.soundness`).

        Raises:
            ShardError: it is cut short or damaged, or larger than the pixel limit.
        """
        if decode:
            self.pillow()
            return self.header()
        width, height, mode = self._ask("check")
        return width, height, mode

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, from the header alone. `ShardError` if there is none."""
        return self.header()[:2]

    @property
    def mode(self) -> str:
        """Pillow's name of the pixel format: ``RGB``, ``L``, ``RGBA`` …"""
        return self.header()[2]

    def decode(self) -> NDArray[Any]:
        """The pixels as RGB: an array ``uint8`` (height, width, 3), transparency dropped.

        Raises:
            ShardError: no image of an accepted format, damaged, or larger than the pixel limit.
        """
        pixels: NDArray[Any] = self._ask("decode")
        return pixels

    def pillow(self) -> Picture:
        """The decoded image as Pillow has it, in its own mode. Raises as `decode` does."""
        picture: Picture = self._ask("load")
        return picture

    def _ask(self, what: str) -> Any:
        return self._decoded(lambda: getattr(_pillow(), what)(self.bytes))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.decode().astype(dtype or "uint8", copy=False)


class Audio(Media):
    """An encoded sound: its header is read when asked for ``rate``, its samples by `decode`.

    WAV is read by atd itself; FLAC, Ogg (Vorbis, Opus) and MP3 by soundfile, with the extra
    ``[audio]``. Where that is not installed, asking is a `LocalError`.
    """

    __slots__ = ()
    __atd_kind__: ClassVar = fields.Audio()
    """What a class of samples publishes where it is annotated with this one."""

    @property
    def rate(self) -> int:
        """Frames in a second (Hz), from the header alone. `ShardError` if there is none."""
        return int(self._ask("header").rate)

    @property
    def channels(self) -> int:
        """1 for mono, 2 for stereo …; from the header alone."""
        return int(self._ask("header").channels)

    @property
    def frames(self) -> int:
        """Numbers in each channel, as the header claims."""
        return int(self._ask("header").frames)

    def decode(self) -> NDArray[Any]:
        """The samples: an array ``float32`` (frames, channels), from -1 to 1, at `rate`.

        Raises:
            ShardError: no sound of an accepted format, damaged, not as long as its header claims,
                or longer than the limit.
            LocalError: it needs soundfile, which is not installed.
        """
        samples: NDArray[Any] = self._ask("decode")
        return samples

    def _ask(self, what: str) -> Any:
        return self._decoded(lambda: getattr(_sound(), what)(self.bytes, self.media_type))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.decode().astype(dtype or "float32", copy=False)


def is_pillow(value: object) -> bool:
    """Whether ``value`` is a Pillow image; Pillow is not loaded to find out."""
    return any(
        cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__
    )


def encode_png(picture: object) -> bytes:
    """A Pillow image or an array of pixels as a PNG file: lossless, and the same bytes each time.

    Raises:
        Undecodable: a shape, dtype or mode that PNG cannot hold without loss.
    """
    data: bytes = _pillow().encode_png(picture)
    return data


def _sound() -> ModuleType:
    """The decoders of sounds, loaded on first use."""
    return importlib.import_module("atd.shards.sound")


def _pillow() -> ModuleType:
    """Pillow's door, opened on first use: text and arrays never pay for it."""
    return importlib.import_module("atd.shards.pillow")
