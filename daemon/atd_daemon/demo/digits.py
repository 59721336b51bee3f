"""The data set of the demo: handwritten digits, real and openly licensed.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49, licensed CC BY 4.0. ``digits.csv.gz`` is the test set
of 1,797 digits as scikit-learn distributes it: 64 pixels of 0 to 16, row by row, then the digit.
"""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LICENSE = "CC-BY-4.0"
TITLE = "Optical Recognition of Handwritten Digits"
DESCRIPTION = (
    "1,797 handwritten digits by 13 writers as 8x8 grey images; "
    "each pixel counts the ink in a 4x4 cell, 0 to 16, shown times 15."
)
CITATION = (
    "E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits. "
    "UCI Machine Learning Repository, 1998. https://doi.org/10.24432/C50P49"
)

_SIDE = 8
_GREY_PER_COUNT = 15
_TEST_EVERY = 5


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The digits as they were published: images ``(1797, 8, 8)`` of 0..16, labels ``(1797,)``."""
    packed = importlib.resources.files(__package__).joinpath("digits.csv.gz").read_bytes()
    text = io.StringIO(gzip.decompress(packed).decode("ascii"))
    rows = np.array([[int(cell) for cell in row] for row in csv.reader(text)], dtype=np.uint8)
    return rows[:, :-1].reshape(-1, _SIDE, _SIDE), rows[:, -1]


def write_folder(folder: Path) -> int:
    """Lay the digits out as ``folder/{train,test}/{digit}/{number}.png``; returns their number.

    Every fifth digit goes to ``test``.
    """
    images, labels = read_digits()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        split = "test" if number % _TEST_EVERY == 0 else "train"
        place = folder / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image * np.uint8(_GREY_PER_COUNT)).save(place / f"{number:04d}.png")
    return len(images)
