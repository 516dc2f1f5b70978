"""A block is little to launch and never makes the host wait: seen in what is dispatched on the processor."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vecmill.gpu import epochs
from vecmill.gpu.epochs import Blocks
from vecmill.gpu.rows import _FIRST_ITERATIONS, _ITERATIONS
from vecmill.gpu.subword_steps import device_subwords, words_of_blocks
from vecmill.kernels.subword_rows import make_subword_rows
from vecmill.words.device_config import (
    CbowSection,
    GpuConfig,
    SkipgramSection,
    SubwordCbowSection,
    SubwordSkipgramSection,
)
from vecmill.words.heldout import measure_heldout
from vecmill.words.subword_trainer import OtherWay, train_subword_vectors
from vecmill.words.trainer import checkpoints_of, prepared_run, train_run

# launches of a block, with subwords those of its look at directions too; more of them is slower where blocks are small,
# see "How fast it should be" in docs/scale.md
CEILINGS = {"skipgram": 22, "cbow": 25, "subword_skipgram": 59, "subword_cbow": 61}
TRAY_CEILING = 70
SECTIONS = {
    "skipgram": SkipgramSection,
    "cbow": CbowSection,
    "subword_skipgram": SubwordSkipgramSection,
    "subword_cbow": SubwordCbowSection,
}
# how much comes out of these only the device knows, so the host waits for it; or the host brings or fetches something
WAITS = {
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten._unique2",
    "aten.unique_dim",
    "aten.unique_consecutive",
    "aten.unique_dim_consecutive",
    "aten.bincount",
    "aten.is_nonzero",
    "aten.equal",
    "aten.lift_fresh",  # torch.tensor(...): a number brought from the host
    "aten._to_cpu",
}


def waits(func, args, kwargs):
    name = str(func.overloadpacket)
    if name == "aten.repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("aten.index", "aten.index_put_"):
        return any(each is not None and each.dtype == torch.bool for each in args[1])
    if name in ("aten._to_copy", "aten.copy_"):  # from or to another device
        return kwargs.get("device") is not None
    return name in WAITS


def launches(func):
    """Neither a view nor room for a result."""
    returned = func._schema.returns
    is_view = returned and all(each.alias_info is not None and not each.alias_info.is_write for each in returned)
    return not is_view and not str(func.overloadpacket).startswith(
        ("aten.empty", "aten.new_empty", "aten.detach", "aten._unsafe_view")
    )


class Watch(TorchDispatchMode):
    """Sees what is dispatched; what torch does not dispatch on the processor it sees by name."""

    def __init__(self):
        super().__init__()
        self.seen, self.waits = [], []

    def __enter__(self):
        self.patches = pytest.MonkeyPatch()
        for name in ("tolist", "cpu", "numpy", "__array__"):
            self.patches.setattr(torch.Tensor, name, lambda *_, name=name: self.waits.append(name), raising=False)
        return super().__enter__()

    def __exit__(self, *error):
        self.patches.undo()
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if launches(func):
            self.seen.append(str(func))
        if waits(func, args, kwargs):
            self.waits.append(str(func))
        return func(*args, **kwargs)


def watched(monkeypatch, kind, **gpu):
    """What each block of an epoch dispatches, and what the layouts of blocks do."""
    rng = np.random.default_rng(1)
    token_ids, offsets = rng.integers(0, 40, 6_000).astype(np.int32), np.arange(0, 6_001, 25).astype(np.int64)
    counts = np.bincount(token_ids, minlength=40)
    more = {"subword_buckets": 50, "subword_gradient": "exact"} if "subword" in kind else {}
    config = SECTIONS[kind](kind=kind, dim=16, window=3, sample=0, epochs=1, gpu=GpuConfig(**gpu), **more)
    steps, layouts = [], []

    def watching(function, kept):
        def call(*args, **kwargs):
            with Watch() as watch:
                result = function(*args, **kwargs)
            kept.append((watch, kwargs.get("look", False)))
            return result

        return call

    def watched_blocks(run):
        blocks = Blocks(run, config.gpu, torch.device("cpu"))
        blocks._step = watching(blocks._step, steps)
        return blocks

    monkeypatch.setattr(epochs, "cut_block", watching(epochs.cut_block, layouts))
    monkeypatch.setattr(epochs, "loss_of", watching(epochs.loss_of, layouts))
    # in inference mode operations would be seen before they are taken apart
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    if "subword" in kind:
        way = OtherWay(watched_blocks, np.empty(0, np.uint8))
        train_subword_vectors(token_ids, offsets, [f"word{i}" for i in range(40)], counts, config, seed=1, way=way)
    else:
        run = prepared_run(token_ids, offsets, counts, config, seed=1)
        train_run(run, lambda: watched_blocks(run), checkpoints_of(run, counts, None), measure_heldout)
    return steps, layouts


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", SECTIONS)
def test_no_block_and_no_layout_of_blocks_waits_for_the_device(monkeypatch, kind, precision):
    steps, layouts = watched(monkeypatch, kind, precision=precision)
    assert len(steps) > 150 and len(layouts) >= 20
    assert sum(look for _, look in steps) == (len(steps) if "subword" in kind else len(layouts) // 2)
    assert {name for watch, _ in (*steps, *layouts) for name in watch.waits} == set()


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_block_is_few_launches(monkeypatch, kind):
    steps, layouts = watched(monkeypatch, kind)
    # with subwords each block looks at directions; else the first of 16, which are laid out together
    looks = "subword" in kind
    # the first look of a stretch turns the directions more often, each time with a product and a QR
    counts = {CEILINGS[kind], CEILINGS[kind] + (2 * (_FIRST_ITERATIONS - _ITERATIONS) if looks else 0)}
    assert {len(watch.seen) for watch, look in steps if look == looks} == counts, "\n".join(steps[-1][0].seen)
    looking = 0 if looks else [len(watch.seen) for watch, look in steps if look][-1] - CEILINGS[kind]
    assert sum(len(watch.seen) for watch, _ in layouts[-2:]) + looking <= TRAY_CEILING


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: float(x[0]),
        lambda x: x[x > 0],
        lambda x: (x > 0).nonzero(),
        lambda x: torch.unique(x),
        lambda x: torch.repeat_interleave(x.long()),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: torch.tensor(0.1) * x,
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: bool((x > 0).any()),
    ],
)
def test_what_waits_is_seen(waiting):
    with torch.no_grad(), Watch() as watch:
        waiting(torch.arange(1.0, 5.0))
    assert watch.waits, watch.seen


def test_words_of_all_blocks_are_those_of_each():
    rng = np.random.default_rng(3)
    rows_of = [sorted(rng.integers(0, 30, rng.integers(1, 5)).tolist()) for _ in range(12)]
    offsets = np.cumsum([0, *map(len, rows_of)]).astype(np.int64)
    flat = np.array([row for rows in rows_of for row in rows], np.int32)
    subwords = device_subwords(make_subword_rows(offsets, flat), torch.device("cpu"))
    words = torch.from_numpy(rng.integers(0, 12, (7, 5)))
    laid_out = words_of_blocks(words, 3, subwords, torch.float64)
    assert len(laid_out) == 3
    for number, found in enumerate(laid_out):
        mine = words[number * 3 : number * 3 + 3].reshape(-1)
        different = sorted(set(mine.tolist()))
        assert [different[i] for i in found.place] == mine.tolist()
        assert found.rows.tolist() == [row for word in different for row in rows_of[word]]
        assert found.owners.tolist() == [i for i, word in enumerate(different) for _ in rows_of[word]]
        assert found.begins.tolist() == np.cumsum([0, *(len(rows_of[word]) for word in different)])[:-1].tolist()
        assert found.parts.reshape(-1).tolist() == [1 / len(rows_of[word]) for word in different]
