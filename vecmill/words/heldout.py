"""Held-out sentences: which they are, and what the model makes of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.errors import VocabularyError
from vecmill.kernels.heldout import heldout_loss
from vecmill.words.config import CbowConfig, WordTrainerConfig
from vecmill.words.run import CHUNK_TOKENS, HELDOUT, StreamKeys, TrainingRun, random_branch

_BLOCK = 1 << 20


def heldout_sentences(n_sentences: int, config: WordTrainerConfig, seed: int) -> npt.NDArray[np.int64]:
    """The sentences that are not trained on, rising.

    Each is held out with probability ``heldout_share`` by a draw of its own, a function of seed and sentence number
    (Philox's counter), so that the choice is the same for any number of threads and epochs.
    """
    if config.heldout_share == 0:
        return np.empty(0, np.int64)
    rng = np.random.Generator(np.random.Philox(random_branch(seed, HELDOUT, 0)))
    found = []
    for start in range(0, n_sentences, _BLOCK):
        draws = rng.random(min(_BLOCK, n_sentences - start))
        found.append(start + np.flatnonzero(draws < config.heldout_share))
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)


def measure_heldout(run: TrainingRun) -> float | None:
    """Mean loss a pair of the run's held-out sentences as the model stands, float64; None where none are held out.

    The pairs are the same at each call. See :func:`vecmill.kernels.heldout.heldout_loss`.

    Raises
    ------
    VocabularyError : the held-out sentences have no pair of neighbouring words
    """
    if run.config.heldout_share == 0:
        return None
    config = run.config
    keys = StreamKeys.of(run.seed, HELDOUT, 1)
    n_kept = CHUNK_TOKENS + 2 * config.window
    loss, n_pairs = heldout_loss(
        run.token_ids,
        run.sentence_offsets,
        run.heldout,
        run.model.center_vectors,
        run.model.context_vectors,
        run.sampler,
        np.empty(n_kept, np.int32),
        np.empty(n_kept, np.int64),
        np.empty(run.model.center_vectors.shape[1]),
        CHUNK_TOKENS,
        config.window,
        config.dynamic_window,
        config.negative_samples,
        keys.keep,
        keys.draw,
        isinstance(config, CbowConfig),
    )
    return mean_heldout_loss(run, loss, n_pairs)


def mean_heldout_loss(run: TrainingRun, loss: float, n_pairs: int) -> float:
    """loss / n_pairs of the held-out sentences.

    Raises
    ------
    VocabularyError : there is no pair
    """
    if n_pairs == 0:
        raise VocabularyError(
            f"the {run.heldout.size:,} held-out sentences of {run.sentence_offsets.size - 1:,} have no pair of "
            f"neighbouring words, with train.heldout_share = {run.config.heldout_share:g}",
            expected="held-out sentences with at least two words left after sub-sampling",
            todo="raise train.heldout_share, or set it to 0 and do without early stopping",
        )
    return float(loss / n_pairs)
