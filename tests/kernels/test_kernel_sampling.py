import numpy as np
import pytest
from gensim.models import Word2Vec
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from reference.negative_sampling import splitmix
from vecmill.kernels.jit import kernel
from vecmill.kernels.negative_sampling import gather_outputs, make_workspace
from vecmill.kernels.sampling import (
    GAMMA,
    Sampler,
    alias_table,
    draw_below,
    draw_negative,
    gather_kept,
    keep_probabilities,
    make_sampler,
    mix64,
    thresholds,
)

KEY = np.uint64(0x5EED)


def zipf_counts(n_words):
    return (3e5 / np.arange(1, n_words + 1)).astype(np.int64)


def p_value(observed, expected):
    """Chance of a chi-square at least this large, where the counts were drawn as expected."""
    assert expected.min() >= 5
    return float(chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1))


def test_mix64_gives_the_published_splitmix64_numbers():
    # the first five numbers of SplitMix64 from the seed 1234567, as printed by the generator's own C program
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    with np.errstate(over="ignore"):
        assert [int(mix64(np.uint64(1234567) + np.uint64(i) * GAMMA)) for i in range(1, 5)] == expected


@given(st.integers(0, 2**64 - 1))
def test_mix64_equals_its_twin(counter):
    with np.errstate(over="ignore"):
        assert int(mix64(np.uint64(counter))) == splitmix(counter)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60).filter(lambda weights: sum(weights) > 1e-3))
def test_alias_table_holds_the_weights(weights):
    alias_thresholds, aliases = alias_table(weights)
    own = (alias_thresholds.astype(np.float64) + 1) / 2.0**32
    chances = np.zeros(len(weights))
    np.add.at(chances, np.arange(len(weights)), own / len(weights))
    np.add.at(chances, aliases, (1 - own) / len(weights))
    np.testing.assert_allclose(chances, np.array(weights) / np.sum(weights), atol=1e-9)


@kernel
def _count_negatives(sampler, key, n_draws, observed):
    for i in range(n_draws):
        observed[draw_negative(mix64(key + np.uint64(i) * GAMMA), sampler)] += 1


@pytest.mark.parametrize("exponent", [0.75, 0.0, -0.5])
def test_a_million_negatives_follow_the_counts_to_the_exponent(exponent):
    counts = zipf_counts(400)
    observed = np.zeros(400, np.int64)
    _count_negatives(make_sampler(counts, sample=0, negative_exponent=exponent), KEY, 1_000_000, observed)
    weights = counts.astype(np.float64) ** exponent
    assert p_value(observed, 1_000_000 * weights / weights.sum()) > 1e-3


@kernel
def _count_gathered(context_vectors, sampler, work, key, center_id, n_centers, observed):
    for position in range(n_centers):
        counter = key + np.uint64(position * 6) * GAMMA
        n_outputs = gather_outputs(context_vectors, center_id, 5, counter, sampler, work)
        for o in range(1, n_outputs):
            observed[work.output_ids[o]] += 1


def test_negatives_of_a_centre_word_are_the_other_words():
    counts = zipf_counts(100)
    observed = np.zeros(100, np.int64)
    work = make_workspace(chunk_tokens=1, window=1, n_negatives=5, row_length=1)
    sampler = make_sampler(counts, sample=0, negative_exponent=0.75)
    _count_gathered(np.zeros((100, 1), np.float32), sampler, work, KEY, 3, 200_000, observed)
    assert observed[3] == 0
    weights = counts**0.75
    expected = 1_000_000 * weights / weights.sum()
    skipped = expected[3]
    assert 1_000_000 - observed.sum() == pytest.approx(skipped, abs=5 * skipped**0.5)
    others = np.arange(100) != 3
    assert p_value(observed[others], expected[others] / expected[others].sum() * observed.sum()) > 1e-3


def test_sub_sampling_a_million_tokens_keeps_each_word_as_often_as_it_should():
    n_words, n_tokens, window = 300, 1_000_000, 5
    counts = zipf_counts(n_words)
    token_ids = np.random.default_rng(1).choice(n_words, n_tokens, p=counts / counts.sum()).astype(np.int32)
    sampler = make_sampler(counts, sample=1e-3, negative_exponent=0.75)
    kept_ids, kept_positions = np.empty(n_tokens + 2 * window, np.int32), np.empty(n_tokens + 2 * window, np.int64)
    begin, end, center_end = gather_kept(
        token_ids, 0, n_tokens, 0, n_tokens, window, KEY, sampler, kept_ids, kept_positions
    )
    assert begin == window
    assert center_end == end
    np.testing.assert_array_equal(kept_ids[begin:end], token_ids[kept_positions[begin:end]])
    seen, kept = (np.bincount(ids, minlength=n_words) for ids in (token_ids, kept_ids[begin:end]))
    keep = keep_probabilities(counts, 1e-3)
    sure = keep == 1
    assert sure.any()
    np.testing.assert_array_equal(kept[sure], seen[sure])
    unsure = ~sure
    deviations = (kept - seen * keep)[unsure] ** 2 / (seen * keep * (1 - keep))[unsure]
    assert 1e-3 < chi2.cdf(deviations.sum(), unsure.sum()) < 1 - 1e-3


@pytest.mark.parametrize("sample", [1e-3, 1e-5, 0.1])
def test_keep_probabilities_are_gensims(sample):
    sentences = [[f"w{i}"] * int(count) for i, count in enumerate(zipf_counts(50) // 300, start=1)]
    model = Word2Vec(vector_size=1, min_count=1, sample=sample)
    model.build_vocab(sentences)
    counts = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
    theirs = [model.wv.get_vecattr(word, "sample_int") / (2**32 - 1) for word in model.wv.index_to_key]
    np.testing.assert_allclose(keep_probabilities(counts, sample), theirs, atol=1e-8)


def test_keeping_everything_keeps_everything():
    np.testing.assert_array_equal(keep_probabilities([1, 10**9], 0), [1, 1])
    assert thresholds(np.array([0.0, 0.5, 1.0])).tolist() == [0, 2**31 - 1, 2**32 - 1]


@kernel
def _count_below(key, n, n_draws, observed):
    for i in range(n_draws):
        observed[draw_below(mix64(key + np.uint64(i) * GAMMA), n)] += 1


@pytest.mark.parametrize("n", [1, 5, 7])
def test_windows_are_even(n):
    observed = np.zeros(n, np.int64)
    _count_below(KEY, n, 100_000, observed)
    assert observed.sum() == 100_000
    if n > 1:
        assert p_value(observed, np.full(n, 100_000 / n)) > 1e-3


@settings(max_examples=60, deadline=None)
@given(n_tokens=st.integers(1, 40), bounds=st.tuples(st.integers(0, 40), st.integers(0, 40)), window=st.integers(1, 6))
def test_gather_kept_reaches_as_far_as_the_window(n_tokens, bounds, window):
    rng = np.random.default_rng(n_tokens)
    token_ids = rng.integers(0, 4, n_tokens).astype(np.int32)
    keep = thresholds(np.array([0.0, 0.3, 0.8, 1.0]))
    sampler = Sampler(keep, np.zeros(4, np.uint32), np.zeros(4, np.int32))
    first, last = sorted(min(bound, n_tokens) for bound in bounds)
    n_buffer = last - first + 2 * window
    kept_ids, kept_positions = np.empty(n_buffer, np.int32), np.empty(n_buffer, np.int64)
    begin, end, center_end = gather_kept(
        token_ids, 0, n_tokens, first, last, window, KEY, sampler, kept_ids, kept_positions
    )
    all_kept = [p for p in range(n_tokens) if splitmix(int(KEY) + p * int(GAMMA)) >> 32 <= int(keep[token_ids[p]])]
    left = [p for p in all_kept if p < first][-window:]
    right = [p for p in all_kept if p >= last][:window]
    centers = [p for p in all_kept if first <= p < last]
    assert kept_positions[begin:end].tolist() == left + centers + right
    assert kept_positions[window:center_end].tolist() == centers
    assert kept_ids[begin:end].tolist() == token_ids[left + centers + right].tolist()
