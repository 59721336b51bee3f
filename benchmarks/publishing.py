"""How fast a folder of images is published, against hashing and the disk, and against the peers.

5,000 JPEGs of about 110 KB (``--scale`` makes it fewer) in ten class folders, made before the clock
starts and read once, so that all find them in the page cache. In turn, in one run:

- floor: each image read, hashed (SHA-256), written behind the last, the file flushed to the disk;
- atd pack: to shards in a folder, by ``atd pack`` in a process of its own;
- atd publish: by ``atd publish`` to a folder store, with the daemon, records on an embedded host,
  and everything read back with proof; and once more, unchanged;
- webdataset.ShardWriter: image and class, in the same process;
- imagefolder: ``datasets.load_dataset("imagefolder")`` and ``to_parquet``, which puts the files in,
  if ``datasets`` is installed.

atd checks every image before it publishes any, which the others do not: by the structure of its
file, and not by decoding it, which alone, on one thread, is a line of its own. Ratios are to the
floor of the same run. Time of processors says the same on a machine that is busy with other things;
that of the daemon is not in it.

Run: ``python benchmarks/publishing.py [--scale 1.0] [--json]``
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cli.front import Front  # noqa: E402
from cli.stage import Person  # noqa: E402
from reference.dnszone import Zone  # noqa: E402
from reference.network import free_ports  # noqa: E402

IMAGES = 5_000
CLASSES = 10
SIDE = 416


def jpegs(folder: Path, count: int) -> int:
    """Write the images; returns their bytes. Noise of a few sizes compresses to about 110 KB."""
    rng = np.random.default_rng(0)
    size = 0
    for number in range(count):
        coarse = rng.integers(0, 255, (SIDE // 2, SIDE // 2, 3), dtype=np.uint8)
        out = io.BytesIO()
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(out, "JPEG", quality=90)
        path = folder / f"class-{number % CLASSES}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
        size += len(out.getvalue())
    return size


def floor(images: list[Path], folder: Path) -> None:
    """What no publisher can do without."""
    state = hashlib.sha256()
    with (folder / "floor").open("wb") as out:
        for path in images:
            data = path.read_bytes()
            state.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())


def decode(images: list[Path], folder: Path) -> None:
    """Every image decoded, which is how a damaged one is found."""
    for path in images:
        Image.open(io.BytesIO(path.read_bytes())).load()


def shard_writer(images: list[Path], folder: Path) -> None:
    """webdataset, as its documentation shows it."""
    pattern = str(folder / "wds-%06d.tar")
    with webdataset.ShardWriter(pattern, maxsize=64_000_000, verbose=0) as writer:
        for path in images:
            sample = {"__key__": path.stem, "jpg": path.read_bytes(), "cls": path.parent.name}
            writer.write(sample)


def imagefolder(source: Path) -> Callable[[list[Path], Path], None] | None:
    """Hugging Face's datasets, if it is there."""
    if importlib.util.find_spec("datasets") is None:
        return None
    datasets = importlib.import_module("datasets")
    datasets.disable_progress_bars()

    def save(images: list[Path], folder: Path) -> None:
        cache = str(folder / "cache")
        made = datasets.load_dataset("imagefolder", data_dir=str(source), cache_dir=cache)
        for split, table in made.items():  # save_to_disk would leave the files where they are
            table.to_parquet(str(folder / f"{split}.parquet"))

    return save


@contextmanager
def publisher(folder: Path) -> Iterator[Person]:
    """Somebody with an embedded host of her own."""
    with ExitStack() as ending:
        zone = ending.enter_context(Zone())
        listen = f"127.0.0.1:{free_ports(1)}"
        front = ending.enter_context(Front(f"http://{listen}"))
        known = {"ATD_DNS_SERVER": zone.address, "ATD_ALLOW_HOSTS": front.domain}
        alice = Person.at(folder / "alice", ATD_HOST_LISTEN=listen, **known)
        ending.callback(alice.leave)
        zone.point("alice.test", front.did)
        made = alice.run("host", "init", front.domain, "--handle", "alice.test", "--json").done()
        password = made.json["password"] + "\n"
        alice.run("login", "alice.test", "--password-stdin", stdin=password).done()
        yield alice


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processors in this process and those that it waited for."""
    os.sync()  # what others left to be written is not to be waited for
    began, worked = time.perf_counter(), os.times()
    do()
    done = os.times()
    return time.perf_counter() - began, sum(done[:4]) - sum(worked[:4])


def measure(count: int, place: Path) -> dict[str, Any]:
    """All of them, one after the other."""
    source = place / "images"
    size = jpegs(source, count)
    images = sorted(source.rglob("*.jpg"))
    found: dict[str, tuple[float, float]] = {}

    def peer(name: str, run: Callable[[list[Path], Path], None]) -> None:
        folder = place / name.replace(" ", "-")
        folder.mkdir()
        found[name] = timed(lambda: run(images, folder))

    peer("floor", floor)
    peer("decoding alone", decode)
    peer("ShardWriter", shard_writer)
    with publisher(place) as alice:
        packed, store = str(place / "packed"), str(place / "store")
        found["atd pack"] = timed(lambda: alice.run("pack", str(source), "-o", packed).done())
        command = ("publish", str(source), "--name", "images", "--store", store, "--yes")
        found["atd publish"] = timed(lambda: alice.run(*command).done())
        found["atd publish, unchanged"] = timed(lambda: alice.run(*command).done())
    hf = imagefolder(source)
    if hf is not None:
        peer("imagefolder, to_parquet", hf)
    return {"images": count, "bytes": size, "seconds": found}


def main() -> None:
    """Measure, and print ratios to the floor."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        result = measure(max(int(IMAGES * options.scale), CLASSES), Path(place))
    if options.json:
        print(json.dumps(result))
        return
    seconds = result["seconds"]
    print(f"{result['images']} images, {result['bytes'] / 1e6:.0f} MB: by the clock, of processors")
    for name, (took, worked) in seconds.items():
        clock, work = (
            one / other for one, other in zip((took, worked), seconds["floor"], strict=True)
        )
        rate = result["images"] / took
        print(f"  {name:26s} {took:7.2f} s {rate:6.0f}/s {clock:6.2f}  {worked:7.2f} s {work:6.2f}")


if __name__ == "__main__":
    main()
