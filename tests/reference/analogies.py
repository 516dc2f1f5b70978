"""Analogies the slow and obvious way: one question, one candidate at a time."""

from __future__ import annotations

import numpy as np


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def answer(words: list[str], rows: np.ndarray, question: tuple[str, str, str], method: str) -> str | None:
    """The best word in upper case; None if a word of the question is missing or none is left."""
    forms = [word.upper() for word in words]
    if any(word.upper() not in forms for word in question):
        return None
    a, b, c = (rows[forms.index(word.upper())].astype(np.float64) for word in question)
    best, best_score = None, -np.inf
    for form, row in zip(forms, rows, strict=True):
        if form in {word.upper() for word in question} or not row.any():
            continue
        if method == "3cosadd":
            score = cosine(row, b / np.linalg.norm(b) + c / np.linalg.norm(c) - a / np.linalg.norm(a))
        else:
            share_a, share_b, share_c = ((1 + cosine(row, each)) / 2 for each in (a, b, c))
            score = share_b * share_c / (share_a + 1e-6)
        if score > best_score:
            best, best_score = form, score
    return best
