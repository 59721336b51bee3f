"""A program that knows nothing of atd but the addresses ``atd://…``: ``files.py WHAT ADDRESS …``.

Prints what it finds as JSON, for the user of the daemon that the environment names.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import fsspec
import pandas as pd


def find(what: str, address: str, *words: str) -> Any:
    fs, path = fsspec.url_to_fs(address)
    match what:
        case "ls":
            return sorted(fs.ls(path, detail=False))
        case "info":
            return fs.ls(path, detail=True)
        case "glob":
            return fs.glob(address)
        case "exists":
            return fs.exists(path)
        case "read":
            with fsspec.open(address, "rb") as file:
                return file.read().hex()
        case "slice":
            return fs.cat_file(path, int(words[0]), int(words[1])).hex()
        case "pandas":
            return pd.read_csv(address, compression="tar").to_dict("list")
        case "fails":
            return refusal(address, "rb")
        case "write":
            return refusal(address, "wb")
        case "datasets" | "streamed":
            found = importlib.import_module("datasets").load_dataset(
                "webdataset",
                data_files=address,
                split="train",
                cache_dir=words[0],
                streaming=what == "streamed",
            )
            return [[row["json"]["n"], row["txt"]] for row in found]
    raise ValueError(what)


def refusal(address: str, mode: str) -> str:
    try:
        with fsspec.open(address, mode):
            return "opened"
    except OSError as error:
        return type(error).__name__


def newer(address: str) -> None:
    """What the release has, before and after somebody else published another one."""
    fs, path = fsspec.url_to_fs(address)
    print(fs.ls(path), flush=True)
    sys.stdin.readline()
    print(fs.ls(path), flush=True)
    fs.invalidate_cache(path)
    print(fs.ls(path), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "newer":
        newer(sys.argv[2])
    else:
        print(json.dumps({"found": find(*sys.argv[1:])}))
