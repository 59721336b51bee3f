"""A webdataset pipeline in torch's workers: each sample once, whatever the number of workers."""

from __future__ import annotations

import pytest

import atd

pytest.importorskip("torch", reason="torch is not installed here: make test-torch")
wds = pytest.importorskip("webdataset")

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_of_a_web_loader_share_the_samples(ds: atd.Dataset[atd.Row], workers: int) -> None:
    pipeline = ds.webdataset().to_tuple("number").batched(8)
    loader = wds.WebLoader(pipeline, batch_size=None, num_workers=workers)
    found = [number for (batch,) in loader for number in batch.tolist()]
    assert sorted(found) == list(range(124))
