"""Draws and stretches are those of the compiled kernels; negatives have their distribution."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from vecmill.gpu.block import negatives_of
from vecmill.gpu.draws import are_kept, device_sampler, draw_negatives, draws_at, draws_below, mix64
from vecmill.gpu.stretch import load_stretch
from vecmill.kernels import sampling
from vecmill.words.config import SkipgramConfig
from vecmill.words.run import StreamKeys
from vecmill.words.trainer import prepared_run

CPU = torch.device("cpu")
KEY = np.uint64(0xFEDCBA9876543210)


def bits_of(numbers):
    return torch.from_numpy(np.array(numbers, np.uint64).view(np.int64))


def test_bits_are_those_of_the_kernels():
    counters = np.random.default_rng(1).integers(0, 2**64, 500, np.uint64)
    counters[:3] = 0, 2**63, 2**64 - 1
    with np.errstate(over="ignore"):
        wanted = np.array([sampling.mix64(each) for each in counters], np.uint64)
    found = mix64(bits_of(counters))
    np.testing.assert_array_equal(found.numpy().view(np.uint64), wanted)
    below = [sampling.draw_below(each, 1_000_003) for each in wanted]
    assert draws_below(found, 1_000_003).tolist() == below


def test_tokens_are_kept_and_negatives_drawn_as_in_the_kernels():
    counts = np.array([100_000, 5_000, 700, 3, 1])
    sampler = sampling.make_sampler(counts, sample=1e-3, negative_exponent=0.75)
    here = device_sampler(sampler, CPU)
    word_ids = np.random.default_rng(2).integers(0, 5, 3_000)
    positions = np.arange(3_000) + (1 << 40)
    kept = are_kept(torch.from_numpy(word_ids), torch.from_numpy(positions), KEY, here)
    wanted = [sampling.is_kept(w, p, KEY, sampler) for w, p in zip(word_ids, positions, strict=True)]
    assert kept.tolist() == wanted and 0 < sum(wanted) < 3_000
    bits = draws_at(KEY, torch.arange(1_000), 7)
    with np.errstate(over="ignore"):
        each = [np.uint64(sampling.mix64(KEY + np.uint64(7 * i) * sampling.GAMMA)) for i in range(1_000)]
    assert draw_negatives(bits, here).tolist() == [sampling.draw_negative(one, sampler) for one in each]


def test_negatives_follow_counts_to_the_power_of_three_quarters():
    counts = np.array([50_000, 9_000, 4_000, 800, 90, 12, 5])
    sampler = device_sampler(sampling.make_sampler(counts, sample=0, negative_exponent=0.75), CPU)
    drawn = torch.cat([negatives_of(2_000, 16, first, KEY, sampler).reshape(-1) for first in (0, 1 << 20, 1 << 33)])
    expected = counts**0.75 / (counts**0.75).sum() * drawn.numel()
    assert chisquare(np.bincount(drawn, minlength=7), expected).pvalue > 1e-3


def test_no_draw_of_negatives_is_used_twice():
    sampler = device_sampler(sampling.make_sampler(np.ones(1 << 20, np.int64), sample=0, negative_exponent=0.75), CPU)
    one, two = (negatives_of(64, 4, first, KEY, sampler).reshape(-1).tolist() for first in (0, 64))
    assert len({*one, *two}) > 510  # by chance alone some two of 512 draws of a million words may be the same


@pytest.mark.parametrize("heldout_share", [0.0, 0.3])
@pytest.mark.parametrize("group", [3, 8])
def test_stretches_hold_the_words_and_pairs_of_a_plain_pass(group, heldout_share):
    """Cut anywhere, the pairs of all stretches together are those of the whole text."""
    rng = np.random.default_rng(4)
    lengths = [0, 1, 40, 0, 7, 2, 2, 90, 33, 0]
    token_ids = rng.integers(0, 12, sum(lengths)).astype(np.int32)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    config = SkipgramConfig(window=3, sample=0.05, heldout_share=heldout_share)
    run = prepared_run(token_ids, offsets, np.bincount(token_ids, minlength=12), config, seed=3)
    keys = StreamKeys.of(3, 1, 0)
    sampler = device_sampler(run.sampler, CPU)

    def pairs_of(cuts):
        found = []
        for first, last in pairwise(cuts):
            stretch = load_stretch(run, sampler, keys, first, last, group=group, window_draws=6)
            row_ids, sentences, reaches = (each.numpy() for each in stretch[:3])
            for g in range(len(row_ids)):
                for r in range(3, 3 + min(group, stretch.n_words - g * group)):
                    for e in range(group + 6):
                        same = sentences[g, r] == sentences[g, e] >= 0
                        if e != r and same and abs(e - r) <= reaches[g, r]:
                            found.append((row_ids[g, r], row_ids[g, e]))
        return found

    whole = pairs_of([0, token_ids.size])
    assert len(whole) > 100
    kept, pairs = 0, []
    for sentence, (start, end) in enumerate(pairwise(offsets)):
        if sentence in run.heldout:
            continue
        places = [p for p in range(start, end) if sampling.is_kept(token_ids[p], p, keys.keep, run.sampler)]
        kept += len(places)
        for i, p in enumerate(places):
            with np.errstate(over="ignore"):
                bits = np.uint64(sampling.mix64(keys.draw + np.uint64(p) * np.uint64(6) * sampling.GAMMA))
            reach = 3 - sampling.draw_below(bits, 3)
            near = [q for q in range(max(0, i - reach), min(len(places), i + reach + 1)) if q != i]
            pairs += [(token_ids[p], token_ids[places[q]]) for q in near]
    assert whole == pairs
    assert pairs_of([0, 1, 20, 21, 60, 100, 141, token_ids.size]) == pairs
    assert load_stretch(run, sampler, keys, 0, token_ids.size, group=group, window_draws=6).n_words == kept
