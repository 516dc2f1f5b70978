"""What runs on a node: a look at whether it fits the run, and a stage.

Arguments and results are plain JSON values. What a stage refuses is handed back as a value as well: an exception that
left the function would be written into Ray's logs with all that it holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vecmill import errors
from vecmill.distributed.crew import Crew, working_with
from vecmill.engine.agreement import disagreement, traits, version_of
from vecmill.engine.relay import Message, Reporter
from vecmill.errors import CredentialsError, EngineError, StoreError, VecmillError
from vecmill.pipelines.catalog import PIPELINES
from vecmill.quiet import be_quiet
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.closure import code_digest
from vecmill.store.execute import run_stage
from vecmill.store.manifest import ArtifactRef, Manifest
from vecmill.store.patience import known_to_answer
from vecmill.store.pieces import Mapper, PieceJob
from vecmill.store.plan import Pipeline, Stage, key_of, stage_parts

Json = dict[str, Any]
_ON_NODE = "on node "


def plain_config(pipeline: Pipeline, config: Any) -> Json:
    """A pipeline's configuration as it travels: relative places of the store made absolute, and without the sections
    of stages that stay where the run was started, whose addresses may hold passwords."""
    store = config.store
    if "://" not in store.uri:
        store = store.model_copy(update={"uri": str(Path(store.uri).expanduser().absolute())})
    kept = config.model_copy(update={"store": store})
    home = {stage.section for stage in pipeline.stages if stage.with_driver}
    values: Json = kept.model_dump(mode="json", exclude={"engine", *home})
    return values


def has_torch() -> bool:
    """Whether this process could import torch, which workers of a training need; it is not imported."""
    return find_spec("torch") is not None


def pipeline_of_config(config: Any) -> Pipeline:
    """The pipeline whose configuration ``config`` is."""
    return next(each for each in PIPELINES.values() if each.config is type(config))


def look(name: str, values: Json, cwd: str, probe: str) -> Json:
    """Say what a run has to know of this node before anything runs here.

    Parameters
    ----------
    name, values : the pipeline, and its configuration as :func:`plain_config` gives it
    probe : name of a file in the store, without which this node has another store than the run

    Returns
    -------
    ``host``; ``traits``; ``torch``: whether it is installed; ``store``: what the probe holds, None where there is none,
    or ``store_error``, with what to do about it in ``store_todo``
    """
    _settle_in(cwd)
    pipeline, config = _configured(name, values)
    found: Json = {"host": socket.gethostname(), "traits": traits(pipeline, config), "torch": has_torch()}
    try:
        store = ArtifactStore(config.store)
        backend = store.backend
        content = backend.read(probe)
        found["store"] = None if content is None else content.decode()
        if content is not None:
            backend.write(f"{probe}.seen", content)
            backend.remove(f"{probe}.seen")
            store.try_disk()
    except VecmillError as error:
        found |= {"store_error": error.found, "store_todo": error.todo}
    except OSError as error:
        found["store_error"] = str(error)
    return found


def build(
    order: Json,
    send: Callable[[list[Message]], None],
    mapper: Mapper | None = None,
    crew: Crew | None = None,
) -> Json:
    """Run one stage here.

    Parameters
    ----------
    order : ``label``, ``node`` (as people should see it), ``pipeline``, ``config``, ``stage``, ``inputs`` (name to
        stage, key and digest), ``refresh``, ``cwd``, ``cpus``, ``key`` and ``parts`` as planned, ``traits``
    send : takes messages of progress away
    mapper : spreads the pieces of the stage over the cluster
    crew : places the workers of the stage on the cluster

    Returns
    -------
    ``node``; ``value``: fields of a :class:`~vecmill.store.execute.StageOutcome`, or what :func:`value_of` raises
    """

    def work() -> Json:
        with Reporter(order["label"], send) as reporter, working_with(crew):
            reporter.say("begun", order["node"])
            reporter.flush()
            here = stage_here(order)
            outcome = run_stage(
                here.stage, here.config, here.store, here.inputs, refresh=order["refresh"], mapper=mapper
            )
            return dataclasses.asdict(outcome)

    return {"node": order["node"], **answered(work, order["node"])}


def build_piece_here(
    function: Callable[[PieceJob], Manifest], job: PieceJob, cwd: str, node: str, store_uri: str
) -> Json:
    """Build one piece of a stage here; ``value`` is its manifest, as JSON values."""

    def work() -> Json:
        _settle_in(cwd)
        root = f"{job.function.__module__}:{job.function.__qualname__}"
        versions = {name: version_of(name) for name in job.parts["versions"]}
        if code_digest((root,)).digest != job.parts["code"] or versions != job.parts["versions"]:
            raise EngineError(
                f"a piece of stage {job.stage.partition('.')[0]} cannot be built on node {node}, which has other code "
                "or other libraries than the machine that the run was started on",
                expected="the same vecmill and libraries on every node",
                todo="install the same version there and run again; finished pieces stand",
            )
        known_to_answer(store_uri)
        return dataclasses.asdict(function(job))

    return answered(work, node)


def answered(work: Callable[[], Json], node: str) -> Json:
    """What ``work`` gives, or what it raised, as plain values. What a node's disk or credentials are to blame for
    names the node, since elsewhere the same would go well.

    Returns
    -------
    ``value``; or ``refused``: kind, found, expected and todo of a VecmillError; or ``os_error``; or ``broken``: kind,
    text and traceback of anything else
    """
    try:
        return {"value": work()}
    except VecmillError as error:
        is_of_machine = isinstance(error, StoreError | CredentialsError) and not error.found.startswith(_ON_NODE)
        found = f"{_ON_NODE}{node}: {error.found}" if is_of_machine else error.found
        return {"refused": [type(error).__name__, found, error.expected, error.todo]}
    except OSError as error:
        said = error.strerror or str(error)
        said = said if _ON_NODE in said else f"{said}, {_ON_NODE}{node}"
        return {"os_error": [error.errno, said, str(error.filename or "")]}
    except Exception as error:
        return {"broken": [type(error).__name__, str(error), traceback.format_exc()]}


@dataclass(frozen=True)
class StageHere:
    """A stage of a run on this node.

    Attributes
    ----------
    section : of ``config``, what the stage's function is given
    """

    stage: Stage
    config: Any
    section: Any
    store: ArtifactStore
    inputs: dict[str, ArtifactRef]


def stage_here(order: Json) -> StageHere:
    """What :func:`build` is ordered, ready to run in this process.

    Raises
    ------
    EngineError : this node has other code, libraries or sources than the run
    """
    _settle_in(order["cwd"])
    pipeline, config = _configured(order["pipeline"], order["config"])
    stage = pipeline.stage(order["stage"])
    store = ArtifactStore(config.store)
    known_to_answer(store.uri)
    section = getattr(config, stage.section)
    if getattr(section, "threads", None) == 0:  # "as many as there are": as many as were kept free
        section = section.model_copy(update={"threads": order["cpus"]})
        config = config.model_copy(update={stage.section: section})
    inputs = {name: ArtifactRef(*ref) for name, ref in order["inputs"].items()}
    _check(order, pipeline, config, store)
    return StageHere(stage, config, section, store, inputs)


def _check(order: Json, pipeline: Pipeline, config: Any, store: ArtifactStore) -> None:
    """Refuse to build under another key than the run has planned. A node may have joined after the others were seen."""
    stage = pipeline.stage(order["stage"])
    node, planned = order["node"], order["parts"]
    try:
        parts, _ = stage_parts(stage, config, planned["inputs"], store)
    except (errors.SourceError, FileNotFoundError) as error:
        raise EngineError(
            f"node {node} does not see what stage {stage.name} reads ({getattr(error, 'found', error)})",
            expected="sources that every node finds under the same name",
            todo="put them where all nodes see them (s3://, or a folder mounted everywhere)",
        ) from error
    if key_of(parts) == order["key"]:
        return
    differs = disagreement(order["traits"], traits(pipeline, config))
    if not differs:
        names = sorted(name for name in planned if planned[name] != parts.get(name))
        differs = f"it sees another {', '.join(names)} than the machine that the run was started on"
    raise EngineError(
        f"stage {stage.name} cannot run on node {node}: {differs}",
        expected="the same vecmill, libraries and sources on every node",
        todo="install the same version there (infra/README.md has an image for all nodes), and run again",
    )


def value_of(answer: Mapping[str, Any]) -> Json:
    """The value of an answer, there where the run was started.

    Raises
    ------
    VecmillError, OSError : as it was raised on the node
    NodeFault : something else broke on the node
    """
    if "value" in answer:
        value: Json = answer["value"]
        return value
    if "refused" in answer:
        kind, found, expected, todo = answer["refused"]
        raise getattr(errors, kind, VecmillError)(found, expected=expected, todo=todo)
    if "os_error" in answer:
        raise OSError(*answer["os_error"])
    raise NodeFault(*answer["broken"])


class NodeFault(RuntimeError):
    """A bug that showed on a node: its kind, text and traceback there."""

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.add_note(f"On the node:\n{trace}")


def _configured(name: str, values: Json) -> tuple[Pipeline, Any]:
    pipeline = next(each for each in PIPELINES.values() if each.name == name)
    return pipeline, pipeline.config.model_validate(values)


def _settle_in(cwd: str) -> None:
    """Quiet libraries, and the folder of the run where this node has it, so that relative paths mean the same."""
    be_quiet()
    if Path(cwd).is_dir():
        os.chdir(cwd)
        return
    own = Path(tempfile.gettempdir()) / f"vecmill-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        own.mkdir(mode=0o700)
    os.chdir(own)
