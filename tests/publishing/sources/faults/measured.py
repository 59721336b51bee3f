"""Bombs and giants in a process of their own: ``python … FOLDER`` prints its peak of memory."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from publishing.sources.faults import archives, arrays, arrow, beside, media, tables
from publishing.sources.faults.case import Case, check

ROWS = {
    "images": media.IMAGES,
    "sounds": media.SOUNDS,
    "metadata.csv": beside.METADATA_CSV,
    "CSV": tables.CSV,
    "JSON Lines": tables.JSON_LINES,
    "Parquet": arrow.PARQUET,
    "Arrow": arrow.ARROW,
    "npy": arrays.NPY,
    "npz": arrays.NPZ,
    "safetensors": arrays.SAFETENSORS,
    "WebDataset": archives.TAR,
    "MDS": archives.MDS,
}


def main(place: Path) -> None:
    """Try every bomb and every giant; after each, the peak so far in bytes, by its name."""
    peaks: dict[str, int] = {}
    for fault in ("4 GB", "bomb"):
        for source, row in ROWS.items():
            case = row[fault]
            if isinstance(case, Case):
                folder = place / f"{source} {fault}"
                folder.mkdir()
                check(case, folder)
                usage = resource.getrusage(resource.RUSAGE_SELF)
                peaks[f"{source}: {fault}"] = usage.ru_maxrss * 1024
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
