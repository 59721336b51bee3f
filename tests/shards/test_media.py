"""Pictures from strangers: few formats, few pixels, and nothing but a `ShardError` for the rest."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image as Pillow

from atd.errors import ShardError
from atd.shards.media import Image


def refusal(act: Callable[[], object]) -> str | None:
    """What ``act`` is refused with, if it is refused; any other exception is a failure."""
    try:
        act()
    except ShardError as error:
        return str(error)
    return None


def picture(form: str, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Pillow.new(mode, size, 0 if mode in ("1", "L", "P", "I;16") else None).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_usual_formats_decode_to_rgb(form: str, mode: str) -> None:
    image = Image(picture(form, mode=mode))
    assert image.decode().shape == (4, 6, 3)
    assert image.size == (6, 4)
    assert image.media_type == f"image/{form.lower()}"
    assert image.pillow().size == (6, 4)


@pytest.mark.parametrize("form", ["PPM", "ICO", "TGA", "EPS", "PDF", "PCX"])
def test_other_formats_are_not_even_tried(form: str) -> None:
    with pytest.raises(ShardError, match="not a decodable picture"):
        Image(picture(form)).decode()


def test_a_picture_that_claims_billions_of_pixels_is_refused_by_its_header() -> None:
    bomb = bytearray(picture("BMP"))
    bomb[18:26] = struct.pack("<ii", 60_000, 60_000)
    for ask in (Image.decode, Image.pillow, lambda image: image.size):
        with pytest.raises(ShardError, match=r"a picture of 60000 x 60000 pixels|not a decodable"):
            ask(Image(bytes(bomb), "s.tar: sample k: field image"))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_any_cut_of_a_picture_is_a_shard_error() -> None:
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = picture(form)
        for length in range(0, len(whole), max(1, len(whole) // 60)):
            said = refusal(Image(whole[:length], "here").decode)
            assert said is None or said.startswith("here: ")
