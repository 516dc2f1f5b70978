"""The picture of a training's losses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmill.registry.record import draw_learning_curve, epoch_ticks


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (1, 1, [1]),
        (1, 5, [1, 2, 3, 4, 5]),
        (3, 6, [3, 4, 5, 6]),
        (1, 12, [1, 4, 6, 8, 10, 12]),
        (1, 20, [1, 5, 10, 15, 20]),
        (1, 21, [1, 5, 10, 15, 21]),
        (1, 100, [1, 20, 40, 60, 80, 100]),
    ],
)
def test_marked_epochs(first: int, last: int, ticks: list[int]) -> None:
    assert epoch_ticks(first, last) == ticks


@given(first=st.integers(1, 50), span=st.integers(0, 100_000))
def test_first_and_last_epoch_are_marked_and_the_others_have_room(first: int, span: int) -> None:
    ticks = epoch_ticks(first, first + span)
    assert (ticks[0], ticks[-1]) == (first, first + span)
    assert len(ticks) <= 11
    gaps = [after - before for before, after in pairwise(ticks)]
    assert all(gap >= 1 and gap > span / 50 for gap in gaps)


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_curve_is_drawn_for_any_number_of_epochs(n_epochs: int, tmp_path: Path) -> None:
    draw_learning_curve([(epoch, 1 / epoch) for epoch in range(1, n_epochs + 1)], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
