"""A share of a corpus that does not depend on order: the documents whose reservoir priority is low enough.

The priorities are those of the vocabulary's reservoir (:class:`vecmill.vocabulary.reservoir.Reservoir`), so that a
smaller share is part of every larger one, and a share as small as the reservoir is the reservoir.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from vecmill.text.arrow_columns import mask_column
from vecmill.vocabulary.build import SAMPLE_FILE_NAME
from vecmill.vocabulary.reservoir import Reservoir


def documents_below(share: float, vocabulary_dir: Path) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
    """What keeps a share of the documents of a batch with a column ``doc_id``; None for a share of 1, which is all.

    Parameters
    ----------
    share : expected share of the documents, above 0 and at most 1; of n documents, n * share +- sqrt(n * share) stay
    vocabulary_dir : folder of the vocabulary artifact, whose sample knows the seed of the priorities

    Raises
    ------
    FormatError : the sample cannot be read
    """
    if share == 1:
        return None
    priority = Reservoir.with_seed_of(vocabulary_dir / SAMPLE_FILE_NAME).priority
    bound = int(share * 2**64)

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        doc_ids = batch.column("doc_id").to_pylist()
        return batch.filter(mask_column([priority(doc_id) < bound for doc_id in doc_ids]))

    return keep
