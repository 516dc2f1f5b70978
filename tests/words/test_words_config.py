import json
import subprocess
import sys

import jsonschema
import pytest
from pydantic import Field, TypeAdapter, ValidationError

from vecmill.config.base import Config, key_config
from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.words.config import CbowConfig, SkipgramConfig, pretrained_files
from vecmill.words.device_config import SkipgramSection
from vecmill.words.kinds import WordsTrainConfig


class Section(Config):
    train: WordsTrainConfig = Field(SkipgramSection(), description="the train section, as a pipeline has it")


def test_kind_chooses_the_model_and_skipgram_is_the_default():
    assert Section().train == SkipgramSection()
    assert Section(train={"epochs": 2}).train == SkipgramSection(epochs=2)
    cbow = Section(train={"kind": "cbow"}).train
    assert isinstance(cbow, CbowConfig)
    assert Section.model_validate_json(Section(train=cbow).model_dump_json()).train == cbow


@pytest.mark.parametrize(
    "train", [{}, {"epochs": 3}, {"kind": "skipgram"}, {"kind": "cbow", "cbow_gradient": "word2vec"}]
)
def test_schema_admits_what_the_model_admits(train):
    jsonschema.validate({"train": train}, Section.model_json_schema())


def test_every_field_is_described():
    for model in (SkipgramConfig, CbowConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"kind": "glov"}, "glov"),
        ({"epoch": 3}, "did you mean 'train.epochs'"),
        ({"cbow_gradient": "exact"}, "unknown key 'train.cbow_gradient'"),
        ({"dim": 0}, "train.dim"),
        ({"kind": "cbow", "learning_rate": 0.01, "min_learning_rate": 0.1}, "min_learning_rate 0.1 is above"),
        ({"learning_rate": float("nan")}, "train.learning_rate"),
        ({"learning_rate": 4.0, "l2": 0.5}, "lower l2, for example to 1e-4"),
        ({"gradient_clip": -1}, "train.gradient_clip"),
        ({"schedule": {"kind": "sine"}}, "sine"),
        ({"schedule": {"kind": "cosine", "n_steps": 3}}, "unknown key 'train.schedule.n_steps'"),
        ({"schedule": {"kind": "exponential"}, "min_learning_rate": 0}, "never reaches min_learning_rate 0"),
        ({"patience": 2}, "set heldout_share"),
        ({"heldout_share": 0.7}, "train.heldout_share"),
    ],
)
def test_refusals_name_the_path(train, message):
    with pytest.raises(ConfigError) as caught:
        validate(Section, {"train": train}, "a test")
    assert message in str(caught.value)


def test_threads_are_not_part_of_the_key():
    assert key_config(Section(train={"threads": 7})) == key_config(Section())
    assert key_config(Section(train={"epochs": 7})) != key_config(Section())
    assert "threads" not in json.dumps(key_config(Section()))


def test_checkpoints_are_not_part_of_the_key_but_rounds_are():
    every_minute = Section(train={"checkpoint_minutes": 1, "checkpoint_epochs": 2})
    assert key_config(every_minute) == key_config(Section())
    assert key_config(Section(train={"round_shards": 2})) != key_config(Section())


def test_a_schedule_without_a_kind_is_linear():
    assert Section(train={"schedule": {"warmup_frac": 0.1}}).train.schedule.kind == "linear"


def test_pretrained_files(tmp_path):
    assert pretrained_files(SkipgramConfig()) == []
    (tmp_path / "w.bin").write_bytes(b"x")
    assert pretrained_files(SkipgramConfig(pretrained=str(tmp_path / "w.bin"))) == [tmp_path / "w.bin"]
    assert pretrained_files(SkipgramConfig(pretrained=str(tmp_path))) == [tmp_path / "w.bin"]
    artifact = tmp_path / "artifact"
    (artifact / "vectors").mkdir(parents=True)
    for name in ("vectors/b", "vectors/a", "context_vectors.npy", "losses.parquet"):
        (artifact / name).write_bytes(b"x")
    found = pretrained_files(SkipgramConfig(pretrained=str(artifact)))
    assert found == [artifact / "vectors/a", artifact / "vectors/b", artifact / "context_vectors.npy"]
    with pytest.raises(ConfigError, match=r"train\.pretrained = '.*nowhere': no such file.*Expected: the folder of"):
        pretrained_files(SkipgramConfig(pretrained=str(tmp_path / "nowhere")))


def test_frozen():
    with pytest.raises(ValidationError):
        SkipgramConfig().epochs = 3
    assert TypeAdapter(WordsTrainConfig).validate_python({"kind": "cbow"}).learning_rate > 0.025


def test_import_is_light():
    code = "import sys, vecmill.words.config; print([m for m in ('numpy', 'numba', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
