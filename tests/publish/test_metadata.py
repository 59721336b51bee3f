"""What images say beside their pixels: found, and taken out without touching a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL.PngImagePlugin import PngInfo

from atd.publishing.sources import metadata
from publish import pictures

FORMS = ["JPEG", "PNG", "WEBP"]


@pytest.mark.parametrize("form", FORMS)
def test_a_place_in_exif_is_seen(form: str) -> None:
    data = pictures.encoded(form, exif=pictures.exif(place=True))
    assert metadata.look(data) == metadata.Found(words=True, place=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_camera_without_a_place_is_words_only(form: str) -> None:
    data = pictures.encoded(form, exif=pictures.exif(place=False))
    assert metadata.look(data) == metadata.Found(words=True, place=False)


@pytest.mark.parametrize("form", [*FORMS, "BMP", "GIF"])
def test_a_plain_image_has_nothing_to_say(form: str) -> None:
    assert metadata.look(pictures.encoded(form)) == metadata.Found(words=False, place=False)


@pytest.mark.parametrize("form", FORMS)
def test_stripping_leaves_pixels_and_takes_everything_else(form: str) -> None:
    data = pictures.encoded(form, exif=pictures.exif())
    kept = metadata.strip(data)
    assert metadata.look(kept) == metadata.Found(words=False, place=False)
    assert b"A Camera" not in kept
    assert np.array_equal(pictures.opened(kept), pictures.opened(data))


@pytest.mark.parametrize("form", FORMS)
def test_stripping_keeps_which_way_up(form: str) -> None:
    data = pictures.encoded(form, exif=pictures.exif(orientation=6))
    kept = metadata.strip(data)
    assert b"A Camera" not in kept
    assert dict(pictures.opened(kept).getexif()) == {0x0112: 6}
    assert not metadata.look(kept).place


@pytest.mark.parametrize("form", [*FORMS, "BMP"])
def test_stripping_what_has_nothing_changes_nothing(form: str) -> None:
    data = pictures.encoded(form)
    assert metadata.strip(data) == data


def test_stripping_keeps_a_colour_profile() -> None:
    data = pictures.encoded("JPEG", icc_profile=b"profile" * 10, exif=pictures.exif())
    assert pictures.opened(metadata.strip(data)).info["icc_profile"] == b"profile" * 10


def test_progressive_jpegs_have_several_scans() -> None:
    data = pictures.encoded("JPEG", progressive=True, exif=pictures.exif())
    assert np.array_equal(pictures.opened(metadata.strip(data)), pictures.opened(data))


def test_what_a_phone_appends_after_the_picture_goes() -> None:
    data = pictures.encoded("JPEG")
    film = data + b"\0\0\0\x18ftypmp42 GPSLatitude"
    assert metadata.strip(film) == data


def test_xmp_and_comments_go() -> None:
    data = pictures.encoded("JPEG", comment=b"shot at home", xmp=b"<x exif:GPSLatitude='1'/>")
    assert metadata.look(data).place
    kept = metadata.strip(data)
    assert b"home" not in kept
    assert b"GPSLatitude" not in kept


def test_png_text_goes() -> None:
    words = PngInfo()
    words.add_text("Author", "Alice")
    data = pictures.encoded("PNG", pnginfo=words)
    assert metadata.look(data).words
    assert b"Alice" not in metadata.strip(data)


@pytest.mark.parametrize("form", ["GIF", "TIFF"])
def test_other_formats_cannot_be_stripped(form: str) -> None:
    with pytest.raises(metadata.CannotStrip, match="only JPEG"):
        metadata.strip(pictures.encoded(form))


@pytest.mark.parametrize("form", FORMS)
def test_every_cut_of_a_file_is_refused_or_harmless(form: str) -> None:
    data = pictures.encoded(form, exif=pictures.exif(orientation=3))
    for end in range(len(data)):
        metadata.look(data[:end])
        try:
            kept = metadata.strip(data[:end])
        except metadata.CannotStrip:
            continue
        assert b"A Camera" not in kept
