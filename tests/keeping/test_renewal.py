"""Two lists of shards side by side: what takes the place of what, for any lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from atd.names import SHARDS
from atd.protocol.cbor import DAG_CBOR, RAW, Cid
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey
from atd.records import ShardEntry, ShardPart, Split, StrongRef
from atd_daemon.sync.found import FoundShard, FoundSplit
from atd_daemon.sync.renewal import all_of, renewal

DID = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")

Letters = st.text("abcdefgh", min_size=1, max_size=12)
"""Shards by their content; a list may have one twice, since it is a stranger's."""


def digest(letter: str) -> Cid:
    return Cid.of(letter.encode(), RAW)


def entry(letter: str) -> ShardEntry:
    return ShardEntry(f"{letter}.tar", digest(letter), 1, samples=1)


LIST = StrongRef(
    AtUri(DID, Nsid(SHARDS), RecordKey("3jzfcijpj2z2a")), Cid.from_digest(bytes(32), DAG_CBOR)
)
PLACES = ("https://files.example.com/",)
PART = ShardPart((entry("a"),), datetime(2025, 6, 1, tzinfo=UTC), PLACES)


def split(letters: Sequence[str], name: str = "train", *, known: bool = True) -> FoundSplit:
    shards = tuple(FoundShard(entry(letter), PART, DID, None) for letter in letters)
    said = Split(name, (LIST,), len(shards), len(shards), len(shards))
    return FoundSplit(said, (), shards if known else ())


def fetched(old: str, new: str, here: str) -> set[str]:
    found = renewal([split(old)], [split(new)], {digest(letter) for letter in here})
    return {shard.entry.name.removesuffix(".tar") for _, shard in found.fetch}


@given(Letters, Letters)
def test_whoever_has_everything_gets_everything_that_is_new(old: str, new: str) -> None:
    assert fetched(old, new, old) == set(new) - set(old)


@given(Letters, Letters, st.sets(st.sampled_from("abcdefgh")))
def test_nothing_is_fetched_that_is_here_or_was_there_before(
    old: str, new: str, here: set[str]
) -> None:
    kept = here.intersection(old)
    found = fetched(old, new, "".join(kept))
    assert found <= set(new) - kept
    if not kept:
        assert found == set()


@given(st.permutations("abcdefgh"), st.data())
def test_one_change_is_one_shard_for_those_who_have_it(old: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 7))
    here = data.draw(st.sets(st.sampled_from("abcdefgh")))
    new = [*old[:at], "X", *old[at + 1 :]]
    wanted = {"X"} if old[at] in here else set()
    assert fetched("".join(old), "".join(new), "".join(here)) == wanted


def test_a_split_whose_shards_are_not_known_has_none_here() -> None:
    here = {digest("a"), digest("b")}
    before = [split("a"), split("b", "test", known=False)]
    found = renewal(before, [split("a"), split("bc", "test"), split("d", "valid")], here)
    assert found.fetch == ()
    assert found.replaced == 0


def test_what_has_no_place_any_more_is_counted() -> None:
    assert renewal([split("abc")], [split("a")], {digest("a"), digest("b")}).replaced == 1
    assert len(all_of([split("abc")], {digest("a")}).fetch) == 2


def test_long_lists_are_compared_in_no_time_to_speak_of() -> None:
    # A quadratic comparison of these would not end while anybody waits.
    old = [f"shard-{n}" for n in range(20_000)]
    new = [name if n % 2 else f"{name}-new" for n, name in enumerate(old)]
    here = {digest(name) for name in old[:10]}
    assert len(renewal([split(old)], [split(new)], here).fetch) == 5
