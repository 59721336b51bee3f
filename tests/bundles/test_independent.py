"""Bundles checked by somebody else's code: the reference libraries of ATProto and did:plc."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from atd_daemon.sync.bundles import Bundler
from bundles.forging import blocks_of, bundle, manifest_of, swapping
from reference.install import HERE, node
from reference.network import Network
from world import Account, World
from world.datasets import Published, publish


def independently(data: bytes, folder: Path) -> Any:
    """What the reference libraries find in a bundle; None where they refuse it."""
    file = folder / "a.proof"
    file.write_bytes(data)
    command = [str(node()), str(HERE / "bundle.mjs"), str(file)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


async def test_the_reference_libraries_prove_the_same(
    reference: Network,
    bundler: Bundler,
    world: World,
    alice: Account,
    flowers: Published,
    tmp_path: Path,
) -> None:
    alice.rotate_key(commit=True)
    for ref, account in (("@alice.test/flowers", alice), ("did:web:lab.example.com/flowers", None)):
        if account is None:
            lab = world.pds("pds1").account("lab.example.com", did="did:web:lab.example.com")
            lab.serve_document()
            publish(lab)
            account = lab
        made = await bundler.make(ref)
        found = independently(made.data, tmp_path)
        assert found["keys"] == {account.did: account.key.public.to_did_key()}
        assert [(one["uri"], one["cid"]) for one in found["verified"]] == [
            (str(one.verified.uri), str(one.verified.cid)) for one in made.checked.records
        ]


async def test_the_reference_libraries_refuse_what_was_altered(
    reference: Network, bundler: Bundler, flowers: Published, tmp_path: Path
) -> None:
    """Their refusal shows that the test above could have failed."""
    data = (await bundler.make("@alice.test/flowers")).data
    record = manifest_of(data)["records"][0]["cid"]
    block = blocks_of(data)[record]
    assert (
        independently(swapping(data, record, block.replace(b"meadow", b"shadow")), tmp_path) is None
    )
    manifest = manifest_of(data)
    manifest["identities"][0]["did"] = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    assert independently(bundle(manifest, blocks_of(data)), tmp_path) is None
    assert independently(data, tmp_path) is not None
