"""What is published in the stories, and the very samples that must come out again.

Belongs here: one `Case` for each kind of source. The expected samples are written down from the
values that went in, never read back from the source by atd.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

import atd

Splits = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Case:
    """A data set to publish.

    Args:
        name: its name; ``title`` and ``word``: a title, and a word of it to search for.
        make: makes the source in an empty folder; returns it and the samples of each split.
        cls: what its samples are read as.
        typed: what a sample becomes as ``cls``.
        schema: what it is published as, if it says so.
    """

    name: str
    title: str
    word: str
    make: Callable[[Path], tuple[Any, Splits]]
    cls: type[Any]
    typed: Callable[[dict[str, Any]], dict[str, Any]] = dict
    schema: type[Any] | None = None


def plain(sample: Any) -> dict[str, Any]:
    """A sample as a dict of plain values: media as their bytes, labels as their names."""
    fields = sample if isinstance(sample, Mapping) else vars(sample)
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, atd.Image):
        return value.bytes
    return value.name if isinstance(value, int) and hasattr(value, "name") else value


def counted(samples: Iterable[Any]) -> Counter[tuple[Any, ...]]:
    """The samples in no order, comparable: every value with its type, every bit of an array."""
    return Counter(frozen(sample) for sample in samples)


def frozen(sample: Any) -> tuple[Any, ...]:
    """One sample as a hashable value."""
    return tuple(sorted((name, _frozen(value)) for name, value in plain(sample).items()))


def _frozen(value: Any) -> tuple[str, Any]:
    if isinstance(value, np.ndarray):
        return "array", (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list):
        return "list", tuple(_frozen(item) for item in value)
    return type(value).__name__, repr(value)


# --- a folder of images by class -----------------------------------------------------------------


@atd.sample
class Leaf:
    image: NDArray[np.uint8]
    label: str


def _leaves(folder: Path) -> tuple[Path, Splits]:
    noise = np.random.default_rng(1)
    splits: Splits = {"train": [], "test": []}
    for split, label, count in (
        ("train", "elm", 7),
        ("train", "oak", 5),
        ("test", "elm", 2),
        ("test", "oak", 3),
    ):
        place = folder / split / label
        place.mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(0, 255, (6, 5 + number, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            (place / f"{number}.png").write_bytes(file.getvalue())
            splits[split].append({"image": file.getvalue(), "label": label})
    return folder, splits


def _as_leaf(sample: dict[str, Any]) -> dict[str, Any]:
    pixels = np.asarray(Image.open(io.BytesIO(sample["image"])))
    return {"image": pixels, "label": sample["label"]}


# --- a CSV file ----------------------------------------------------------------------------------


@atd.sample
class Plant:
    id: str
    height: float
    petals: int | None
    note: str | None


def _plants(folder: Path) -> tuple[Path, Splits]:
    notes = ("tall", 'said "hello", twice', "Blüte ✿", "two\nlines", None)
    rows = [
        {
            "id": f"p{number:03d}",
            "height": number / 8,
            "petals": None if number % 7 == 3 else number,
            "note": notes[number % len(notes)],
        }
        for number in range(40)
    ]
    folder.mkdir()
    with (folder / "plants.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(rows[0])
        table.writerows(["" if cell is None else cell for cell in row.values()] for row in rows)
    return folder / "plants.csv", {"train": rows}


# --- a Parquet file ------------------------------------------------------------------------------


@atd.sample
class Visit:
    insect: str
    seconds: np.float32
    count: np.int32
    path: list[int]
    seen: datetime.datetime | None


def _visits(folder: Path) -> tuple[Path, Splits]:
    first = datetime.datetime(2024, 5, 1, 6, tzinfo=datetime.UTC)
    rows = [
        {
            "insect": ("bee", "wasp", "Hummel")[number % 3],
            "seconds": number / 4,
            "count": number - 15,
            "path": list(range(number % 4)),
            "seen": None if number == 11 else first + datetime.timedelta(minutes=number),
        }
        for number in range(30)
    ]
    schema = pa.schema(
        [
            ("insect", pa.string()),
            ("seconds", pa.float32()),
            ("count", pa.int32()),
            ("path", pa.list_(pa.int64())),
            ("seen", pa.timestamp("us", tz="UTC")),
        ]
    )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "visits.parquet")
    return folder / "visits.parquet", {"train": rows}


def _as_visit(sample: dict[str, Any]) -> dict[str, Any]:
    numbers = {"seconds": np.float32(sample["seconds"]), "count": np.int32(sample["count"])}
    return sample | numbers


# --- an .npz file --------------------------------------------------------------------------------


@atd.sample
class Digit:
    x: NDArray[np.float32]
    y: int


def _digits(folder: Path) -> tuple[Path, Splits]:
    noise = np.random.default_rng(2)
    folder.mkdir()
    splits: Splits = {}
    arrays = {}
    for split, count in (("train", 24), ("test", 8)):
        x = noise.normal(size=(count, 4, 3)).astype(np.float32)
        y = np.arange(count) * (1 if split == "train" else -1)
        arrays |= {f"x_{split}": x, f"y_{split}": y}
        splits[split] = [{"x": one, "y": int(n)} for one, n in zip(x, y, strict=True)]
    np.savez(folder / "digits.npz", **arrays)
    return folder / "digits.npz", splits


# --- a Python iterable ---------------------------------------------------------------------------


@atd.sample
class Reading:
    values: NDArray[np.int16]
    sensor: Literal["north", "south"]
    at: datetime.datetime
    calibrated: bool
    comment: str | None = None


def _readings(folder: Path) -> tuple[Iterator[Reading], Splits]:
    noise = np.random.default_rng(3)
    first = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    samples = [
        Reading(
            noise.integers(-99, 99, 3 + number % 4, dtype=np.int16),
            "south" if number % 3 else "north",
            first + datetime.timedelta(hours=number),
            number % 2 == 0,
            "dawn" if number == 6 else None,
        )
        for number in range(25)
    ]
    return iter(samples), {"train": [dict(vars(sample)) for sample in samples]}


CASES = (
    Case("leaves", "Leaves of elms and oaks", "oaks", _leaves, Leaf, _as_leaf),
    Case("plants", "Plants in a table", "plants", _plants, Plant),
    Case("visits", "Visits of insects", "insects", _visits, Visit, _as_visit),
    Case("digits", "Digits as arrays", "digits", _digits, Digit),
    Case("readings", "Readings of two sensors", "sensors", _readings, Reading, schema=Reading),
)
