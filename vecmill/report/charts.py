"""The report's drawings, as SVG inside the page: intervals of scores, the learning curve, the map of words.

Colours and fonts come from the page's style sheet, so that they follow light and dark. Each drawing has a title and a
description for readers who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vecmill.report.facts import WordMap
from vecmill.report.markup import Markup, element, number

_WIDTH = 640.0


def interval_chart(scores: Sequence[Mapping[str, Any]]) -> Markup:
    """Spearman's coefficient of each benchmark with its interval (filled), and on all pairs (hollow)."""
    left, right, row = 130.0, _WIDTH - 20.0, 34.0
    known = [each[name] for each in scores for name in ("lower", "spearman_all_pairs") if each.get(name) is not None]
    low = min(0.0, math.floor(10 * min(known, default=0.0)) / 10)
    high = max([0.2, *(each["upper"] for each in scores if each.get("upper") is not None)])
    high = math.ceil(10 * high) / 10
    height = row * len(scores) + 36

    def x(value: float) -> float:
        return float(left + (right - left) * (value - low) / (high - low))

    parts = []
    step = 0.1 if high - low <= 0.8 else 0.2
    for at in range(round((high - low) / step) + 1):
        value = low + at * step
        parts.append(_line(x(value), 6, x(value), height - 26, "zero" if abs(value) < 1e-9 else "grid"))
        parts.append(_text(x(value), height - 8, f"{value:.1f}", "middle"))
    for at, score in enumerate(scores):
        y = row * at + row / 2 + 4
        parts.append(_text(left - 10, y + 4, str(score.get("title") or score.get("benchmark", "")), "end"))
        if score.get("lower") is not None and score.get("upper") is not None:
            parts.append(_line(x(score["lower"]), y, x(score["upper"]), y, "bar"))
        if score.get("spearman") is not None:
            parts.append(element("circle", cx=_n(x(score["spearman"])), cy=_n(y), r="5", class_="dot"))
        if score.get("spearman_all_pairs") is not None:
            parts.append(element("circle", cx=_n(x(score["spearman_all_pairs"])), cy=_n(y), r="5", class_="ring"))
    said = "; ".join(
        f"{each.get('title')}: {number(each.get('spearman'))}, all pairs {number(each.get('spearman_all_pairs'))}"
        for each in scores
    )
    return _svg("Spearman's coefficient by benchmark, with intervals", said, height, parts)


def line_chart(
    title: str, x_name: str, y_name: str, xs: Sequence[float], lines: Mapping[str, Sequence[float]]
) -> Markup:
    """Lines over common places on the x axis, each named at its end.

    Parameters
    ----------
    xs : rising;  lines : values by name, as many as xs, finite
    """
    left, right, top, bottom, height = 62.0, _WIDTH - 96.0, 34.0, 230.0, 276.0
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.5
        return left + (right - left) * across, bottom - (bottom - top) * (y - low) / (high - low)

    parts = []
    for at in range(5):
        value = low + (high - low) * at / 4
        _, y = place(first, value)
        parts += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, f"{value:.3g}", "end")]
    for value in _ticks(xs):
        x, _ = place(value, low)
        parts.append(_text(x, bottom + 20, f"{value:g}", "middle"))
    parts += [_text((left + right) / 2, height - 6, x_name, "middle"), _text(4, 12, y_name, "start")]
    ends: list[float] = []
    for style, (name, line) in enumerate(lines.items()):
        points = [place(x, y) for x, y in zip(xs, line, strict=True)]
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        parts.append(element("polyline", points=path, class_=f"curve curve{style}"))
        parts += [element("circle", cx=_n(x), cy=_n(y), r="3", class_=f"point{style}") for x, y in points]
        end_x, end_y = points[-1]
        while any(abs(end_y - other) < 14 for other in ends):
            end_y += 14
        ends.append(end_y)
        parts.append(_text(end_x + 8, end_y + 4, name, "start"))
    said = "; ".join(f"{name} from {number(line[0], 4)} to {number(line[-1], 4)}" for name, line in lines.items())
    return _svg(title, said, height, parts)


def map_chart(found: WordMap) -> Markup:
    """Words at their places; a name that would cover another is drawn small and pale."""
    height, margin = 460.0, 34.0
    low, high = found.places.min(axis=0), found.places.max(axis=0)
    span = [float(each) or 1.0 for each in high - low]
    parts = []
    boxes: list[tuple[float, float, float, float]] = []
    for word, (a, b) in zip(found.words, found.places.tolist(), strict=True):
        x = margin + (_WIDTH - 2 * margin) * (a - float(low[0])) / span[0]
        y = height - margin - (height - 2 * margin) * (b - float(low[1])) / span[1]
        shown = word if len(word) <= 24 else f"{word[:23]}…"
        half = 3.6 * len(shown) + 2
        at = min(max(x, half + 2), _WIDTH - half - 2)
        box = (at - half, y - 20, at + half, y - 4)
        covers = any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in boxes)
        boxes.append(box)
        parts.append(element("circle", cx=_n(x), cy=_n(y), r="2.5", class_="dot"))
        parts.append(_text(at, y - 7, shown, "middle", "word pale" if covers else "word"))
    said = f"{len(found.words)} words, {100 * found.shown_frac:.0f} % of their variance"
    return _svg("Words in the plane of their first two principal components", said, height, parts)


def _ticks(xs: Sequence[float]) -> list[float]:
    """Up to eight of the places, the first and the last among them."""
    step = max(1, math.ceil((len(xs) - 1) / 7))
    found = list(xs[:-1:step])
    if len(found) > 1 and len(xs) - 1 - (len(found) - 1) * step < step / 2:
        found.pop()
    return [*found, xs[-1]]


def _svg(title: str, said: str, height: float, parts: Sequence[Markup]) -> Markup:
    return element(
        "svg",
        element("title", title),
        element("desc", said),
        *parts,
        viewBox=f"0 0 {_n(_WIDTH)} {_n(height)}",
        role="img",
        aria_label=f"{title}. {said}",
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=kind)


def _text(x: float, y: float, text: str, anchor: str, kind: str | None = None) -> Markup:
    return element("text", text, x=_n(x), y=_n(y), text_anchor=anchor, class_=kind)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
