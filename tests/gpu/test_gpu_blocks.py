"""One block against its NumPy twin and the gradient of its loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.gpu_blocks import Twin
from vecmill.gpu.block import Rows, cut_block, held_back
from vecmill.gpu.steps import StepSettings, cbow_step, skipgram_step
from vecmill.gpu.stretch import Stretch
from vecmill.gpu.subword_steps import device_subwords, subword_cbow_step, subword_skipgram_step
from vecmill.kernels.subword_rows import make_subword_rows

KINDS = ["skipgram", "cbow", "subword_skipgram", "subword_cbow"]
N_WORDS, WINDOW, GROUP, WEIGHT = 9, 2, 4, 0.6
# word 3 has a row twice, as two n-grams that fall into one bucket
ROWS_OF = [[0, 9, 10], [1], [2, 10, 11, 12], [3, 9, 9], [4, 12], [5, 11], [6, 10, 12], [7], [8, 9, 11]]
TYPES = {"skipgram": skipgram_step, "cbow": cbow_step}


def a_stretch(seed=0, n_words=10):
    """Three groups, the last one not full, with margins; words repeat, sentences end in the middle of groups."""
    rng = np.random.default_rng(seed)
    size = 3 * GROUP + 2 * WINDOW
    word_ids = rng.integers(0, N_WORDS, size)
    sentences = np.array([-1, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3, -1, -1], np.int32)
    reaches = rng.integers(1, WINDOW + 1, size).astype(np.int32)
    rows = [torch.from_numpy(each).unfold(0, GROUP + 2 * WINDOW, GROUP) for each in (word_ids, sentences, reaches)]
    return (word_ids, sentences, reaches, n_words), Stretch(*rows, n_words)


def block_and_twin(kind, *, exact=True, seed=0, curvature=0.0, rate=1.0, dtype=torch.float64):
    rng = np.random.default_rng(seed + 100)
    plain, stretch = a_stretch(seed)
    negatives = rng.integers(0, N_WORDS, (3, 5))
    subwords = "subword" in kind
    inputs = rng.normal(0, 0.7, (13 if subwords else N_WORDS, 6))
    contexts = rng.normal(0, 0.7, (N_WORDS, 6))
    twin = Twin(
        kind, plain, WINDOW, GROUP, negatives, WEIGHT, exact, inputs, contexts, ROWS_OF if subwords else None
    ).run()
    centers, outputs = (Rows(torch.from_numpy(each.copy())) for each in (inputs, contexts))
    block = cut_block(stretch, 0, 3, WINDOW, torch.from_numpy(negatives), reach_of_word=kind != "skipgram")
    settings = StepSettings(WEIGHT, curvature, dtype, exact)
    if subwords:
        offsets = np.cumsum([0, *map(len, ROWS_OF)]).astype(np.int64)
        table = make_subword_rows(offsets, np.array([row for rows in ROWS_OF for row in rows], np.int32))
        step = subword_cbow_step if kind == "subword_cbow" else subword_skipgram_step
        told = step(block, centers, outputs, device_subwords(table, torch.device("cpu")), rate, settings)
    else:
        told = TYPES[kind](block, centers, outputs, rate, settings)
    return twin, [float(told[0]), int(told[1])], centers.matrix.numpy(), outputs.matrix.numpy()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("curvature", [0.0, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_does_what_its_twin_does(kind, curvature, exact):
    for seed in range(3):
        twin, (loss, n_pairs), centers, contexts = block_and_twin(
            kind, exact=exact, seed=seed, curvature=curvature, rate=0.4
        )
        assert n_pairs == twin.n_pairs > 0
        assert loss == pytest.approx(twin.loss, rel=1e-12)
        wanted = twin.changed(0.4, curvature)
        np.testing.assert_allclose(centers, wanted[0], atol=1e-12)
        np.testing.assert_allclose(contexts, wanted[1], atol=1e-12)
        assert np.abs(centers - twin.inputs).max() > 0.1 and np.abs(contexts - twin.contexts).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_gradient_of_the_loss(kind):
    """Finite differences of the twin's loss, with the exact gradient, in float64."""
    twin, _, centers, contexts = block_and_twin(kind, exact=True)
    changes = centers - twin.inputs, contexts - twin.contexts

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
    twin, (loss, n_pairs), centers, _ = block_and_twin(kind, rate=0.4, dtype=torch.bfloat16)
    assert n_pairs == twin.n_pairs
    assert loss == pytest.approx(twin.loss, rel=0.02)
    change, wanted = centers - twin.inputs, twin.changed(0.4, 0.0)[0] - twin.inputs
    assert 0 < np.abs(change - wanted).max() < 0.05 * np.abs(wanted).max()


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_many_steps_from_one_place_go_no_further_than_one_after_another(bends, step):
    """n steps towards a point, each the share 1 - exp(-a) of the way, end at 1 - exp(-a n) of it."""
    factor = float(held_back(torch.tensor([float(bends)], dtype=torch.float64), step)[0])
    assert step * bends * factor == pytest.approx(1 - np.exp(-step * bends), abs=1e-6)
    assert 0 < factor <= 1


def test_what_is_held_back_is_added_later():
    start = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rows = Rows(torch.from_numpy(start.copy()), 2)
    ids, changes = torch.tensor([0, 2, 0]), torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    bends = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    kept = (1 - np.exp(-0.5 * 5)) / (0.5 * 5)
    alone = (1 - np.exp(-0.5)) / 0.5
    wanted = start.copy()
    last = np.zeros(2)
    for _ in range(3):
        rows.add(ids, changes, bends, 1.0, 0.5)
        last = kept * np.array([1.0, 1.0]) + (1 - kept) * last
        wanted[0] += last
        wanted[2] += alone  # not among the rows that carry
        np.testing.assert_allclose(rows.matrix.numpy(), wanted, rtol=1e-12)
    for _ in range(200):
        rows.add(ids, changes, bends, 1.0, 0.5)
    before = rows.matrix[0].clone()
    rows.add(ids, changes, bends, 1.0, 0.5)
    np.testing.assert_allclose(rows.matrix[0] - before, 1.0, rtol=1e-6)  # nothing is lost in the long run
    rows.forget_changes()
    before = rows.matrix[0].clone()
    rows.add(ids, changes, bends, 1.0, 0.5)
    np.testing.assert_allclose(rows.matrix[0] - before, kept, rtol=1e-9)
