"""One block against its NumPy twin and the gradient of its loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.gpu_blocks import Twin
from vecmill.gpu.block import cut_block
from vecmill.gpu.rows import GROWTH, N_DIRECTIONS, Rows, held_back
from vecmill.gpu.steps import StepSettings, cbow_step, skipgram_step
from vecmill.gpu.stretch import Stretch
from vecmill.gpu.subword_steps import device_subwords, subword_cbow_step, subword_skipgram_step
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
    rows = [Rows(torch.from_numpy(each.copy()), holds_back=holds_back) for each in (inputs, contexts)]
    block = cut_block(
        stretch,
        0,
        3,
        WINDOW,
        torch.from_numpy(negatives),
        WEIGHT,
        reach_of_word=kind != "skipgram",
        tells_words="cbow" in kind,
        dtype=torch.float64,
    )
    settings = StepSettings(dtype, exact)
    more = {"look": True}
    if subwords:
        offsets = np.cumsum([0, *map(len, ROWS_OF)]).astype(np.int64)
        table = make_subword_rows(offsets, np.array([row for rows in ROWS_OF for row in rows], np.int32))
        more["subwords"] = device_subwords(table, torch.device("cpu"))
    loss = STEPS[kind](block, *rows, rate, settings, **more)
    return twin, [float(loss), int(block.n_terms.sum())], rows


def bent(rows):
    """What rows took for the second derivative for each unit of their bends: a matrix."""
    directions, values = rows.directions.numpy(), rows.eigenvalues.numpy()
    others = np.eye(len(directions)) - directions @ directions.T
    return directions @ np.diag(values[:-1]) @ directions.T + values[-1] * others


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("holds_back", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_does_what_its_twin_does(monkeypatch, kind, holds_back, exact):
    monkeypatch.setattr("vecmill.gpu.rows.N_DIRECTIONS", 3)
    for seed in range(3):
        twin, (loss, n_pairs), rows = block_and_twin(kind, exact=exact, seed=seed, holds_back=holds_back, rate=0.4)
        assert n_pairs == twin.n_pairs > 0
        assert loss == pytest.approx(twin.loss, rel=1e-12)
        wanted = twin.changed(0.4, [bent(each) for each in rows] if holds_back else None)
        for each, changed, before in zip(rows, wanted, (twin.inputs, twin.contexts), strict=True):
            np.testing.assert_allclose(each.matrix.numpy(), changed, atol=1e-12)
            assert np.abs(changed - before).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_look_at_what_they_meet(kind):
    """Of six directions all are followed, so the whole of the mean of x x' is found."""
    twin, _, (inputs, contexts) = block_and_twin(kind, holds_back=True)
    stretch = a_stretch()[1]
    words = stretch.word_ids[:, WINDOW : WINDOW + GROUP].reshape(-1).numpy()
    negatives = np.random.default_rng(100).integers(0, N_WORDS, (3, 5)).reshape(-1)
    told = words if "cbow" in kind else stretch.word_ids.reshape(-1).numpy()
    met = twin.contexts[np.concatenate([told, negatives])]
    squares = met.T @ met / len(met)
    assert inputs.eigenvalues[:-1].sum() == pytest.approx(
        squares.trace() + 6 * GROWTH / (1 + squares.trace()) ** 2, rel=1e-9
    )
    if kind == "skipgram":
        met = twin.inputs[words]
        squares = met.T @ met / len(met)
        assert contexts.eigenvalues[:-1].sum() == pytest.approx(
            squares.trace() + 6 * GROWTH / (1 + squares.trace()) ** 2, rel=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_gradient_of_the_loss(kind):
    """Finite differences of the twin's loss, with the exact gradient, in float64."""
    twin, _, rows = block_and_twin(kind, exact=True)
    changes = rows[0].matrix.numpy() - twin.inputs, rows[1].matrix.numpy() - twin.contexts

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
    change, wanted = rows[0].matrix.numpy() - twin.inputs, twin.changed(0.4)[0] - twin.inputs
    assert 0 < np.abs(change - wanted).max() < 0.05 * np.abs(wanted).max()


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_many_steps_from_one_place_go_no_further_than_one_after_another(bends, step):
    """n steps towards a point, each the share 1 - exp(-a) of the way, end at 1 - exp(-a n) of it."""
    factor = float(held_back(torch.tensor([bends * step], dtype=torch.float64))[0])
    assert step * bends * factor == pytest.approx(1 - np.exp(-step * bends), abs=1e-6)
    assert 0 < factor <= 1


def test_the_directions_in_which_vectors_are_longest_are_found():
    """Also those that turn from one look to the next; what is forgotten is found anew in the same bytes."""
    rng = np.random.default_rng(5)
    lengths = np.array([3.0, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7] + [0.2] * 24)
    rows = Rows(torch.zeros(1, 32, dtype=torch.float64))
    turn = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    first = []
    for _ in range(12):
        met = torch.from_numpy(rng.normal(size=(4_000, 32)) * lengths @ turn)
        rows.find_directions(met)
        first.append(rows.directions.clone())
    values, vectors = np.linalg.eigh((met.T @ met).numpy() / 4_000)
    growth = GROWTH / (1 + values.sum()) ** 2
    np.testing.assert_allclose(rows.eigenvalues[:-1], values[::-1][:N_DIRECTIONS] + growth, rtol=0.05)
    assert rows.eigenvalues[-1] == rows.eigenvalues[:-1].min()
    held = rows.directions.numpy().T @ vectors[:, ::-1][:, :N_DIRECTIONS]
    np.testing.assert_allclose(np.linalg.svd(held, compute_uv=False), 1, atol=0.01)
    rows.forget_directions()
    rng = np.random.default_rng(5)
    rng.normal(size=(32, 32))
    rows.find_directions(torch.from_numpy(rng.normal(size=(4_000, 32)) * lengths @ turn))
    assert torch.equal(rows.directions, first[0])


def test_a_row_that_is_often_touched_goes_no_further_than_its_optimum_in_any_direction():
    """Vectors of nothing, and those of one word, whose directions are known: the sum of many changes is bounded."""
    rows = Rows(torch.zeros(2, 4, dtype=torch.float64))
    rows.find_directions(torch.zeros(5, 4, dtype=torch.float64))
    assert torch.isfinite(rows.directions).all() and rows.eigenvalues.tolist() == [GROWTH] * 5
    rows.find_directions(torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64).expand(7, 4))
    rows.find_directions(torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64).expand(7, 4))
    times = torch.zeros(10_000, dtype=torch.int64)
    pull = torch.tensor([1.0, 1.0, 0, 0], dtype=torch.float64).expand(10_000, 4)
    rows.add(times, pull, torch.ones(10_000, dtype=torch.float64), 0.1)
    growth = GROWTH / 25
    wanted = [1 / (4 + growth), (1 - np.exp(-1_000 * growth)) / growth]
    np.testing.assert_allclose(rows.matrix[0, :2].numpy(), wanted, rtol=1e-9)
    assert not rows.matrix[1].any()
