"""Images are checked by the structure of their files, or decoded where that was asked for."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atd
from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from publishing.sources.test_tars import archive

NOISE = np.random.default_rng(4).integers(0, 255, (40, 56, 3), dtype=np.uint8)
FORMATS = {"jpg": "JPEG", "png": "PNG"}


def encoded(form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(NOISE).save(out, form)
    return out.getvalue()


def zeroed() -> bytes:
    """The second half is zeros, which Pillow draws as grey."""
    data = encoded("JPEG")
    return data[: len(data) // 2].ljust(len(data), b"\0")


def unsound() -> bytes:
    """A PNG whose pixels are not deflated, with the right checksum all the same."""
    data = bytearray(encoded("PNG"))
    at = data.index(b"IDAT")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 : at + 104] = bytes(100)
    data[end : end + 4] = zlib.crc32(data[at:end]).to_bytes(4, "big")
    return bytes(data)


def in_a_folder(path: Path, suffix: str, data: bytes) -> Path:
    (path / "rose").mkdir(parents=True)
    (path / "rose" / f"good.{suffix}").write_bytes(encoded(FORMATS[suffix]))
    (path / "rose" / f"odd.{suffix}").write_bytes(data)
    return path


def in_archives(path: Path, suffix: str, data: bytes) -> Path:
    path.mkdir()
    archive(path / "good.tar", [(f"a.{suffix}", encoded(FORMATS[suffix]))])
    archive(path / "odd.tar", [(f"b.{suffix}", data)])
    return path


@pytest.mark.parametrize("place", [in_a_folder, in_archives])
@pytest.mark.parametrize(
    ("suffix", "data", "decoding_finds_it"),
    [("jpg", zeroed(), False), ("png", unsound(), True)],
)
def test_what_decides_is_what_was_asked_for(
    tmp_path: Path,
    place: Callable[[Path, str, bytes], Path],
    suffix: str,
    data: bytes,
    decoding_finds_it: bool,
) -> None:
    folder = place(tmp_path / "in", suffix, data)
    for decode in (False, True):
        out = tmp_path / f"out-{decode}"
        if decode is decoding_finds_it:
            with pytest.raises(BadSource, match=r"odd\.\w+ \("):
                open_source(folder, decode_images=decode)
            assert open_source(folder, decode_images=decode, skip_bad=True).skipped
            with pytest.raises(BadSource):
                atd.pack(folder, out, decode_images=decode)
        else:
            assert atd.pack(folder, out, decode_images=decode).samples == 2
