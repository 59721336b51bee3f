"""Data sets whose samples and batches a type checker knows: what `atd schema pull` writes for.

What belongs here: `Ref`, which carries the types of a data set beside its name, and the data set
that `atd.load` makes of one. Nothing here acts differently from an untyped data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from atd.dataset.batches import Batches
from atd.dataset.dataset import Dataset
from atd.dataset.loader import Loader

T = TypeVar("T")
B = TypeVar("B")
C = TypeVar("C")


@dataclass(frozen=True)
class Ref(Generic[T, B]):
    """A reference to a data set with the types of its samples and its batches.

    ``Ref[Flower, FlowerBatch]("@alice.example.com/flowers", Flower)``: ``B`` is a type only, a
    `Columns` protocol with an attribute for each field. Written by ``atd schema pull --python``.

    Args:
        ref: what to load; anything that `atd.load` takes.
        sample: the class to read samples as.
    """

    ref: str
    sample: type[T]

    def __str__(self) -> str:
        return self.ref


class Columns(Protocol):
    """What every batch can do, whatever its fields: the base of a typed batch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def __contains__(self, name: object, /) -> bool: ...


class TypedDataset(Dataset[T], Generic[T, B]):
    """A `Dataset` of samples ``T`` whose batches are ``B``, until `map` makes something else."""

    def _with(self, **changes: Any) -> TypedDataset[T, B]:
        return TypedDataset(replace(self.flow, **changes))

    if TYPE_CHECKING:
        # The very methods of `Dataset`, said to keep both types.

        def ordered(self) -> TypedDataset[T, B]: ...
        def shuffled(
            self,
            seed: int = 0,
            epoch: int = 0,
            *,
            window: int | None = ...,
            block: int | None = None,
        ) -> TypedDataset[T, B]: ...
        def take(self, n: int) -> TypedDataset[T, B]: ...
        def skip(self, n: int) -> TypedDataset[T, B]: ...
        def shard(self, rank: int, world: int) -> TypedDataset[T, B]: ...
        def filter(self, keep: Callable[[T], object]) -> TypedDataset[T, B]: ...
        def on_error(self, policy: str) -> TypedDataset[T, B]: ...
        def split(self, *fractions: float, seed: int = 0) -> tuple[TypedDataset[T, B], ...]: ...
        @overload
        def __getitem__(self, which: int) -> T: ...
        @overload
        def __getitem__(self, which: slice | Sequence[int]) -> TypedDataset[T, B]: ...
        def __getitem__(self, which: Any) -> Any: ...
        @overload  # type: ignore[override]
        def batched(
            self, n: int, drop_last: bool = False, collate: None = None, *, copy: bool = True
        ) -> Batches[B]: ...
        @overload
        def batched(
            self,
            n: int,
            drop_last: bool = False,
            *,
            collate: Callable[[list[T]], C],
            copy: bool = True,
        ) -> Batches[C]: ...
        def batched(
            self, n: int, drop_last: bool = False, collate: Any = None, *, copy: bool = True
        ) -> Any: ...
        @overload  # type: ignore[override]
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
            collate: None = None,
            prefetch: int = 2,
            start_method: str | None = None,
        ) -> Loader[B]: ...
        @overload
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
            collate: Callable[[list[T]], C],
            prefetch: int = 2,
            start_method: str | None = None,
        ) -> Loader[C]: ...
        def loader(self, batch_size: int, **options: Any) -> Any: ...
