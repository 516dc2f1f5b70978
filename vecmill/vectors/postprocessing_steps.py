"""Post-processing written as text: ``center,all_but_the_top:2,l2_normalise`` is three steps in this order."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError
from vecmill.vectors.postprocessing import (
    all_but_the_top,
    average_with_context,
    center,
    l2_normalise,
    power_normalise,
    whiten,
)
from vecmill.vectors.word_vectors import WordVectors

_CONTEXT_STEP = "average_with_context"
# Each step from vectors and the text behind its colon, empty where there is none.
_STEPS: dict[str, Callable[[WordVectors, str], WordVectors]] = {
    "l2_normalise": lambda vectors, _: l2_normalise(vectors),
    "center": lambda vectors, _: center(vectors),
    "all_but_the_top": lambda vectors, text: all_but_the_top(vectors, int(text) if text else None),
    "whiten_zca": lambda vectors, text: whiten(vectors, "zca", *_numbers(text)),
    "whiten_pca": lambda vectors, text: whiten(vectors, "pca", *_numbers(text)),
    "power_normalise": lambda vectors, text: power_normalise(vectors, *_numbers(text)),
}
# What may stand behind the colon, for people and for the check.
_ARGUMENTS: dict[str, tuple[type, str]] = {
    "all_but_the_top": (int, "components"),
    "whiten_zca": (float, "epsilon"),
    "whiten_pca": (float, "epsilon"),
    "power_normalise": (float, "exponent"),
}
STEP_NAMES = (*_STEPS, _CONTEXT_STEP)
STEPS_HELP = ", ".join(f"{name}[:{_ARGUMENTS[name][1]}]" if name in _ARGUMENTS else name for name in STEP_NAMES)


@dataclass(frozen=True)
class Step:
    """One step, its name among :data:`STEP_NAMES`, and the text of its argument, empty for the default."""

    name: str
    argument: str = ""


def parse_steps(text: str) -> list[Step]:
    """The steps of ``name[:argument],…``.

    Raises
    ------
    ConfigError : no step, an unknown one, or an argument that is no number or where none is taken
    """
    steps = []
    for part in text.split(","):
        name, colon, argument = (each.strip() for each in part.partition(":"))
        if name not in STEP_NAMES:
            near = difflib.get_close_matches(name, STEP_NAMES, n=1)
            raise ConfigError(
                f"no post-processing step is named {name!r}",
                expected=f"steps between commas, of {STEPS_HELP}",
                todo=f"did you mean {near[0]!r}?" if near else "correct the name",
            )
        if colon and not _fits(name, argument):
            kind, what = _ARGUMENTS.get(name, (None, ""))
            raise ConfigError(
                f"the step {name} has the argument {argument!r}",
                expected=f"{what}, {'a whole number' if kind is int else 'a number'}" if kind else "none",
                todo="correct the argument, or leave it and the colon out",
            )
        steps.append(Step(name, argument))
    return steps


def postprocess(
    vectors: WordVectors, steps: list[Step], context_vectors: npt.NDArray[np.floating] | None = None
) -> WordVectors:
    """The result of the steps in their order.

    Parameters
    ----------
    context_vectors : float[n_words, dim] for ``average_with_context``, which has to be the first step, since the others
        would move word vectors away from their context vectors

    Raises
    ------
    ConfigError : averaging comes later, or without context vectors; or as the functions in
        :mod:`vecmill.vectors.postprocessing`
    """
    for at, step in enumerate(steps):
        if step.name != _CONTEXT_STEP:
            vectors = _STEPS[step.name](vectors, step.argument)
        elif at or context_vectors is None:
            raise ConfigError(
                f"{_CONTEXT_STEP} is step {at + 1}" if at else f"{_CONTEXT_STEP} has no context vectors",
                expected="the first step" if at else "a row a word, such as context_vectors.npy of a train artifact",
                todo="move it to the front" if at else "name the file, or the folder of the train artifact",
            )
        else:
            vectors = average_with_context(vectors, context_vectors)
    return vectors


def _fits(name: str, argument: str) -> bool:
    if name not in _ARGUMENTS:
        return False
    try:
        _ARGUMENTS[name][0](argument)
    except ValueError:
        return False
    return True


def _numbers(text: str) -> tuple[float, ...]:
    return (float(text),) if text else ()
