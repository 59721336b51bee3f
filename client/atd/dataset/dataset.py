"""The data set a user iterates.

What belongs here: `Dataset`, an immutable description of which samples come, in which order, as
what, and what happens to them. Every method returns a new one, so they compose in the order
written; nothing is opened or fetched before a sample is asked for. Where iteration stands is the
business of `atd.dataset.cursor`, batches of `atd.dataset.batches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import numpy as np

from atd.dataset import doors
from atd.dataset.batches import Batches, Collate
from atd.dataset.cursor import Cursor, check_state, read_at, sample_at, state_of
from atd.dataset.flow import Flow
from atd.dataset.loader import Loader, Plan
from atd.dataset.order import DEFAULT_WINDOW
from atd.dataset.patience import PatientBatches, PatientCursor, read_from
from atd.dataset.stages import Filter, Map
from atd.errors import LocalError
from atd.schema.fields import Schema
from atd.schema.resolve import resolve
from atd.schema.row import Row

if TYPE_CHECKING:
    from atd.dataset.arrow_door import Reader, Table
    from atd.dataset.hf_door import HfDataset
    from atd.dataset.pandas_door import PandasFrame
    from atd.dataset.polars_door import PolarsFrame
    from atd.dataset.torch_door import TorchBatches

T = TypeVar("T")
U = TypeVar("U")


@dataclass(eq=False)
class Position:
    """Where a data set's iteration begins and where its last iterator stands: the one thing here
    that changes. ``consumed`` counts positions of the selection, filtered ones included."""

    start: int = 0
    cursor: Cursor[Any] | None = None

    def __reduce__(self) -> tuple[type[Position], tuple[int]]:
        # An iteration under way has shards open, and stays in its process.
        return type(self), (self.start,)


@dataclass(frozen=True, eq=False)
class Dataset(Generic[T]):
    """Samples of type ``T`` out of verified shards. Made by `atd.load`, not by hand.

    Iterating gives samples; `batched` gives batches. ``len`` and indexing count samples of the
    selection. It pickles under spawn and may be used in a forked worker: neither a socket nor an
    open shard is part of it.
    """

    flow: Flow
    position: Position = field(default_factory=Position, repr=False)

    # -- what it is -------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        """The published schema."""
        return self.flow.source.schema

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a sample as read here, before any `map`."""
        return tuple(step.name for step in self.flow.reading.steps)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the samples are of."""
        return self.flow.source.splits

    def __len__(self) -> int:
        return len(self.flow)

    def __repr__(self) -> str:
        return f"Dataset({self.flow})"

    # -- which samples, in which order ------------------------------------------------------

    def ordered(self) -> Dataset[T]:
        """The samples as the release lists them: undoes a `shuffled` written just before."""
        whole = self._whole("ordered")
        return whole._with(selection=whole.flow.selection.ordered())

    def shuffled(
        self,
        seed: int = 0,
        epoch: int = 0,
        *,
        window: int | None = DEFAULT_WINDOW,
        block: int | None = None,
    ) -> Dataset[T]:
        """The same samples in an order that is a pure function of the arguments.

        Args:
            seed: which shuffle; epoch: which pass of it. Iterating never advances the epoch: pass
                the next one.
            window: shards whose samples are mixed with each other; None mixes all of them, which
                needs every shard at once. Shards come in a random order in any case.
            block: cut shards into blocks of this many samples first, and count ``window`` in them.

        Keeps the length. Replaces a shuffle written just before.
        """
        whole = self._whole("shuffled")
        selection = whole.flow.selection
        shuffled = selection.shuffled(seed=seed, epoch=epoch, window=window, block=block)
        return whole._with(selection=shuffled)

    def take(self, n: int) -> Dataset[T]:
        """The first ``n`` samples, or all if there are fewer. After `filter`, of those kept."""
        return self[: max(0, n)]

    def skip(self, n: int) -> Dataset[T]:
        """All but the first ``n`` samples. After `filter`, of those kept."""
        return self[max(0, n) :]

    def split(self, *fractions: float, seed: int = 0) -> tuple[Dataset[T], ...]:
        """Disjoint random parts, one for each fraction: ``ds.split(0.9, 0.1)``.

        Which samples a part has is a pure function of ``seed`` and of the samples before it: the
        same in every epoch, for a shuffle written just before stays last, within each part. Parts
        keep the order that their samples had. Fractions that add up to less than 1 leave the rest
        out. Each part has a length, and resumes as any selection does.

        Raises:
            LocalError: no fractions, one that is not positive, or a sum of more than 1.
        """
        ends = np.cumsum(fractions)
        if not fractions or min(fractions) <= 0 or ends[-1] > 1 + 1e-9:
            told = ", ".join(map(str, fractions)) or "none"
            raise LocalError(f"expected positive fractions that add up to 1 at most, got {told}")
        whole = self._whole("split")
        selection = whole.flow.selection
        bounds = [0, *(round(min(1.0, end) * selection.total) for end in ends.tolist())]
        return tuple(
            whole._with(selection=selection.part(begin, end, seed))
            for begin, end in pairwise(bounds)
        )

    def shard(self, rank: int, world: int) -> Dataset[T]:
        """The share of one of ``world`` equal readers: every ``world``-th sample from ``rank`` on.

        All ranks get the same number; up to ``world - 1`` samples at the end of the order are left
        out. Write it after `shuffled` and `filter`, before `batched`.

        Raises:
            LocalError: ``rank`` is not in ``range(world)``, or the data set is a share already.
        """
        if not 0 <= rank < world:
            raise LocalError(f"expected a rank in range({world}), got {rank}")
        if self.flow.world != 1:
            raise LocalError("this data set is already the share of one rank")
        whole = self._whole("shard")
        return whole._with(selection=whole.flow.selection.share(rank, world), world=world)

    # -- as what ----------------------------------------------------------------------------

    def as_type(self, cls: type[U]) -> Dataset[U]:
        """Samples as instances of ``cls``, a class of `atd.sample` or a dataclass.

        Raises:
            SchemaMismatch: the class cannot read what is published; says why, field by field.
            LocalError: written after `map` or `filter`, which already see samples.
        """
        self._before_stages("as_type")
        return cast("Dataset[U]", self._with(reading=resolve(self.schema, cls)))

    def select(self, *names: str) -> Dataset[Row]:
        """Rows of these fields only; the others are not decoded.

        Raises:
            LocalError: no such field, or written after `map` or `filter`.
        """
        self._before_stages("select")
        unknown = [name for name in names if name not in self.schema.names]
        if unknown or not names:
            raise LocalError(
                f"expected fields out of {', '.join(self.schema.names)}, got "
                f"{', '.join(unknown) or 'none'}"
            )
        narrow = Schema(tuple(self.schema[name] for name in names))
        return cast("Dataset[Row]", self._with(reading=resolve(narrow, None)))

    # -- what happens to them ---------------------------------------------------------------

    def map(self, function: Callable[[T], U]) -> Dataset[U]:
        """Every sample replaced by what ``function`` makes of it. Keeps length and resume.

        To iterate in spawned workers ``function`` must pickle: a function of a module.
        """
        return cast("Dataset[U]", self._with(stages=(*self.flow.stages, Map(function))))

    def filter(self, keep: Callable[[T], object]) -> Dataset[T]:
        """Only the samples for which ``keep`` is true. The length is not known; resume is exact."""
        return self._with(stages=(*self.flow.stages, Filter(keep)))

    def on_error(self, policy: str) -> Dataset[T]:
        """What to do about a bad sample: ``raise``, as without this, or ``skip``.

        Bad is a sample that cannot be decoded or does not fit the class, or over which a function
        of `map` or `filter` raises. ``skip`` leaves it out, so that less come than ``len`` says; in
        a `loader` and after `shard` it is replaced by the next good sample of the order instead,
        so that every rank takes as many steps. Each is told to the logger ``atd.dataset``. A shard
        that is missing or not what was signed raises all the same, and so does ``ds[i]``. Keeps
        order and resume.

        Raises:
            LocalError: no such policy.
        """
        if policy not in ("raise", "skip"):
            raise LocalError(f"expected a policy raise or skip, got {policy!r}")
        return self._with(patient=policy == "skip")

    def batched(
        self,
        n: int,
        drop_last: bool = False,
        collate: Collate | None = None,
        *,
        copy: bool = True,
    ) -> Batches[Any]:
        """Batches of ``n`` samples: arrays stacked, ragged ones as `Ragged`, text as a list.

        Args:
            n: samples in a batch, for each rank. A global batch is ``n`` times the world's size.
            drop_last: leave out a last batch of fewer samples.
            collate: makes a batch of a list of samples instead.
            copy: arrays are the caller's own. Otherwise they are read-only, and where samples come
                in order and lie at equal distances in one shard, as those of one size mostly do,
                an array is a view of the shard: nothing is copied, and its elements may be
                unaligned. A view stays valid for as long as it is held.

        Raises:
            LocalError: ``n`` is not positive.
        """
        made = PatientBatches if self.flow.patient else Batches
        return made(self.flow, n, drop_last, collate, copy)

    def loader(
        self,
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        seed: int | None = None,
        epoch: int | None = None,
        tail: str = "drop",
        collate: Collate | None = None,
        prefetch: int = 2,
        start_method: str | None = None,
    ) -> Loader[Any]:
        """Batches of one rank, built in worker processes, that resume on any number of either.

        Args:
            batch_size: samples in a *global* batch, of all ranks together: a multiple of ``world``.
            rank, world: which slice of each global batch. All ranks take as many steps.
            workers: processes that build batches; with 0 they are built here. Worth it where
                ``map`` or decoding takes the time: assembling batches alone is faster without.
            seed: shuffle with it, as `shuffled` does; None keeps the order written.
            epoch: which pass of the shuffle; see `Loader.set_epoch`.
            tail: ``drop`` leaves out the last samples that do not fill a global batch; ``pad``
                fills it with the first samples of the same epoch, which then come twice.
            collate: makes a batch of a list of samples instead.
            prefetch: batches that each worker builds ahead.
            start_method: ``fork``, ``spawn`` or ``forkserver``; Python's own choice where it is
                None.

        Its position counts whole global batches, so ``state_dict`` is the same on every rank and
        goes on exactly, mid-epoch, with other ``world`` and ``workers``. After `filter`, everything
        is read once here, because all ranks must agree on the length.

        Raises:
            LocalError: the batch size cannot be sliced, or it is the share of one rank already.
        """
        whole = self if seed is None else self.shuffled(seed, epoch or 0)
        plan = Plan(whole.flow, batch_size, rank, world, tail, collate)
        options: Any = {"workers": workers, "prefetch": prefetch, "start_method": start_method}
        loader = Loader[Any](plan, **options)
        if epoch is not None:
            loader.set_epoch(epoch)
        return loader

    # -- getting them -----------------------------------------------------------------------

    @overload
    def __getitem__(self, which: int) -> T: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int]) -> Dataset[T]: ...
    def __getitem__(self, which: int | slice | Sequence[int]) -> T | Dataset[T]:
        """``ds[i]`` is a sample; ``ds[a:b]`` and ``ds[[i, j]]`` are data sets of those."""
        if type(which) is int and not self.flow.stages:
            # Nothing to find out first: random access is asked for one sample after the other.
            at = _position(which, self.flow.selection.total)
            return cast("T", sample_at(self.flow, at))
        one = isinstance(which, int | np.integer)
        whole = self._materialised() if one else self._whole("take, skip and slices")
        total = whole.flow.selection.total
        if isinstance(which, slice):
            chosen = whole.flow.selection.span(*which.indices(total))
            return whole._with(selection=chosen)
        if isinstance(which, int | np.integer):
            return cast("T", sample_at(whole.flow, _position(int(which), total)))
        places = np.array([_position(int(i), total) for i in which], dtype=np.int64)
        return whole._with(selection=whole.flow.selection.listed(places))

    def __iter__(self) -> Iterator[T]:
        """Samples from the beginning, or from where `load_state_dict` said, once."""
        cursor = self.cursor(self.position.start)
        self.position.start = 0
        self.position.cursor = cursor
        return iter(cursor)

    def cursor(self, start: int = 0) -> Cursor[T]:
        """An iterator from position ``start`` on that knows where it stands."""
        return PatientCursor(self.flow, start) if self.flow.patient else Cursor(self.flow, start)

    # -- where it stands --------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the last iterator of this data set stands, as JSON (torchdata's protocol)."""
        cursor = self.position.cursor
        return state_of(self.flow, self.position.start if cursor is None else cursor.consumed)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator begin where ``state`` was taken.

        Raises:
            LocalError: it is the state of another release, order or pipeline.
        """
        self.position.start = check_state(self.flow, state)
        self.position.cursor = None

    # -- doors ------------------------------------------------------------------------------

    def webdataset(self) -> Any:
        """The same samples, in the same order, as a webdataset pipeline of dicts.

        Each sample is a dict of its fields with ``__key__`` and ``__url__`` (the shard's CID), so
        that webdataset's stages (``.map``, ``.shuffle``, ``.batched`` …) can follow.
        """
        return doors.webdataset_pipeline(self.flow)

    def to_arrow(self) -> Table:
        """All samples as a ``pyarrow.Table`` in memory; what each kind is there: docs/python.md.

        Raises:
            LocalError: pyarrow is not installed, or a `map` returned samples without fields.
        """
        return doors.arrow_table(self.flow)

    def to_arrow_batches(self, n: int = 1024) -> Reader:
        """The samples as a stream of Arrow record batches of at most ``n``, in bounded memory."""
        return doors.arrow_reader(self.flow, n)

    def to_pandas(self) -> PandasFrame:
        """All samples as a ``pandas.DataFrame``, one row each."""
        return doors.pandas_frame(self.flow)

    def to_polars(self) -> PolarsFrame:
        """All samples as a ``polars.DataFrame``, one row each."""
        return doors.polars_frame(self.flow)

    def to_hf(self, folder: str | PathLike[str] | None = None) -> HfDataset:
        """All samples as a ``datasets.Dataset`` of Hugging Face, mapped from a file.

        Args:
            folder: where the Arrow file is written; the cache of ``datasets`` where it is None.
        """
        return doors.hf_dataset(self.flow, folder)

    def torch(
        self,
        batch_size: int,
        *,
        rank: int | None = None,
        world: int | None = None,
        tail: str = "drop",
        collate: Collate | None = None,
    ) -> TorchBatches:
        """The batches of `loader` as tensors, as an ``IterableDataset`` of torch.

        ::

            batches = ds.shuffled(seed=0).torch(256)
            for batch in DataLoader(batches, batch_size=None, num_workers=4):
                batch["image"]

        A batch is a dict of tensors, `RaggedTensor` where shapes differ, and lists. The order is
        that of `loader` for any number of workers, forked or spawned. ``set_epoch`` also reaches
        persistent workers. With torchdata's ``StatefulDataLoader`` it resumes exactly on as many
        workers; with a plain ``DataLoader``, on any number of ranks and workers, by
        ``batches.state_dict(consumed=…)`` and ``batches.load_state_dict``.

        Args:
            batch_size: samples in a *global* batch, of all ranks together.
            rank, world: which slice of each; where they are None, what torch.distributed says when
                iteration begins, or all of it where that does not run.
            tail, collate: as for `loader`.

        Raises:
            LocalError: torch is not installed, or the batch size cannot be sliced.
        """
        return doors.torch_batches(self.flow, batch_size, rank, world, tail, collate)

    # -- inside -----------------------------------------------------------------------------

    def _with(self, **changes: Any) -> Dataset[T]:
        """A copy with ``changes`` that stands at its beginning."""
        return Dataset(replace(self.flow, **changes))

    def _before_stages(self, method: str) -> None:
        if self.flow.stages:
            raise LocalError(f"{method} belongs before map and filter: they see its samples")

    def _whole(self, method: str) -> Dataset[T]:
        """What ``method`` may select from: nobody's share, with the survivors of filters known."""
        if self.flow.world != 1 and method != "ordered":
            raise LocalError(f"{method}: write it before shard, so that every rank sees one order")
        return self._materialised()

    def _materialised(self) -> Dataset[T]:
        """The same samples with every filter evaluated: one pass, and then the length is known."""
        if not self.flow.filtered:
            return self
        if self.flow.patient:
            kept = [at for at, _ in read_from(self.flow, 0)]
        else:
            everything = np.arange(self.flow.selection.total, dtype=np.int64)
            kept = [at for at, _ in read_at(self.flow, everything)]
        stages = tuple(stage for stage in self.flow.stages if isinstance(stage, Map))
        selection = self.flow.selection.listed(np.array(kept, dtype=np.int64))
        return self._with(selection=selection, stages=stages)


def _position(index: int, total: int) -> int:
    """``index`` as a position, counted from the end where it is negative."""
    if not -total <= index < total:
        raise IndexError(f"sample {index} is outside of {total:,} samples")
    return index % total
