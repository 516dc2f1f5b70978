import pytest
from pydantic import TypeAdapter, ValidationError

from vecmill.config.base import key_config
from vecmill.words.config import SkipgramConfig
from vecmill.words.kinds import WordsTrainConfig, trainer_of

_TRAIN = TypeAdapter(WordsTrainConfig)


def test_how_workers_are_carried_is_no_part_of_a_key():
    plain = key_config(SkipgramConfig(distributed={"workers": 3}))["distributed"]
    assert plain == {"workers": 3, "sync_words": 16_384, "tiers": 3, "precision": "float32"}


@pytest.mark.parametrize("kind", ["skipgram", "cbow"])
def test_several_workers_are_another_function(kind):
    config = _TRAIN.validate_python({"kind": kind, "distributed": {"workers": 2}})
    assert trainer_of(config) == "vecmill.distributed.train:train_words_distributed"
    assert trainer_of(_TRAIN.validate_python({"kind": kind})) == "vecmill.words.train:train_words"


@pytest.mark.parametrize("kind", ["subword_skipgram", "subword_cbow", "glove"])
def test_other_kinds_have_no_workers(kind):
    with pytest.raises(ValidationError, match="distributed"):
        _TRAIN.validate_python({"kind": kind, "distributed": {"workers": 2}})
