"""Which device trains, what it does to keys, and what is refused."""

import json
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from vecmill.config.base import key_config
from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.gpu import train as gpu_train
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.plan import key_of, make_plan, stage_parts
from vecmill.words import device as device_module
from vecmill.words.config import SkipgramConfig
from vecmill.words.device_config import SECTIONS
from vecmill.words.kinds import WordsTrainConfig, trainer_of
from vecmill.words.subword_config import SubwordSkipgramConfig

SECTION = TypeAdapter(WordsTrainConfig)


@pytest.fixture
def said(caplog):
    """Log lines; each process says each once."""
    device_module._say.cache_clear()
    caplog.set_level(logging.WARNING, "vecmill")
    return caplog


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(device_module, "no_gpu", lambda: "")


def section(**settings):
    return SECTION.validate_python(settings)


def parts_of(tmp_path, **train):
    (tmp_path / "text.txt").write_text("a b c")
    config = WordsConfig(train=train, corpus={"sources": [str(tmp_path / "text.txt")]})
    store = ArtifactStore(StoreConfig(uri=str(tmp_path / "store")))
    return stage_parts(WORDS.stage("train"), config, {}, store)[0]


@pytest.mark.parametrize("kind", ["skipgram", "subword_cbow"])
def test_the_processor_is_the_default_and_asks_nothing_of_torch(kind, monkeypatch, said):
    monkeypatch.setattr(device_module, "no_gpu", lambda: pytest.fail("looked for a GPU"))
    assert trainer_of(section(kind=kind)).startswith("vecmill.words.")
    assert said.records == []


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_without_a_gpu_the_processor_trains_and_one_line_says_why(device, monkeypatch, said):
    monkeypatch.setattr(device_module, "no_gpu", lambda: "this machine has no NVIDIA driver (libcuda.so.1)")
    for _ in range(3):
        assert trainer_of(section(device=device)) == "vecmill.words.train:train_words"
    assert [record.getMessage() for record in said.records] == [
        f"train.device = {device}: this machine has no NVIDIA driver (libcuda.so.1); the processor trains, with the "
        "key of train.device = cpu"
    ]


@pytest.mark.parametrize("kind", ["subword_skipgram", "subword_cbow"])
def test_subwords_go_to_a_gpu_only_where_it_is_asked_for(kind, monkeypatch, said):
    monkeypatch.setattr(device_module, "no_gpu", lambda: "")
    assert trainer_of(section(kind=kind, device="auto")).startswith("vecmill.words.")
    (record,) = said.records
    assert "subwords learn better on the processor" in record.getMessage()
    assert trainer_of(section(kind=kind, device="cuda")) == "vecmill.gpu.train:train_subwords_on_gpu"


def test_why_there_is_no_gpu(monkeypatch):
    import torch  # which opens libraries by the function that is replaced below

    look = device_module.no_gpu.__wrapped__
    monkeypatch.setattr(device_module, "find_spec", lambda name: None)
    assert look() == "torch is not installed (pip install 'vecmill[encoders]')"
    monkeypatch.undo()

    def no_driver(name):
        raise OSError(name)

    monkeypatch.setattr(device_module.ctypes, "CDLL", no_driver)
    assert look() == "this machine has no NVIDIA driver (libcuda.so.1)"
    monkeypatch.setattr(device_module.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert look() == f"torch {torch.__version__} is built without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert look() == "torch finds no usable CUDA device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert look() == ""


def test_with_a_gpu_it_trains_unless_a_setting_is_the_processors(with_gpu, said):
    assert trainer_of(section(device="cuda")) == "vecmill.gpu.train:train_words_on_gpu"
    assert trainer_of(section(kind="subword_cbow", device="cuda")) == "vecmill.gpu.train:train_subwords_on_gpu"
    assert said.records == []
    assert trainer_of(section(device="auto", l2=0.01)) == "vecmill.words.train:train_words"
    shared = section(device="auto", distributed={"workers": 2})
    assert trainer_of(shared) == "vecmill.distributed.train:train_words_distributed"
    assert [record.getMessage().split(";")[0] for record in said.records] == [
        "train.device = auto: a GPU cannot train with train.l2 0.01",
        "train.device = auto: a GPU cannot train with train.distributed.workers 2",
    ]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"l2": 0.01}, "l2 0.01"),
        ({"gradient_clip": 1.0}, "gradient_clip 1"),
        ({"round_shards": 8}, "round_shards 8"),
        ({"shard_tokens": 128}, "shard_tokens 128"),
        ({"distributed": {"workers": 4}}, "distributed.workers 4"),
    ],
)
def test_what_a_gpu_cannot_do_is_refused(setting, named):
    with pytest.raises(ConfigError) as caught:
        validate(WordsConfig, {"train": {"device": "cuda", **setting}, "corpus": {"sources": ["x"]}}, "here")
    assert f"a GPU cannot train with {named}; leave that out, or set device to cpu" in str(caught.value)


def test_glove_has_no_device():
    with pytest.raises(ConfigError, match=r"train\.device"):
        validate(WordsConfig, {"train": {"kind": "glove", "device": "cuda"}, "corpus": {"sources": ["x"]}}, "here")


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_ray_is_refused(device):
    values = {"train": {"device": device}, "engine": {"kind": "ray"}, "corpus": {"sources": ["x"]}}
    with pytest.raises(
        ConfigError, match=f"train.device is {device}, and .* not on a node of a Ray cluster; set train.device to cpu"
    ):
        validate(WordsConfig, values, "here")


def test_a_trainers_own_model_becomes_the_section_of_the_processor():
    for own, of_pipeline in SECTIONS.items():
        values = {"epochs": 3} if own is SkipgramConfig else {"epochs": 3, "kind": _kind(own)}
        found = SECTION.validate_python(own(**values))
        assert type(found) is of_pipeline and (found.epochs, found.device) == (3, "cpu")
        assert key_config(found) == key_config(own(**values))


def _kind(model):
    return model.model_fields["kind"].annotation.__args__[0]


def test_what_is_set_for_a_gpu_counts_where_a_gpu_trains(tmp_path, monkeypatch, said):
    monkeypatch.setattr(device_module, "no_gpu", lambda: "there is none")
    plain = parts_of(tmp_path)
    assert "device" not in plain["config"]["train"] and "torch" not in plain["versions"]
    for settings in ({"device": "cuda"}, {"device": "auto", "gpu": {"block_words": 64}}, {"gpu": {"group_words": 8}}):
        assert key_of(parts_of(tmp_path, **settings)) == key_of(plain)
    monkeypatch.setattr(device_module, "no_gpu", lambda: "")
    here = [
        parts_of(tmp_path, **settings)
        for settings in ({"device": "cuda"}, {"device": "auto"}, {"device": "cuda", "gpu": {"block_words": 64}})
    ]
    assert here[0]["config"]["train"]["device"] == "cuda"
    assert here[2]["config"]["train"]["gpu"]["block_words"] == 64
    assert "torch" in here[0]["versions"]
    assert key_of(here[0]) == key_of(here[1])
    assert len({key_of(each) for each in (plain, here[0], here[2])}) == 3
    # what the manifest keeps is a configuration again, as `vecmill reproduce` needs it
    assert section(**here[2]["config"]["train"]).gpu.block_words == 64


def test_explain_says_that_the_device_is_another(tmp_path, with_gpu, monkeypatch):
    (tmp_path / "text.txt").write_text("a b c")
    store = ArtifactStore(StoreConfig(uri=str(tmp_path / "store")))
    config = WordsConfig(train={"device": "cuda"}, corpus={"sources": [str(tmp_path / "text.txt")]})
    planned = {each.stage.name: each for each in make_plan(WORDS, config, store)}["train"]
    before = SimpleNamespace(parts=parts_of(tmp_path), definitions=planned.definitions)
    from vecmill.store.plan import differences

    causes = differences(before, planned)
    assert "config: train.device: None → 'cuda'" in causes
    assert any(cause.startswith("version: torch: None → ") for cause in causes)


def test_a_process_without_the_planned_gpu_refuses(monkeypatch):
    monkeypatch.setattr(gpu_train, "no_gpu", lambda: "torch finds no usable CUDA device")
    with pytest.raises(ConfigError) as caught:
        gpu_train.usable_device()
    assert "planned for a GPU, and here there is none: torch finds no usable CUDA device" in str(caught.value)
    assert "train.device: cpu" in str(caught.value)


@pytest.fixture
def gpu_without_cublas(monkeypatch):
    import torch

    monkeypatch.setattr(gpu_train, "no_gpu", lambda: "")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is undone
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    return lambda started: monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)


@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
def test_cublas_is_told_before_cuda_starts(gpu_without_cublas, mode):
    """In any mode: a deterministic training may follow in the same process, and then it is too late."""
    gpu_without_cublas(False)
    assert str(gpu_train.usable_device(mode)) == "cuda:0"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    gpu_without_cublas(True)
    assert str(gpu_train.usable_device("deterministic")) == "cuda:0"


def test_a_deterministic_training_refuses_where_cublas_may_not_repeat_itself(gpu_without_cublas, monkeypatch):
    gpu_without_cublas(True)
    with pytest.raises(ConfigError) as caught:
        gpu_train.usable_device("deterministic")
    message = str(caught.value)
    assert "CUBLAS_WORKSPACE_CONFIG is not set, and torch has started CUDA in this process" in message
    assert "set CUBLAS_WORKSPACE_CONFIG=:4096:8 for the process, or train with train.mode: hogwild" in message
    assert str(gpu_train.usable_device("hogwild")) == "cuda:0" and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    gpu_without_cublas(False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(ConfigError, match="CUBLAS_WORKSPACE_CONFIG is ':0:0'"):
        gpu_train.usable_device("deterministic")
    assert str(gpu_train.usable_device("hogwild")) == "cuda:0"


def test_planning_for_the_processor_imports_no_torch():
    code = """
import sys, json
from vecmill.words.kinds import WordsTrainConfig, trainer_of
from vecmill.words.device import gpu_parts
from pydantic import TypeAdapter
section = TypeAdapter(WordsTrainConfig).validate_python({"kind": "cbow"})
print(json.dumps([trainer_of(section), gpu_parts(section), "torch" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["vecmill.words.train:train_words", {}, False]


def test_subwords_keep_their_own_refusals():
    assert issubclass(SECTIONS[SubwordSkipgramConfig], SubwordSkipgramConfig)
    with pytest.raises(ConfigError, match="block_words"):
        validate(WordsConfig, {"train": {"gpu": {"block_words": 3}}, "corpus": {"sources": ["x"]}}, "here")
