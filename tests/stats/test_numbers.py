"""Numbers against numpy, and what makes them mergeable: no order and no grouping shows."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.statistics import exact
from atd.statistics.numbers import CELLS, Numbers, magnitude_bounds
from atd.statistics.summary import number_summary, quantile

FLOATS = st.floats(width=64)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


def of_floats(values: list[float]) -> Numbers:
    made = Numbers()
    made.add_floats(np.array(values, np.float64))
    return made


def of_integers(values: list[int]) -> Numbers:
    made = Numbers()
    made.add_integers(np.array(values, np.int64))
    return made


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=400))
def test_sums_are_exact(values: list[float]) -> None:
    found = of_floats(values)
    assert Fraction(found.total, 2**exact.SCALE) == sum(map(Fraction, values))
    squares = sum(Fraction(one) ** 2 for one in values)
    assert Fraction(found.squares, 2 ** (2 * exact.SCALE)) == squares
    assert exact.mean(found.total, found.count) == float(sum(map(Fraction, values)) / len(values))


@given(st.lists(INTEGERS, min_size=1, max_size=300))
def test_sums_of_integers_are_exact(values: list[int]) -> None:
    found = of_integers(values)
    assert found.total == sum(values) << exact.SCALE
    assert found.squares == sum(one * one for one in values) << 2 * exact.SCALE
    assert (found.low, found.high) == (min(values), max(values))


@given(st.lists(FLOATS, max_size=200), st.randoms(use_true_random=False), st.integers(1, 6))
def test_neither_order_nor_grouping_shows(
    values: list[float], chance: random.Random, parts: int
) -> None:
    whole = of_floats(values)
    shuffled = chance.sample(values, len(values))
    groups = [of_floats(shuffled[at::parts]) for at in range(parts)]
    chance.shuffle(groups)
    merged = Numbers()
    for group in groups:
        merged.merge(group)
    assert number_summary(merged) == number_summary(whole)
    assert merged.grid == whole.grid
    assert not whole.grid or merged.shift == whole.shift


@given(st.lists(FLOATS, min_size=1, max_size=300))
def test_every_number_is_in_a_cell_that_holds_it(values: list[float]) -> None:
    found = of_floats(values)
    finite = sorted(one for one in values if math.isfinite(one))
    assert sum(found.grid.values()) == sum(found.magnitudes.values()) == len(finite)
    if not finite:
        return
    assert max(found.grid) - min(found.grid) < CELLS
    cells = {one // 1 for one in found.grid}
    unit = Fraction(2) ** found.shift
    assert cells == {math.floor(Fraction(one) / unit) for one in finite}
    for cell in found.magnitudes:
        low, high = magnitude_bounds(cell)
        assert any(low <= one <= high for one in finite)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.random.default_rng(0).normal(5, 2, 5000), id="normal"),
        pytest.param(np.random.default_rng(1).lognormal(3, 4, 5000), id="a long tail"),
        pytest.param(np.random.default_rng(2).uniform(1.7e9, 1.71e9, 5000), id="moments"),
        pytest.param(np.random.default_rng(3).normal(-1e-9, 1e-10, 5000), id="small and negative"),
    ],
)
def test_summaries_agree_with_numpy(values: np.ndarray) -> None:
    made = Numbers()
    made.add_floats(values)
    found = number_summary(made)
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.std == pytest.approx(values.std(), rel=1e-9)
    for fraction, about in found.quantiles:
        true = np.quantile(values, fraction, method="lower")
        spread = min(abs(true) / 32, (values.max() - values.min()) / 512)
        assert about == pytest.approx(true, abs=spread * 1.01)
    assert found.histogram is not None
    counts, _ = np.histogram(values, found.histogram.edges)
    assert counts.tolist() == list(found.histogram.counts)
    assert len(counts) <= 20


def test_the_deviation_of_large_numbers_that_are_close_is_not_lost() -> None:
    values = [1e15, 1e15 + 1, 1e15 + 2]
    found = number_summary(of_floats(values))
    assert found.std == pytest.approx(math.sqrt(2 / 3), rel=1e-15)
    assert found.values == ((1e15, 1), (1e15 + 1, 1), (1e15 + 2, 1))


def test_the_ends_of_what_a_float_can_hold() -> None:
    most = float(np.finfo(np.float64).max)
    found = number_summary(of_floats([most, -most, 5e-324, -5e-324, 0.0, -0.0]))
    assert (found.mean, found.low, found.high) == (0.0, -most, most)
    assert found.std == pytest.approx(most / math.sqrt(3))
    assert all(math.isfinite(value) for _, value in found.quantiles)


def test_what_is_not_finite_is_counted_apart() -> None:
    found = number_summary(of_floats([math.nan, math.inf, -math.inf, 1.5]))
    assert (found.count, found.elements, found.nan, found.infinite) == (1, 4, 1, 2)
    assert (found.low, found.high, found.mean, found.std) == (1.5, 1.5, 1.5, 0.0)
    nothing = number_summary(of_floats([math.nan]))
    assert (nothing.count, nothing.low, nothing.mean, nothing.quantiles) == (0, None, None, ())


def test_few_values_are_kept_as_they_are_and_many_are_not() -> None:
    few = of_integers([1990, 1990, 2024])
    assert number_summary(few).values == ((1990, 2), (2024, 1))
    assert quantile(few, 0.5) == 1990
    many = number_summary(of_integers(list(range(65))))
    assert many.values is None
    assert many.histogram is not None
    assert of_integers(list(range(65))).values is None
