"""One block against its NumPy twin and the gradient of its loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.gpu_blocks import Twin
from vecmill.gpu.block import Shape, cut_block, loss_of
from vecmill.gpu.rows import GROWTH, N_DIRECTIONS, Rows
from vecmill.gpu.steps import StepSettings, cbow_step, skipgram_step
from vecmill.gpu.stretch import Stretch
from vecmill.gpu.subword_steps import (
    device_subwords,
    subword_cbow_step,
    subword_skipgram_step,
    words_of_blocks,
)
from vecmill.kernels.subword_rows import make_subword_rows

KINDS = ["skipgram", "cbow", "subword_skipgram", "subword_cbow"]
N_WORDS, WINDOW, GROUP, WEIGHT = 9, 2, 4, 0.6
# word 3 has a row twice, as two n-grams that fall into one bucket
ROWS_OF = [[0, 9, 10], [1], [2, 10, 11, 12], [3, 9, 9], [4, 12], [5, 11], [6, 10, 12], [7], [8, 9, 11]]
STEPS = {
    "skipgram": skipgram_step,
    "cbow": cbow_step,
    "subword_skipgram": subword_skipgram_step,
    "subword_cbow": subword_cbow_step,
}


def a_stretch(seed=0, n_words=10):
    """Three groups, the last one not full, with margins; words repeat, sentences end in the middle of groups."""
    rng = np.random.default_rng(seed)
    size = 3 * GROUP + 2 * WINDOW
    word_ids = rng.integers(0, N_WORDS, size)
    sentences = np.array([-1, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3, -1, -1], np.int32)
    reaches = rng.integers(1, WINDOW + 1, size).astype(np.int32)
    rows = [torch.from_numpy(each).unfold(0, GROUP + 2 * WINDOW, GROUP) for each in (word_ids, sentences, reaches)]
    return (word_ids, sentences, reaches, n_words), Stretch(*rows, n_words)


def block_and_twin(kind, *, exact=True, seed=0, holds_back=False, rate=1.0, dtype=torch.float64):
    rng = np.random.default_rng(seed + 100)
    plain, stretch = a_stretch(seed)
    negatives = rng.integers(0, N_WORDS, (3, 5))
    subwords = "subword" in kind
    inputs = rng.normal(0, 0.7, (13 if subwords else N_WORDS, 6))
    contexts = rng.normal(0, 0.7, (N_WORDS, 6))
    twin = Twin(
        kind, plain, WINDOW, GROUP, negatives, WEIGHT, exact, inputs, contexts, ROWS_OF if subwords else None
    ).run()
    rows = Rows(torch.from_numpy(inputs), torch.from_numpy(contexts), holds_back=holds_back)
    more = {"look": True}
    table = None
    if subwords:
        offsets = np.cumsum([0, *map(len, ROWS_OF)]).astype(np.int64)
        flat = np.array([row for rows in ROWS_OF for row in rows], np.int32)
        table = device_subwords(make_subword_rows(offsets, flat), torch.device("cpu"))
        words = stretch.word_ids if "cbow" in kind else stretch.word_ids[:, WINDOW : WINDOW + GROUP]
        (more["words"],) = words_of_blocks(words, 3, table, torch.float64)
    shape = Shape(
        n_input_rows=len(inputs),
        reach_of_word=kind != "skipgram",
        tells_words="cbow" in kind,
        n_rows=table.offsets.diff() if table else None,
        dtype=torch.float64,
    )
    block = cut_block(stretch, 0, 3, WINDOW, torch.from_numpy(negatives), WEIGHT, shape)
    STEPS[kind](block, rows, rate, StepSettings(dtype, exact), **more)
    return twin, [float(loss_of(block, negatives.shape[1])), int(block.n_terms.sum())], rows


def bent(rows, which):
    """What rows of inputs (0) or outputs (1) took for the second derivative for each unit of their bends: a matrix."""
    n = rows.directions.shape[1] // 2
    own = slice(which * n, which * n + n)
    directions, values = rows.directions.numpy()[:, own], rows.eigenvalues[which].numpy()
    assert (np.delete(values, range(which * n, which * n + n)) == values[own].min()).all()
    others = np.eye(len(directions)) - directions @ directions.T
    return directions @ np.diag(values[own]) @ directions.T + values[-1] * others


def eigenvalues_of(rows, which):
    n = rows.directions.shape[1] // 2
    return rows.eigenvalues[which, which * n : which * n + n]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("holds_back", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_does_what_its_twin_does(monkeypatch, kind, holds_back, exact):
    monkeypatch.setattr("vecmill.gpu.rows.N_DIRECTIONS", 3)
    for seed in range(3):
        twin, (loss, n_pairs), rows = block_and_twin(kind, exact=exact, seed=seed, holds_back=holds_back, rate=0.4)
        assert n_pairs == twin.n_pairs > 0
        assert loss == pytest.approx(twin.loss, rel=1e-12)
        wanted = twin.changed(0.4, [bent(rows, 0), bent(rows, 1)] if holds_back else None)
        for each, changed, before in zip(
            (rows.inputs, rows.outputs), wanted, (twin.inputs, twin.contexts), strict=True
        ):
            np.testing.assert_allclose(each.numpy(), changed, atol=1e-12)
            assert np.abs(changed - before).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_look_at_what_they_meet(kind):
    """Of six directions all are followed, so the whole of the mean of x x' is found."""
    twin, _, rows = block_and_twin(kind, holds_back=True)
    stretch = a_stretch()[1]
    words = stretch.word_ids[:, WINDOW : WINDOW + GROUP].reshape(-1).numpy()
    negatives = np.random.default_rng(100).integers(0, N_WORDS, (3, 5)).reshape(-1)
    told = words if "cbow" in kind else stretch.word_ids.reshape(-1).numpy()
    met = twin.contexts[np.concatenate([told, negatives])]
    squares = met.T @ met / len(met)
    assert eigenvalues_of(rows, 0).sum() == pytest.approx(
        squares.trace() + 6 * GROWTH / (1 + squares.trace()) ** 2, rel=1e-9
    )
    if kind == "skipgram":
        met = twin.inputs[words]
        squares = met.T @ met / len(met)
        assert eigenvalues_of(rows, 1).sum() == pytest.approx(
            squares.trace() + 6 * GROWTH / (1 + squares.trace()) ** 2, rel=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_gradient_of_the_loss(kind):
    """Finite differences of the twin's loss, with the exact gradient, in float64."""
    twin, _, rows = block_and_twin(kind, exact=True)
    changes = rows.inputs.numpy() - twin.inputs, rows.outputs.numpy() - twin.contexts

    def loss(inputs, outputs):
        settings = twin.word_ids, twin.sentences, twin.reaches, twin.n_words
        other = Twin(kind, settings, WINDOW, GROUP, twin.negatives, WEIGHT, True, inputs, outputs, twin.rows_of)
        return other.run().loss

    step = 1e-6
    for which, change in enumerate(changes):
        for row, column in [(0, 0), (2, 3), (5, 1), (8, 5), (len(change) - 1, 2)]:
            moved = []
            for sign in (1, -1):
                matrices = [twin.inputs.copy(), twin.contexts.copy()]
                matrices[which][row, column] += sign * step
                moved.append(loss(*matrices))
            assert change[row, column] == pytest.approx(-(moved[0] - moved[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_products_are_near(kind):
    twin, (loss, n_pairs), rows = block_and_twin(kind, rate=0.4, dtype=torch.bfloat16)
    assert n_pairs == twin.n_pairs
    assert loss == pytest.approx(twin.loss, rel=0.02)
    change, wanted = rows.inputs.numpy() - twin.inputs, twin.changed(0.4)[0] - twin.inputs
    assert 0 < np.abs(change - wanted).max() < 0.05 * np.abs(wanted).max()


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_many_steps_from_one_place_go_no_further_than_one_after_another(bends, step):
    """n steps towards a point, each the share 1 - exp(-a) of the way, end at 1 - exp(-a n) of it."""
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    rows = Rows(nothing, nothing)
    rows.eigenvalues = torch.ones(2, 3, dtype=torch.float64)
    pull, together = torch.full((1, 1), float(bends), dtype=torch.float64), torch.tensor([float(bends)]).double()
    rows.add(torch.tensor([0]), 1, pull, together, step)
    assert float(rows.matrix[0, 0]) == pytest.approx(1 - np.exp(-step * bends), abs=1e-6)


def test_the_directions_in_which_vectors_are_longest_are_found():
    """Also those that turn from one look to the next; what is forgotten is found anew in the same bytes."""
    rng = np.random.default_rng(5)
    lengths = np.array([3.0, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7] + [0.2] * 24)
    turn = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    nothing = torch.zeros(1, 32, dtype=torch.float64)
    rows = Rows(nothing, nothing)
    first = []
    for _ in range(12):
        met = torch.from_numpy(rng.normal(size=(4_000, 32)) * lengths @ turn)
        rows.find_directions(met, met.flip(1))
        first.append(rows.directions.clone())
    values, vectors = np.linalg.eigh((met.T @ met).numpy() / 4_000)
    growth = GROWTH / (1 + values.sum()) ** 2
    for which, turned in enumerate((vectors, vectors[::-1])):
        np.testing.assert_allclose(eigenvalues_of(rows, which), values[::-1][:N_DIRECTIONS] + growth, rtol=0.05)
        assert rows.eigenvalues[which, -1] == eigenvalues_of(rows, which).min()
        own = rows.directions.numpy()[:, which * N_DIRECTIONS : (which + 1) * N_DIRECTIONS]
        held = own.T @ turned[:, ::-1][:, :N_DIRECTIONS]
        np.testing.assert_allclose(np.linalg.svd(held, compute_uv=False), 1, atol=0.01)
    rows.forget_directions()
    rng = np.random.default_rng(5)
    rng.normal(size=(32, 32))
    met = torch.from_numpy(rng.normal(size=(4_000, 32)) * lengths @ turn)
    rows.find_directions(met, met.flip(1))
    assert torch.equal(rows.directions, first[0])


@pytest.mark.parametrize("which", [0, 1])
def test_a_row_that_is_often_touched_goes_no_further_than_its_optimum_in_any_direction(which):
    """Vectors of nothing, and those of one word, whose directions are known: the sum of many changes is bounded."""
    nothing = torch.zeros(2, 4, dtype=torch.float64)
    rows = Rows(nothing, nothing)
    rows.find_directions(*[torch.zeros(5, 4, dtype=torch.float64)] * 2)
    assert torch.isfinite(rows.directions).all() and (rows.eigenvalues == GROWTH).all()
    met = [torch.zeros(5, 4, dtype=torch.float64)] * 2
    met[which] = torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64).expand(7, 4)
    rows.find_directions(*met)
    rows.find_directions(*met)
    times = torch.full((10_000,), 2 * which, dtype=torch.int64)
    pull = torch.tensor([1.0, 1.0, 0, 0], dtype=torch.float64).repeat(10_000, 1)
    rows.add(times, 10_000 * (1 - which), pull, torch.ones(10_000, dtype=torch.float64), 0.1)
    growth = GROWTH / 25
    wanted = [1 / (4 + growth), (1 - np.exp(-1_000 * growth)) / growth]
    np.testing.assert_allclose(rows.matrix[2 * which, :2].numpy(), wanted, rtol=1e-9)
    assert not rows.matrix[[1, 3, 2 - 2 * which]].any()


def test_rows_move_by_the_sum_before_the_first_look_and_where_nothing_is_held_back():
    nothing = torch.zeros(2, 4, dtype=torch.float64)
    for holds_back in (True, False):
        rows = Rows(nothing, nothing, holds_back=holds_back)
        pull = torch.ones(100, 4, dtype=torch.float64)
        rows.add(torch.full((100,), 3), 50, pull, torch.ones(100, dtype=torch.float64), 0.1)
        np.testing.assert_allclose(rows.matrix[3].numpy(), 10, rtol=1e-12)
