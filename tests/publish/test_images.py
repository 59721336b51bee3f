"""A folder of images by class as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atd.errors import BadSource, SchemaMismatch
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import Array, Field, Image, Label, Schema, String
from publish import pictures


def samples(source: Source, split: str = "train") -> dict[str, object]:
    return dict(source.splits[split].samples(source.schema))


def test_folder_names_are_labels(tmp_path: Path) -> None:
    for label in ("rose", "tulip"):
        for number in range(3):
            pictures.put(tmp_path / label / f"{number}.png", seed=number)
    source = open_source(tmp_path)
    assert source.schema["label"].kind == Label("rose", "tulip")
    assert source.schema["image"].kind == Image(("image/png",), mode="RGB", size=(16, 16))
    assert source.count == 6
    found = samples(source)
    assert sorted(sample["label"] for sample in found.values()) == ["rose"] * 3 + ["tulip"] * 3
    assert (tmp_path / "rose" / "0.png").read_bytes() in [s["image"] for s in found.values()]


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "validation")])
def test_split_folders_are_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    for split in names:
        pictures.put(tmp_path / split / "rose" / "deep" / "1.png")
    pictures.put(tmp_path / names[0] / "tulip" / "1.jpg", "JPEG")
    source = open_source(tmp_path)
    assert list(source.splits) == [name.lower() for name in names]
    assert source.splits["train"].count == 2
    assert source.schema["label"].kind == Label("rose", "tulip")
    assert source.schema["image"].kind.media_types == ("image/jpeg", "image/png")


def test_images_without_classes_have_no_label(tmp_path: Path) -> None:
    pictures.put(tmp_path / "1.png")
    source = open_source(tmp_path, split="all")
    assert source.schema.names == ("image",)
    assert list(samples(source, "all").values()) == [{"image": (tmp_path / "1.png").read_bytes()}]


def test_names_in_any_script_make_distinct_keys(tmp_path: Path) -> None:
    names = ["画像.png", "画 像.png", "é.png", "é.jpg", "a.b.png", "a_b.png", "-.png", "x" * 200]
    for number, name in enumerate(names):
        path = tmp_path / "花" / (name if "." in name else name + ".png")
        pictures.put(path, "JPEG" if path.suffix == ".jpg" else "PNG", seed=number)
    source = open_source(tmp_path)
    assert source.schema["label"].kind == Label("花")
    keys = list(samples(source))
    assert len(set(keys)) == len(names)
    pictures.put(tmp_path / "花" / "another.png")
    assert set(keys) < set(samples(open_source(tmp_path)))


def test_other_files_are_left_out_and_said(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    (tmp_path / "numbers.dat").write_text("x")
    (tmp_path / "rose" / "notes.txt").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    (warning,) = open_source(tmp_path).warnings
    assert "2 files are not images" in warning
    assert ".txt" in warning


def test_every_corrupt_image_is_named(tmp_path: Path) -> None:
    whole = pictures.encoded("JPEG")
    pictures.put(tmp_path / "rose" / "fine.png")
    for name, data in (("cut.jpg", whole[:-300]), ("text.png", b"hello"), ("empty.gif", b"")):
        (tmp_path / "rose" / name).write_bytes(data)
    with pytest.raises(BadSource, match="3 images cannot be published") as caught:
        open_source(tmp_path)
    assert all(name in str(caught.value) for name in ("rose/cut.jpg", "text.png", "empty.gif"))
    assert "fine" not in str(caught.value)


def test_at_most_twenty_are_named(tmp_path: Path) -> None:
    for number in range(25):
        pictures.put(tmp_path / "rose" / f"{number:02d}.png").write_bytes(b"no")
    with pytest.raises(BadSource, match=r"25 images .*and 5 more"):
        open_source(tmp_path)


def test_an_image_beside_class_folders_is_no_guess(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    pictures.put(tmp_path / "cover.png")
    with pytest.raises(BadSource, match=r"cover\.png \(it lies beside the class folders"):
        open_source(tmp_path)


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    (tmp_path / "rose" / "again").symlink_to(tmp_path)
    with pytest.raises(BadSource, match="leads back to a folder above it"):
        open_source(tmp_path)


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    (tmp_path / "rose" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(
        BadSource, match=r"1 path cannot be read: rose/2\.png \(a link that leads nowhere\)"
    ):
        open_source(tmp_path)


def test_what_cannot_be_read_and_what_cannot_be_decoded_are_named_in_one_run(
    tmp_path: Path,
) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    (tmp_path / "rose" / "2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "rose" / "3.png").write_bytes(b"no picture")
    with pytest.raises(BadSource, match=r"rose/2\.png .*; 1 image cannot .* rose/3\.png"):
        open_source(tmp_path)


def test_links_to_images_are_followed(tmp_path: Path) -> None:
    real = pictures.put(tmp_path / "elsewhere" / "1.png")
    folder = tmp_path / "data" / "rose"
    folder.mkdir(parents=True)
    (folder / "1.png").symlink_to(real)
    assert open_source(tmp_path / "data").count == 1


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadSource, match="holds nothing that is known"):
        open_source(tmp_path)


def test_places_in_exif_are_announced(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.jpg", "JPEG", exif=pictures.exif())
    pictures.put(tmp_path / "rose" / "2.jpg", "JPEG")
    said = " ".join(open_source(tmp_path).travels)
    assert "in 1 of 2 images, with GPS positions in 1" in said
    assert "file names" in said


def test_stripped_images_carry_no_place(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.jpg", "JPEG", exif=pictures.exif())
    source = open_source(tmp_path, strip_metadata=True)
    (sample,) = samples(source).values()
    assert b"A Camera" not in sample["image"]
    assert not any("GPS" in line for line in source.travels)


def test_stripping_what_cannot_be_stripped_is_refused(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.gif", "GIF")
    with pytest.raises(BadSource, match=r"rose/1\.gif \(only JPEG"):
        open_source(tmp_path, strip_metadata=True)


def test_a_schema_may_ask_for_pixels_and_text(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png", seed=5)
    wanted = Schema((Field("image", Array("uint8")), Field("label", String())))
    source = open_source(tmp_path, schema=wanted)
    (sample,) = samples(source).values()
    assert np.array_equal(sample["image"], pictures.pixels(5))
    assert sample["label"] == "rose"


def test_a_schema_that_asks_for_more_is_refused(tmp_path: Path) -> None:
    pictures.put(tmp_path / "rose" / "1.png")
    wanted = Schema((Field("image", Image()), Field("weight", String())))
    with pytest.raises(SchemaMismatch, match=r"needs weight, but .* offers image, label"):
        open_source(tmp_path, schema=wanted)


def test_labels_keep_their_numbers_when_a_class_is_added(tmp_path: Path) -> None:
    for label in ("rose", "tulip", "anemone"):
        pictures.put(tmp_path / label / "1.png")
    before = Schema((Field("image", Image()), Field("label", Label("rose", "tulip"))))
    after = open_source(tmp_path).following(before)
    assert after.schema["label"].kind == Label("rose", "tulip", "anemone")
