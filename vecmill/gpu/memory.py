"""Whether a training fits a GPU's memory, worked out before anything is brought there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vecmill.errors import ConfigError
from vecmill.gpu.epochs import block_shape, stretch_tokens, tray_blocks
from vecmill.gpu.rows import N_DIRECTIONS
from vecmill.words.device_config import GpuConfig
from vecmill.words.run import TrainingRun
from vecmill.words.subword_run import SubwordRun

if TYPE_CHECKING:
    import torch

_GIB = 1 << 30


def training_bytes(run: TrainingRun, gpu: GpuConfig) -> tuple[int, int]:
    """Bytes of a training on a device: of the model, and of the work around it.

    The first is exact. The second is an upper estimate: arrays of a stretch, and of a block what is alive at once.
    """
    center, context = run.model.center_vectors, run.model.context_vectors
    model = center.nbytes + context.nbytes
    row_bytes, n_tokens = 4 * center.shape[1], run.n_tokens
    lists = 3 * 8 * context.shape[0] + 4 * (center.shape[0] + context.shape[0])
    if isinstance(run, SubwordRun):
        lists += 8 * (run.subwords.offsets.size + run.subwords.rows.size)
    groups, group = block_shape(gpu, n_tokens)
    # ids, positions, sentences, draws and what they are worked out with, 8 bytes each
    stretch = 16 * 8 * stretch_tokens(n_tokens) * (1 + gpu.shared_negatives // group)
    around = group + 2 * run.config.window
    width = around + gpu.shared_negatives
    # how far a row is held back: along each direction of inputs and of outputs and all others, b and what follows of it
    share_bytes = 2 * 4 * (2 * N_DIRECTIONS + 1)
    # vectors, their short copies, their changes, and these held back
    rows = (group + width) * (4 * row_bytes + share_bytes)
    scores = 8 * group * width * 4
    # of all blocks that are laid out at a time: masks, weights, scores and their losses, and which word around is which
    # negative
    laid_out = 7 * group * width * 4 + 6 * around * gpu.shared_negatives
    scores += laid_out * tray_blocks(gpu, groups, group, run.config.window)
    if isinstance(run, SubwordRun):
        entries = run.subwords.rows.size / max(run.subwords.offsets.size - 1, 1)
        rows += int(around * entries * (3 * row_bytes + share_bytes))
        # rows and owners of the words of all blocks, at most those of all their places, while they are laid out
        stretch += int(stretch_tokens(n_tokens) / group * around * (6 * 8 + 4 * 8 * entries))
    return model, lists + stretch + groups * (rows + scores)


def check_memory(run: TrainingRun, gpu: GpuConfig, device: torch.device, free_bytes: int | None = None) -> None:
    """Refuse a training that a GPU has no room for.

    Parameters
    ----------
    free_bytes : None: what the device says; of the processor's memory nothing is asked

    Raises
    ------
    ConfigError : with what is needed and what is free
    """
    if free_bytes is None:
        if device.type != "cuda":
            return
        import torch

        free_bytes = torch.cuda.mem_get_info(device)[0]
    model, work = training_bytes(run, gpu)
    if model + work <= free_bytes:
        return
    n_rows = run.model.center_vectors.shape[0] + run.model.context_vectors.shape[0]
    raise ConfigError(
        f"training takes {(model + work) / _GIB:.2f} GiB of the GPU's memory, {model / _GIB:.2f} GiB for {n_rows:,} "
        f"rows of {run.model.dim} numbers and {work / _GIB:.2f} GiB for blocks of {gpu.block_words:,} words; "
        f"{free_bytes / _GIB:.2f} GiB are free",
        expected="a model and blocks that fit",
        todo="lower train.gpu.block_words, lower train.dim, raise vocabulary.min_count, or set train.device: cpu",
    )
