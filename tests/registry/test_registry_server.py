"""The same over HTTP: a real MLflow server on a free loopback port."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from vecmill.registry.config import RegistryConfig
from vecmill.registry.probe import Registered, registered
from vecmill.registry.register import register_model
from vecmill.registry.session import registry_session
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors

pytestmark = pytest.mark.server


def test_register_over_http(address: str, finished: Callable[..., StageIO], capfd: pytest.CaptureFixture[str]) -> None:
    config = RegistryConfig(tracking_uri=address, model_name="words")
    first, second = finished(0.4), finished(0.3)
    register_model(config, first)
    report = register_model(config, second)
    assert capfd.readouterr() == ("", "")
    assert report.metrics["champion_after"] == "1"
    assert f"({address}/#/models/words/versions/2)" in report.markdown

    said = json.loads((second.output / "registration.json").read_text(encoding="utf-8"))
    assert registered(said) == Registered("words", "2", ("challenger",), "1")
    assert registered({**said, "model_version": "1"}) == Registered("words", "1", ("champion",), "1")
    assert registered({**said, "model_version": "3"}) is None
    assert registered({**said, "model_name": "other"}) is None

    with registry_session(address) as client:
        import mlflow

        run = client.get_run(said["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.metrics["train/loss"] == 1.5
        assert {each.path for each in client.list_artifacts(said["run_id"])} >= {"manifests", "neighbours.json"}
        model = mlflow.pyfunc.load_model("models:/words@champion")
        answer = model.predict(["queen", "zyzzyva"], params={"task": "neighbours", "n": 2})
    expected = WordVectors.load(first.inputs["train"] / "vectors").neighbours("queen", 2)
    assert answer["neighbours"].tolist() == [[word for word, _ in expected], None]
