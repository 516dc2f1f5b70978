"""Which device trains: the processor, or a GPU where one is asked for and there.

torch is imported where a GPU is asked for and the machine has a driver for one, and nowhere else: planning a run stays
quick.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Literal

from vecmill.config.base import key_config
from vecmill.words.device_config import OnDevice, SubwordCbowSection, SubwordSkipgramSection, not_on_gpu

log = logging.getLogger("vecmill")


def device_of(config: Any) -> Literal["cpu", "cuda"]:
    """The device that the ``train`` section of a configuration is trained on here.

    Where a GPU is asked for and the processor trains, one log line of the process says why.
    """
    if not isinstance(config, OnDevice) or config.device == "cpu":
        return "cpu"
    setting = not_on_gpu(config)
    if setting:
        reason = f"a GPU cannot train with train.{setting}"
    elif config.device == "auto" and isinstance(config, SubwordSkipgramSection | SubwordCbowSection):
        reason = (
            "subwords learn better on the processor (docs/scale.md); train.device = cuda asks for the GPU all the same"
        )
    else:
        reason = no_gpu()
    if reason:
        _say(f"train.device = {config.device}: {reason}; the processor trains, with the key of train.device = cpu")
        return "cpu"
    return "cuda"


@cache
def _say(line: str) -> None:
    log.warning("%s", line)  # cached: planning, running and explaining all ask


@cache
def no_gpu() -> str:
    """Why no GPU can be used here; empty where one can."""
    if find_spec("torch") is None:
        return "torch is not installed (pip install 'vecmill[encoders]')"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "this machine has no NVIDIA driver (libcuda.so.1)"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "torch finds no usable CUDA device"


def gpu_parts(config: Any) -> dict[str, dict[str, Any]]:
    """What counts towards the key of a training beside its section and code: nothing, or what a GPU adds.

    Returns
    -------
    ``config`` and ``versions``, to be added to what the key has under these names; or nothing
    """
    if device_of(config) == "cpu":
        return {}
    return {
        "config": {"device": "cuda", "gpu": key_config(config.gpu)},
        "versions": {"torch": metadata.version("torch")},
    }
