"""Two epochs of a small model on one rank: ``train.py FOLDER RANK WORLD RENDEZVOUS WORKERS``.

Prints, as JSON, the numbers it saw in each batch and the weights it ends with.
"""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import atd


def main(folder: str, rank: int, world: int, rendezvous: str, workers: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model: torch.nn.Module = torch.nn.Linear(3, 1)
    ds = atd.load(folder, split="train").shuffled(seed=5)
    batches = ds.torch(12)
    if world > 1:  # after the data set was made: ranks are asked for when iteration begins
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
        model = DistributedDataParallel(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    seen = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        for batch in loader:
            seen.append(batch["number"].tolist())
            guess = model(batch["veins"] / 124)
            loss = ((guess[:, 0] - batch["number"] / 62) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    weights = [value for one in model.parameters() for value in one.flatten().tolist()]
    print(json.dumps({"seen": seen, "weights": weights}))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    folder, rank, world, rendezvous, workers = sys.argv[1:]
    main(folder, int(rank), int(world), rendezvous, int(workers))
