"""A folder of images by class: ``flowers/rose/1.jpg``, ``flowers/train/rose/1.jpg``.

Belongs here: which file is what. Folders at the top that are called as splits are
(`atd.publishing.sources.files.SPLITS`) make splits; the next folder is the class, deeper ones only
part of the key; a folder of images without classes gives samples without a label. Samples are
``{image, label}``, the image file untouched unless its metadata are to be stripped.

Rules. Every image is decoded once before anything is published, and all that fail are named in
one error. Files that are no images are left out, and counted in a warning. An image beside class
folders has no class: that is an error, not a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from atd.errors import BadSource, LocalError, ShardError
from atd.publishing.sources import files, metadata
from atd.publishing.sources.given import Given
from atd.publishing.sources.keys import path_key
from atd.publishing.sources.source import Item, Progress, Source, SplitSource, refuse_all, shown
from atd.schema.fields import Array, Field, Image, Label, Schema, String
from atd.schema.limits import MAX_CLASSES
from atd.shards import media

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
)
MAX_IMAGE_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Picture:
    """One file: its path below the folder, its split, and its class where there are classes."""

    path: PurePosixPath
    split: str
    label: str | None
    below: PurePosixPath


@dataclass
class Survey:
    """What is learned about the pictures while each is decoded once."""

    bad: list[str] = field(default_factory=list)
    types: set[str] = field(default_factory=set)
    shapes: set[tuple[str, tuple[int, int]]] = field(default_factory=set)
    noted: int = 0
    placed: int = 0

    def kind(self) -> Image:
        """The kind that every picture has: with mode and size only where all agree."""
        modes = {mode for mode, _ in self.shapes}
        sizes = {size for _, size in self.shapes}
        return Image(
            tuple(sorted(self.types)),
            mode=modes.pop() if len(modes) == 1 else None,
            size=sizes.pop() if len(sizes) == 1 else None,
        )


def open_given(given: Given) -> Source:
    """The images below a folder; `Given.split` is that of images that no folder assigns to one.

    Raises:
        BadSource: unreadable, corrupt or unclassed images, or none at all.
    """
    folder, strip = given.path, given.strip
    pictures, others = _find(given)
    if not pictures:
        raise BadSource(f"{shown(folder)} holds no images")
    labels = sorted({picture.label for picture in pictures if picture.label is not None})
    survey = _survey(folder, pictures, strip, given.progress)
    refuse_all(survey.bad, "images cannot be published", "repair or remove them, then run it again")
    splits = {
        split: _split(folder, [one for one in pictures if one.split == split], strip)
        for split in files.in_order(one.split for one in pictures)
    }
    return Source(
        what="folder of images",
        origin=str(folder),
        schema=_schema(survey.kind(), labels),
        splits=splits,
        travels=_travels(survey, len(pictures), bool(labels), strip),
        warnings=_left_out(others),
        looked_at=True,
    )


def _find(given: Given) -> tuple[list[Picture], list[PurePosixPath]]:
    """The images below a folder with their places, and the files that are none."""
    found, default = given.found, given.split
    pictures = [_place(path, default) for path in found if path.suffix.lower() in SUFFIXES]
    classed = any(picture.label is not None for picture in pictures)
    homeless = [shown(one.path) for one in pictures if classed and one.label is None]
    refuse_all(
        homeless, "images lie beside the class folders", "move them into a class folder or away"
    )
    return pictures, [path for path in found if path.suffix.lower() not in SUFFIXES]


def _place(path: PurePosixPath, default: str) -> Picture:
    split, below = default, path
    if len(path.parts) > 1 and files.is_split(path.parts[0]):
        split, below = path.parts[0].lower(), PurePosixPath(*path.parts[1:])
    label = below.parts[0] if len(below.parts) > 1 else None
    return Picture(path, split, label, below)


def _survey(folder: Path, pictures: list[Picture], strip: bool, progress: Progress) -> Survey:
    survey = Survey()
    for done, picture in enumerate(pictures):
        progress("checking images", done, len(pictures))
        try:
            _inspect(files.read(folder / picture.path), strip, survey)
        except (ShardError, metadata.CannotStrip, LocalError) as error:
            survey.bad.append(f"{shown(picture.path)} ({error})")
    progress("checking images", len(pictures), len(pictures))
    return survey


def _inspect(data: bytes, strip: bool, survey: Survey) -> None:
    """Decode one file, and note what it is and what it carries."""
    if len(data) > MAX_IMAGE_BYTES:
        raise LocalError(f"{len(data)} bytes; an image may have {MAX_IMAGE_BYTES}")
    notes = metadata.look(data)
    kept = metadata.strip(data) if strip else data
    picture = media.Image(kept).pillow()
    survey.shapes.add((picture.mode, picture.size))
    media_type = media.sniff(kept)
    survey.types |= {media_type} if media_type else set()
    survey.noted += notes.words
    survey.placed += notes.place


def _schema(kind: Image, labels: list[str]) -> Schema:
    if not labels:
        return Schema((Field("image", kind),))
    try:
        label = Label(labels) if len(labels) <= MAX_CLASSES else String()
        return Schema((Field("image", kind), Field("label", label)))
    except LocalError as error:
        raise BadSource(
            f"a class folder's name cannot be a label: {error}", next_step="rename the folder"
        ) from None


def _split(folder: Path, pictures: list[Picture], strip: bool) -> SplitSource:
    def items(schema: Schema) -> Iterator[Item]:
        make = _maker(schema)

        def load(picture: Picture) -> dict[str, Any]:
            data = files.read(folder / picture.path)
            return make(metadata.strip(data) if strip else data, picture.label)

        for picture in pictures:
            yield path_key(picture.below), partial(load, picture)

    return SplitSource(items=items, count=len(pictures))


def _maker(schema: Schema) -> Callable[[bytes, str | None], dict[str, Any]]:
    """What makes a sample of a file: pixels are decoded only where the schema asks for them."""
    decoded = "image" in schema and isinstance(schema["image"].kind, Array)

    def make(data: bytes, label: str | None) -> dict[str, Any]:
        sample = {"image": media.Image(data).decode() if decoded else data, "label": label}
        return {name: value for name, value in sample.items() if name in schema}

    return make


def _travels(survey: Survey, total: int, labelled: bool, strip: bool) -> tuple[str, ...]:
    names = "file names" + (" and the names of class folders" if labelled else "")
    said = [f"{names}, as the keys of samples" + (" and labels" if labelled else "")]
    if survey.noted and not strip:
        places = f", with GPS positions in {survey.placed}" if survey.placed else ""
        said.append(
            f"metadata (EXIF, XMP, comments) in {survey.noted} of {total} images{places}: "
            "--strip-metadata leaves them out"
        )
    return tuple(said)


def _left_out(others: list[PurePosixPath]) -> tuple[str, ...]:
    if not others:
        return ()
    kinds = Counter(path.suffix.lower() or "no suffix" for path in others)
    counted = ", ".join(f"{count} {shown(kind)}" for kind, count in kinds.most_common(5))
    return (f"{len(others)} files are not images and are left out ({counted})",)
