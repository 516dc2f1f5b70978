"""Host and device keep apart: seen on the processor, where torch itself would let everything through."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vecmill.gpu.epochs import Blocks
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

SECTIONS = {
    "skipgram": SkipgramSection,
    "cbow": CbowSection,
    "subword_skipgram": SubwordSkipgramSection,
    "subword_cbow": SubwordCbowSection,
}
# from one place to the other; and the only operations that read a number of the device on the host
BETWEEN = {"aten.copy_", "aten._local_scalar_dense"}
MAKERS = ("arange", "empty", "eye", "full", "linspace", "ones", "tensor", "zeros")


class Places(TorchDispatchMode):
    """Which memory is the device's: what ``to`` brought there, what was made with a device told, what came of either.

    Attributes
    ----------
    mixed : operations on tensors of both, or with places given to them that lie on the other side
    on_device : operations that were done on the device
    """

    def __init__(self):
        super().__init__()
        self.mixed, self.on_device = [], 0
        self._ours, self._alive = set(), []

    def __enter__(self):
        self.patches = pytest.MonkeyPatch()
        there = torch.Tensor.to

        def to(tensor, *args, **kwargs):
            moved = there(tensor, *args, **kwargs)
            if args and isinstance(args[0], torch.device) and args[0].type != "meta":
                moved = moved.clone()
                self._keep(moved)
            return moved

        def maker(function):
            def make(*args, **kwargs):
                made = function(*args, **kwargs)
                if kwargs.get("device") is not None:
                    self._keep(made)
                return made

            return make

        self.patches.setattr(torch.Tensor, "to", to)
        for name in MAKERS:
            self.patches.setattr(torch, name, maker(getattr(torch, name)))
        return super().__enter__()

    def __exit__(self, *error):
        self.patches.undo()
        return super().__exit__(*error)

    def _keep(self, tensor):
        storage = tensor.untyped_storage()
        self._ours.add(storage._cdata)
        self._alive.append(storage)  # else its address might be another's later

    def _is_ours(self, tensor):
        return tensor.untyped_storage()._cdata in self._ours

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        ours = {self._is_ours(each) for each in tensors if each.dim()}  # CUDA takes a number of the host as it is
        name = str(func.overloadpacket)
        if len(ours) > 1 and name not in BETWEEN:
            self.mixed.append(str(func))
        result = func(*args, **kwargs)
        if True in ours and name not in BETWEEN:
            self.on_device += 1
            for each in tree_leaves(result):
                if isinstance(each, torch.Tensor):
                    self._keep(each)
        return result


def train(monkeypatch, kind, precision="float32"):
    """A small training in blocks, and the places that were seen."""
    rng = np.random.default_rng(1)
    token_ids, offsets = rng.integers(0, 40, 2_000).astype(np.int32), np.arange(0, 2_001, 25).astype(np.int64)
    counts = np.bincount(token_ids, minlength=40)
    more = {"subword_buckets": 50} if "subword" in kind else {}
    gpu = GpuConfig(precision=precision)
    config = SECTIONS[kind](kind=kind, dim=16, window=3, sample=1e-2, epochs=1, heldout_share=0.05, gpu=gpu, **more)
    # in inference mode operations would be seen before they are taken apart
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    places = Places()

    class Watched(Blocks):
        def __init__(self, run, gpu, device):
            with places:
                super().__init__(run, gpu, device)

        def advance(self, *args):
            with places:
                super().advance(*args)

    device = torch.device("cpu")
    if "subword" in kind:
        way = OtherWay(lambda run: Watched(run, gpu, device), np.empty(0, np.uint8))
        train_subword_vectors(token_ids, offsets, [f"word{i}" for i in range(40)], counts, config, seed=1, way=way)
    else:
        run = prepared_run(token_ids, offsets, counts, config, seed=1)
        train_run(run, lambda: Watched(run, gpu, device), checkpoints_of(run, counts, None), measure_heldout)
    return places


@pytest.mark.parametrize(
    ("kind", "precision"), [*((kind, "float32") for kind in SECTIONS), ("skipgram", "bfloat16"), ("cbow", "bfloat16")]
)
def test_no_operation_mixes_host_and_device(monkeypatch, kind, precision):
    places = train(monkeypatch, kind, precision)
    assert places.mixed == []
    assert places.on_device > 500


@pytest.mark.parametrize(
    "forgotten",
    [
        lambda x: x + torch.ones(3),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x.index_add_(0, torch.arange(2), x[:2].clone()),
        lambda x: torch.cat([x, torch.from_numpy(np.ones(3, np.float32))]),
        lambda x: torch.where(x > 0, x, torch.zeros(3)),
    ],
)
def test_what_is_mixed_is_seen(forgotten):
    with Places() as places:
        forgotten(torch.ones(3, device=torch.device("cpu")))
    assert places.mixed


def test_what_is_allowed_is_not_reported():
    with Places() as places:
        device = torch.device("cpu")
        x = torch.from_numpy(np.ones(3, np.float32)).to(device)
        (x + torch.ones(3, device=device)).mul_(torch.tensor(2.0)).index_select(0, torch.arange(2, device=device))
        torch.zeros(3).copy_(x)
        x.new_zeros(3).add_(torch.zeros_like(x))
    assert places.mixed == []
