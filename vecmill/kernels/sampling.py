"""Random draws of the word trainers: counter-based numbers, sub-sampling, negatives from an alias table.

There is no generator state. Draw ``i`` of a stream is ``mix64(key + i * GAMMA)``, SplitMix64 written as a function of
its counter (Steele et al. 2014), and the counter comes from the position of a token in the corpus. What is drawn for
a token therefore depends on key and position alone: not on the thread that handles it, nor on where the corpus was cut.

Two streams are used in each epoch, with keys of their own: one draw a token for sub-sampling, and for each centre word
one draw for its window and one for each negative.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel

GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)

LARGEST_THRESHOLD = 2**32 - 1


class Sampler(NamedTuple):
    """What decides which tokens are kept and which words are drawn as negatives, one entry a word.

    Attributes
    ----------
    keep_thresholds : uint32[n_words], a token is kept where its 32-bit draw is <= this
    alias_thresholds : uint32[n_words], see :func:`alias_table`
    aliases : int32[n_words], see :func:`alias_table`
    """

    keep_thresholds: npt.NDArray[np.uint32]
    alias_thresholds: npt.NDArray[np.uint32]
    aliases: npt.NDArray[np.int32]


@kernel
def mix64(counter: np.uint64) -> np.uint64:
    """The 64 random bits of a counter: SplitMix64's finaliser.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", with Stafford's 13th constants.
    """
    z = (counter ^ (counter >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@kernel
def draw_below(bits: np.uint64, n: int) -> int:
    """A number in [0, n) from the high half of ``bits``; each is off by at most a factor n / 2**32 (Lemire 2019)."""
    return np.int64(((bits >> _32) * np.uint64(n)) >> _32)  # type: ignore[return-value]


@kernel
def draw_negative(bits: np.uint64, sampler: Sampler) -> int:
    """A word id by the alias method: the high half of ``bits`` picks a column, the low half a side of it."""
    column = draw_below(bits, sampler.aliases.shape[0])
    alias = np.int64(sampler.aliases[column])  # read in any case: that saves a branch which nothing could foresee
    return column if np.uint32(bits & _LOW_32) <= sampler.alias_thresholds[column] else alias  # type: ignore[return-value]


@kernel
def is_kept(word_id: int, position: int, keep_key: np.uint64, sampler: Sampler) -> bool:
    """Whether sub-sampling keeps the token at ``position``, which is the word ``word_id``."""
    bits = mix64(keep_key + np.uint64(position) * GAMMA)
    return np.uint32(bits >> _32) <= sampler.keep_thresholds[word_id]  # type: ignore[no-any-return]


@kernel
def gather_kept(
    token_ids: npt.NDArray[np.int32],
    sentence_start: int,
    sentence_end: int,
    first: int,
    last: int,
    window: int,
    keep_key: np.uint64,
    sampler: Sampler,
    kept_ids: npt.NDArray[np.int32],
    kept_positions: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Collect the tokens that sub-sampling leaves of one sentence, as far as centre words in [first, last) need them.

    These are the kept tokens in [first, last) and up to ``window`` kept tokens of the sentence on each side of them.
    Because keeping is a function of position, a long sentence may be cut anywhere and still gives the same windows.

    Parameters
    ----------
    token_ids : int32[n_tokens], each in [0, n_words)
    sentence_start, sentence_end : the sentence is token_ids[sentence_start:sentence_end]
    first, last : positions of the centre words, inside the sentence
    kept_ids : int32[>= last - first + 2 * window], result: word ids
    kept_positions : int64 of the same length, result: their positions in the corpus

    Returns
    -------
    begin, end : the result stands in kept_ids[begin:end]
    center_end : the centre words are kept_ids[window:center_end]
    """
    begin = window
    position = first - 1
    while begin > 0 and position >= sentence_start:
        if is_kept(token_ids[position], position, keep_key, sampler):
            begin -= 1
            kept_ids[begin] = token_ids[position]
            kept_positions[begin] = position
        position -= 1
    end = window
    for position in range(first, last):
        if is_kept(token_ids[position], position, keep_key, sampler):
            kept_ids[end] = token_ids[position]
            kept_positions[end] = position
            end += 1
    center_end = end
    position = last
    while end < center_end + window and position < sentence_end:
        if is_kept(token_ids[position], position, keep_key, sampler):
            kept_ids[end] = token_ids[position]
            kept_positions[end] = position
            end += 1
        position += 1
    return begin, end, center_end


@kernel
def _fill_alias_table(
    scaled: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64], aliases: npt.NDArray[np.int32]
) -> None:
    n = scaled.shape[0]
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        aliases[i] = i
        probabilities[i] = 1.0  # holds for what rounding leaves on either stack
        if scaled[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        less, more = small[n_small], large[n_large - 1]
        probabilities[less] = scaled[less]
        aliases[less] = more
        scaled[more] -= 1.0 - scaled[less]
        if scaled[more] < 1.0:
            n_large -= 1
            small[n_small] = more
            n_small += 1


def alias_table(weights: npt.ArrayLike) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    """The table by which one draw in constant time gives word ``i`` with probability weights[i] / sum(weights).

    Column i, picked evenly, gives word i where a 32-bit draw is <= thresholds[i], and word aliases[i] otherwise.

    Parameters
    ----------
    weights : float64[n], finite, >= 0, not all zero

    Returns
    -------
    thresholds : uint32[n];  aliases : int32[n].  Probabilities are off by at most 2**-32 / n.

    Source: Vose 1991, "A linear algorithm for generating random numbers with a given distribution".
    """
    scaled = np.array(weights, np.float64)
    scaled *= scaled.size / scaled.sum()
    probabilities, aliases = np.empty(scaled.size), np.empty(scaled.size, np.int32)
    _fill_alias_table(scaled, probabilities, aliases)
    return thresholds(probabilities), aliases


def keep_probabilities(counts: npt.ArrayLike, sample: float) -> npt.NDArray[np.float64]:
    """How likely sub-sampling keeps a token of each word.

    keep = min(1, sqrt(t / f) + t / f),   f = count / sum of counts, t = ``sample``

    Parameters
    ----------
    counts : int64[n_words], >= 0, not all zero
    sample : threshold t on relative frequency; 0 keeps everything

    Source: word2vec.c, which adds t / f to the sqrt(t / f) of Mikolov et al. 2013b, eq. 5; gensim does as word2vec.c.
    """
    frequencies: npt.NDArray[np.float64] = np.asarray(counts, np.float64)
    frequencies = frequencies / frequencies.sum()
    if sample == 0:
        return np.ones_like(frequencies)
    ratio = sample / np.maximum(frequencies, np.finfo(np.float64).tiny)
    kept: npt.NDArray[np.float64] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    return kept


def thresholds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    """Probabilities as the largest 32-bit draws that count as a yes; 1 is always a yes, 0 one in 2**32."""
    return np.clip(np.rint(probabilities * 2.0**32) - 1.0, 0, LARGEST_THRESHOLD).astype(np.uint32)


def make_sampler(counts: npt.ArrayLike, *, sample: float, negative_exponent: float) -> Sampler:
    """The sampler of a vocabulary.

    Parameters
    ----------
    counts : int64[n_words], >= 0, not all zero
    sample : sub-sampling threshold on relative frequency, see :func:`keep_probabilities`
    negative_exponent : negatives are drawn in proportion to count ** negative_exponent
    """
    weights = np.asarray(counts, np.float64) ** negative_exponent
    return Sampler(thresholds(keep_probabilities(counts, sample)), *alias_table(weights))
