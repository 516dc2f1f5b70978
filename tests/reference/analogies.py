"""Analogies the slow and obvious way: one question, one candidate at a time."""

from __future__ import annotations

import numpy as np

# Scores that differ by less may come out in either order when they are summed in another one.
_ROUNDING = 1e-9


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """0 where one of them has no direction."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / lengths) if lengths else 0.0


def scores(words: list[str], rows: np.ndarray, question: tuple[str, str, str], method: str) -> list[tuple[str, float]]:
    """Every word that may answer, in upper case, with its score; empty if a word of the question is missing."""
    forms = [word.upper() for word in words]
    if any(word.upper() not in forms for word in question):
        return []
    a, b, c = (rows[forms.index(word.upper())].astype(np.float64) for word in question)
    found = []
    for form, row in zip(forms, rows, strict=True):
        if form in {word.upper() for word in question} or not row.any():
            continue
        if method == "3cosadd":
            query = b / np.linalg.norm(b) + c / np.linalg.norm(c) - a / np.linalg.norm(a)
            score = cosine(row, query) if np.linalg.norm(query) > _ROUNDING else 0.0
        else:
            share_a, share_b, share_c = ((1 + cosine(row, each)) / 2 for each in (a, b, c))
            score = share_b * share_c / (share_a + 1e-6)
        found.append((form, score))
    return found


def best_answers(words: list[str], rows: np.ndarray, question: tuple[str, str, str], method: str) -> set[str]:
    """The best word, and those that score the same but for rounding."""
    found = scores(words, rows, question, method)
    best = max((score for _, score in found), default=0.0)
    return {form for form, score in found if score >= best - _ROUNDING * max(1.0, abs(best))}
