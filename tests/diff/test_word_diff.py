"""What changed between two trainings: planted changes are found, training again and rotations are not."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vecmill.diff.compare import compare_vectors
from vecmill.diff.noise import benjamini_hochberg, bulk_noise, p_values, replica_noise
from vecmill.errors import FormatError
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.config import SkipgramConfig
from vecmill.words.trainer import train_vectors

N_TOPICS, WORDS_A_TOPIC, DIM = 20, 25, 16
N_WORDS = N_TOPICS * WORDS_A_TOPIC
SENTENCE = 10
# Ten pairs of words of two topics each, none of the rarest.
PAIRS = [(25 * topic + 3, 25 * (topic + 10) + 3) for topic in range(10)]
CONFIG = SkipgramConfig(dim=DIM, window=4, epochs=8, sample=0, threads=1, mode="deterministic")


@cache
def text() -> np.ndarray:
    """Token ids, in sentences of ten: each about a few neighbouring topics of a ring, so that the space has a shape.

    (Topics that have nothing to do with each other come to lie differently in each training.)
    """
    generator = np.random.default_rng(3)
    topics = generator.integers(0, N_TOPICS, size=12_000)
    shares = 1 / np.arange(1, WORDS_A_TOPIC + 1)
    within = generator.choice(WORDS_A_TOPIC, size=(len(topics), SENTENCE), p=shares / shares.sum())
    near = topics[:, None] + np.rint(2 * generator.normal(size=within.shape)).astype(np.int64)
    ids: np.ndarray = (WORDS_A_TOPIC * (near % N_TOPICS) + within).astype(np.int32).ravel()
    return ids


@cache
def trained(seed: int, swapped: bool = False) -> WordVectors:
    """A real training; ``swapped``: on a text in which the words of each pair have changed places."""
    ids = text()
    if swapped:
        partner = np.arange(N_WORDS, dtype=np.int32)
        for a, b in PAIRS:
            partner[a], partner[b] = b, a
        ids = partner[ids]
    counts = np.bincount(ids, minlength=N_WORDS)
    offsets = np.arange(0, len(ids) + 1, SENTENCE, dtype=np.int64)
    found = train_vectors(ids, offsets, counts, CONFIG, seed=seed)
    return WordVectors([f"w{i}" for i in range(N_WORDS)], found.center_vectors, counts)


def turned(vectors: WordVectors, seed: int = 0) -> WordVectors:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(vectors.dim, vectors.dim)))
    return WordVectors(vectors.words, (vectors.vectors @ turn).astype(np.float32), vectors.counts)


# --- real trainings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [(), (1,), (1, 2)])
def test_swapped_words_stand_on_top(replicas: tuple[int, ...]) -> None:
    planted = {f"w{each}" for pair in PAIRS for each in pair}
    others = [(f"seed {seed}", trained(seed)) for seed in replicas]
    found = compare_vectors(trained(0), trained(5, swapped=True), others)
    assert {each.word for each in found.moved[:20]} == planted
    assert len(found.moved) <= 22, "a rate of 5 % allows for one in twenty"
    assert found.noise == ("replicas" if replicas else "bulk") and found.n_replicas == len(replicas)
    first = found.moved[0]
    assert first.distance > 3 * first.expected and first.overlap <= 0.2 and first.before != first.after
    assert [each.p for each in found.moved] == sorted(each.p for each in found.moved)


@pytest.mark.parametrize("replicas", [(), (2,)])
def test_training_again_is_no_difference(replicas: tuple[int, ...]) -> None:
    others = [(f"seed {seed}", trained(seed)) for seed in replicas]
    found = compare_vectors(trained(0), trained(1), others)
    assert len(found.moved) <= 2
    assert found.gained == [] and found.lost == [] and found.n_shared == N_WORDS


def test_a_rotation_is_no_difference() -> None:
    for vectors in (turned(trained(0)), turned(trained(0)).vectors.astype(np.float16)):
        rows = vectors if isinstance(vectors, np.ndarray) else vectors.vectors
        found = compare_vectors(trained(0), WordVectors(trained(0).words, rows, trained(0).counts))
        assert found.moved == [] and found.overlap > 0.99 and found.alignment.heldout_residual < 1e-2


def test_rows_that_were_edited_by_hand() -> None:
    rows = trained(0).vectors.copy()
    rows[[7, 90]] = rows[[90, 7]]
    found = compare_vectors(trained(0), turned(WordVectors(trained(0).words, rows, trained(0).counts)))
    assert {each.word for each in found.moved} == {"w7", "w90"}


# --- vocabulary ------------------------------------------------------------------------------------------------------


def test_words_gained_lost_and_never_learned() -> None:
    old = trained(0)
    rows = old.vectors.copy()
    rows[490] *= 1e-3 / old.norms[490]
    new = WordVectors(["new", *old.words[1:]], np.vstack([rows[:1], rows[1:]]), old.counts)
    found = compare_vectors(old, new)
    assert (found.gained, found.lost, found.n_shared) == (["new"], ["w0"], N_WORDS - 1)
    assert found.unlearned == ["w490"] and found.moved == []
    plain = found.as_json()
    json.dumps(plain, allow_nan=False)
    assert plain["gained"] == ["new"] and "map" not in plain["alignment"] and plain["replica_overlap"] is None


def test_refusals() -> None:
    old, new = trained(0), trained(1)
    with pytest.raises(FormatError, match=r"replica\.vec holds the very vectors that are compared"):
        compare_vectors(old, new, [("replica.vec", old)])
    narrow = WordVectors(old.words, old.vectors[:, :8].copy())
    with pytest.raises(FormatError, match="narrow has 8 dimensions, the vectors compared have 16"):
        compare_vectors(old, new, [("narrow", narrow)])
    with pytest.raises(FormatError, match="have 16 and 8 dimensions"):
        compare_vectors(old, narrow)
    with pytest.raises(FormatError, match="a rate of 0 and 10 neighbours"):
        compare_vectors(old, new, rate=0)


# --- statistics ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(p=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_false_discovery_rates_as_scipy(p: np.ndarray) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p), atol=1e-12)


def test_p_values_of_noise_are_uniform() -> None:
    generator = np.random.default_rng(0)
    location = np.linspace(-4, -1, 5000)  # rare words move further

    def drawn() -> np.ndarray:
        return np.asarray(np.exp(location + 0.3 * generator.normal(size=5000)))

    observed = drawn()
    for noise in (bulk_noise(observed), replica_noise([drawn(), drawn()])):
        p = p_values(observed, noise)
        assert (benjamini_hochberg(p) <= 0.05).sum() == 0
        # The replicas' own distances raise the bar of half of the words, hence no uniform p for them.
        if noise.location[0] == bulk_noise(observed).location[0]:
            assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_a_word_that_replicas_move_has_to_move_further() -> None:
    generator = np.random.default_rng(1)
    calm, observed = (np.exp(-2 + 0.2 * generator.normal(size=1000)) for _ in range(2))
    observed[500] = 1.0
    assert p_values(observed, replica_noise([calm]))[500] < 1e-6
    calm[500] = 0.9
    assert p_values(observed, replica_noise([calm]))[500] > 0.1


def test_noise_of_what_is_hardly_known() -> None:
    missing = np.full(10, np.nan)
    noise = replica_noise([missing])
    assert np.isfinite(noise.location).all() and (noise.scale > 0).all()
    assert (p_values(np.full(10, 1e-5), bulk_noise(np.full(10, 0.1))) == 1).all()
