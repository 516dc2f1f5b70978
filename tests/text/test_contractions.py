"""Contractions: both apostrophes, capitals, irregular forms, and possessives that stay."""

import doctest

import pytest

from vecmill.text import contractions as module
from vecmill.text.contractions import contractions


def test_examples_in_docstrings():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("don't", "do not"),
        ("Don’t", "Do not"),
        ("DON'T", "DO NOT"),
        ("can't won't shan't ain't", "can not will not shall not is not"),
        ("couldn't've", "could not have"),
        ("I'm I'M i'm", "I am I AM i am"),
        ("I'd've", "I would have"),
        ("let's Let's LET'S", "let us Let us LET US"),
        ("y'all'll", "you all will"),
        ("'Tis 'twas ’TIS", "It is it was IT IS"),
        ("it's She’s THAT'S", "it is She is THAT IS"),
        ("we're they'll you've who're", "we are they will you have who are"),
        ("Tom's dogs' rock'n'roll o'clock", "Tom's dogs' rock'n'roll o'clock"),
        ("Tom'll", "Tom will"),
        ("isn'tx xdon't donʼt don´t", "isn'tx xdon't do not do not"),
        ("she'd", "she would"),
        ("'quoted' text", "'quoted' text"),
    ],
)
def test_expansions(before, after):
    assert contractions(before) == after
