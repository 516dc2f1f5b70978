"""How often a training touches each row, and how far a touch takes it: what stale copies of rows are judged by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.sampling import keep_probabilities
from vecmill.words.config import WordTrainerConfig

# Curvature of the loss of one pair along a row's change, an effective one: the rows that a row meets move with it.
# Smaller ones keep more of the sum. With 8 workers, one epoch of the reviews and one seed, 0.05, 0.2 and 1 gave a mean
# Spearman of 0.307, 0.293 and 0.251, one worker 0.327; 0.05 had a mean loss of 2.62 against 2.56 with 0.2, which is the
# swing of the first rounds. In between, for safety with other learning rates.
PAIR_CURVATURE = 0.1


def touch_rates(
    counts: npt.NDArray[np.int64], *, sample: float, negative_exponent: float, negative_samples: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Expected touches of each row for one word of text: of center vectors, of context vectors; float64[n_words]."""
    frequencies = counts / counts.sum()
    kept: npt.NDArray[np.float64] = frequencies * keep_probabilities(counts, sample)
    weights = counts.astype(np.float64) ** negative_exponent
    return kept, kept + kept.sum() * negative_samples * weights / weights.sum()


def curvatures(config: WordTrainerConfig, pair: float = PAIR_CURVATURE) -> dict[str, float]:
    """Curvature of the loss of a touch, by matrix; ``pair``: that of one pair of rows.

    A centre vector's occurrence lies in the windows of its neighbours, about one for each word of its own window, and
    meets all outputs of each; a context vector's touch meets each word of one window.
    """
    window = (config.window + 1) if config.dynamic_window else 2 * config.window
    return {"center_vectors": pair * window * (1 + config.negative_samples), "context_vectors": pair * window}
