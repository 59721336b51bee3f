"""A training script as a user writes it: reads a data set in worker processes, of one kind.

``python workers.py REF fork|spawn``, as a user of the daemon that the environment names. Prints the
numbers that each worker read, as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import sys

import atd

WORKERS = 2


@atd.sample
class Row:
    n: int


def read(share: tuple[atd.Dataset[Row], int]) -> list[int]:
    """What one worker does: its share of the data set that came from the parent."""
    dataset, rank = share
    return [row.n for row in dataset.shard(rank, WORKERS)]


def main() -> None:
    ref, method = sys.argv[1:]
    dataset = atd.load(ref, schema=Row).shuffled(seed=4)
    first = next(iter(dataset)).n  # the parent has used it, and what it opened, before
    with multiprocessing.get_context(method).Pool(WORKERS) as pool:
        shares = pool.map(read, [(dataset, rank) for rank in range(WORKERS)])
    print(json.dumps({"first": first, "shares": shares}))


if __name__ == "__main__":
    main()
