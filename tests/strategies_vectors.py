"""Hypothesis strategies for words and vectors, named by what they draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Any text that has a UTF-8 form: odd blanks, control characters and other scripts included.
any_word = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)

# What the word2vec formats can hold: no ASCII white space.
unbroken_word = st.text(st.characters(codec="utf-8", exclude_characters=" \t\n\v\f\r"), min_size=1, max_size=12)

# Every finite float32, subnormal numbers and minus zero included.
finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def words_and_vectors(words: st.SearchStrategy[str] = any_word) -> st.SearchStrategy[tuple[list[str], np.ndarray]]:
    """(n different words, float32[n, dim])."""
    return st.tuples(st.lists(words, min_size=1, max_size=8, unique=True), st.integers(1, 5)).flatmap(
        lambda drawn: st.tuples(
            st.just(drawn[0]), hnp.arrays(np.float32, (len(drawn[0]), drawn[1]), elements=finite_float32)
        )
    )
