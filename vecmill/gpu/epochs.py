"""An epoch in blocks on a device: a way to run epochs beside ``words.hogwild`` and ``words.deterministic``.

The text is cut into stretches on a fixed grid of positions, a stretch into blocks of ``block_words`` kept words. The
host waits for the device while it lays a stretch out and at its end, where a checkpoint can be taken too, and never
within: the device is given one piece of work after the other. Vectors live on the device and are brought to the run's
model when an epoch ends or a checkpoint is due. Cut, random draws and learning rates follow from
configuration and corpus alone; what is left to chance is the order in which a GPU adds up rows that come more than once
in a block. In deterministic mode torch's deterministic algorithms are used, which sort them first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vecmill.errors import TrainingDiverged
from vecmill.gpu.block import Shape, cut_block, loss_of, negatives_of
from vecmill.gpu.draws import device_sampler
from vecmill.gpu.rows import Rows
from vecmill.gpu.steps import StepSettings, cbow_step, skipgram_step
from vecmill.gpu.stretch import Stretch, load_stretch
from vecmill.gpu.subword_steps import (
    BlockWords,
    DeviceSubwords,
    device_subwords,
    subword_cbow_step,
    subword_skipgram_step,
    words_of_blocks,
)
from vecmill.progress import Bar
from vecmill.words.config import CbowConfig
from vecmill.words.device_config import GpuConfig
from vecmill.words.progress_state import Progress
from vecmill.words.run import EPOCH, StreamKeys, Totals, TrainingRun, diverged, random_branch
from vecmill.words.schedule import learning_rate_at
from vecmill.words.subword_config import SubwordCbowConfig, SubwordConfig
from vecmill.words.subword_run import SubwordRun

if TYPE_CHECKING:
    import torch

# Tokens of a stretch: some 40 blocks, between two waits for the device. Fewer in a small corpus, for checkpoints.
STRETCH_TOKENS = 1 << 19
MIN_STRETCH_TOKENS = 1 << 11
# In a small corpus a block holds the same words again and again; so blocks shrink until an epoch has this many.
MIN_BLOCKS = 256
MIN_BLOCK_WORDS = 32
# Blocks are laid out so many at a time, and as often the directions are found in which changes are held back: that is
# work for the device in few large pieces. Fewer at a time where they are large. With subwords each block finds them: a
# row learns from all words that share it, and vectors change so much that what was found some blocks ago lets them
# overshoot, a hundredfold in the first blocks of a training.
TRAY_BLOCKS = 16
TRAY_NUMBERS = 1 << 25
# With subwords a block's steps are this many times the configured learning rate: with the rate as it is blocks judged
# similarity less well than the processor, though they fit held-out text better. Measured, see docs/scale.md.
SUBWORD_RATE = 1.5

# Third number of the spawn key of an epoch's negatives; the first two are those of its other streams.
_NEGATIVES = 1


def stretch_tokens(n_tokens: int) -> int:
    """Tokens of a stretch of a corpus."""
    return min(STRETCH_TOKENS, max(MIN_STRETCH_TOKENS, n_tokens // 16))


def block_shape(gpu: GpuConfig, n_tokens: int) -> tuple[int, int]:
    """Groups of a block, and words of a group: ``block_words`` together, fewer in a small corpus."""
    words = min(gpu.block_words, max(MIN_BLOCK_WORDS, n_tokens // MIN_BLOCKS))
    group = min(gpu.group_words, words)
    return max(1, words // group), group


def tray_blocks(gpu: GpuConfig, groups: int, group: int, window: int) -> int:
    """Blocks that are laid out at a time, at least one."""
    return max(1, min(TRAY_BLOCKS, TRAY_NUMBERS // (groups * group * (group + 2 * window + gpu.shared_negatives))))


class Blocks:
    """Trains epochs of a run in blocks; a context manager.

    Parameters
    ----------
    run : its model is brought up to date at the end of :meth:`advance`
    gpu : how to go over the text
    device : of torch
    """

    threads = 1

    def __init__(self, run: TrainingRun, gpu: GpuConfig, device: torch.device) -> None:
        import torch

        self.run, self.gpu, self.device = run, gpu, device
        self.groups, self.group = block_shape(gpu, run.n_tokens)
        self.stretch_tokens = stretch_tokens(run.n_tokens)
        config = run.config
        self._sampler = device_sampler(run.sampler, device)
        model = run.model
        self._rows = Rows(
            torch.from_numpy(model.center_vectors),
            torch.from_numpy(model.context_vectors),
            device=device,
            holds_back=gpu.holds_back,
        )
        exact = (
            getattr(config, "cbow_gradient", None) == "exact" or getattr(config, "subword_gradient", None) == "exact"
        )
        settings = StepSettings(
            dtype=getattr(torch, gpu.precision),
            exact_gradient=exact,
        )
        if isinstance(config, SubwordConfig):
            assert isinstance(run, SubwordRun)
            self._subwords: DeviceSubwords | None = device_subwords(run.subwords, device)
            is_cbow = isinstance(config, SubwordCbowConfig)
            step: Any = subword_cbow_step if is_cbow else subword_skipgram_step
            # the compiled kernels' draws for a position: its window, and the negatives of each pair or of the word
            pairs = 1 if is_cbow else 2 * config.window
            self._window_draws = 1 + pairs * config.negative_samples
        else:
            self._subwords = None
            is_cbow = isinstance(config, CbowConfig)
            step = cbow_step if is_cbow else skipgram_step
            self._window_draws = 1 + config.negative_samples
        self._step: Callable[..., None] = partial(step, settings=settings)
        self._shape = Shape(
            n_input_rows=self._rows.n_inputs,
            reach_of_word=is_cbow or self._subwords is not None,
            tells_words=is_cbow,
            n_rows=None if self._subwords is None else self._subwords.offsets.diff(),
            dtype=self._rows.matrix.dtype,
        )
        self._rate = 1.0 if self._subwords is None else SUBWORD_RATE
        self._algorithms: Any = None

    def __enter__(self) -> Self:
        self._algorithms = _deterministic_algorithms() if self.run.config.mode == "deterministic" else None
        if self._algorithms:
            self._algorithms.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._algorithms:
            self._algorithms.__exit__(*error)

    def advance(self, progress: Progress, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done or ``due`` is true.

        Raises
        ------
        TrainingDiverged : the loss is not finite
        """
        import torch

        run = self.run
        if not progress.cuts:
            progress.cuts, progress.positions = [0, run.n_tokens], [0]
        totals = Totals(bar, f"epoch {progress.epoch + 1}/{run.config.epochs}", progress.loss, progress.n_pairs)
        position = progress.positions[0]
        with torch.inference_mode():
            while position < run.n_tokens:
                last = min(position + self.stretch_tokens, run.n_tokens)
                loss, n_pairs = self._train_stretch(position, last, progress.epoch)
                totals.add(loss, n_pairs, last - position)
                position = last
                if due():
                    break
            self._bring_home()
        progress.positions, progress.loss, progress.n_pairs = [position], totals.loss, totals.n_pairs

    def _train_stretch(self, first: int, last: int, epoch: int) -> tuple[float, int]:
        import torch

        run, config = self.run, self.run.config
        keys = StreamKeys.of(run.seed, EPOCH, epoch)
        stretch = load_stretch(run, self._sampler, keys, first, last, group=self.group, window_draws=self._window_draws)
        n_groups = stretch.word_ids.shape[0]
        negative_key = random_branch(run.seed, EPOCH, epoch, _NEGATIVES).generate_state(1, np.uint64)[0]
        negatives = negatives_of(n_groups, self.gpu.shared_negatives, first, negative_key, self._sampler)
        words = self._words_of_blocks(stretch)
        self._rows.forget_directions()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        n_pairs = torch.zeros((), dtype=torch.int64, device=self.device)
        start_rate = rate = self._learning_rate(epoch, first)
        tray = self.groups * tray_blocks(self.gpu, self.groups, self.group, config.window)
        for begin in range(0, n_groups, tray):
            blocks = cut_block(
                stretch,
                begin,
                min(begin + tray, n_groups),
                config.window,
                negatives,
                config.negative_samples / self.gpu.shared_negatives,
                self._shape,
            )
            n_pairs += blocks.n_terms.sum()
            middle, look = begin + self.groups / 2, True
            for number, block in enumerate(blocks.split(self.groups), begin // self.groups):
                # by the middle of the block, as if what is kept were spread evenly over the stretch
                rate = self._learning_rate(epoch, first + (last - first) * min(middle / n_groups, 1.0))
                more = {"words": words[number]} if words else {}
                self._step(block, self._rows, self._rate * rate, look=look, **more)
                middle, look = middle + self.groups, self._subwords is not None
            loss += loss_of(blocks, self.gpu.shared_negatives)
        total = float(loss)
        if not math.isfinite(total):
            place = f"epoch {epoch + 1} of {config.epochs}, between tokens {first:,} and {last:,}"
            error = diverged(config, f"the loss became {total} in {place}, at learning rate {start_rate:.6g}")
            # words of a block that all start from the same vectors are the other thing that can be too much
            smaller = f"lower train.gpu.block_words below {self.gpu.block_words}"
            raise TrainingDiverged(error.found, expected=error.expected, todo=f"{smaller}, or {error.todo}")
        return total, int(n_pairs)

    def _words_of_blocks(self, stretch: Stretch) -> list[BlockWords]:
        """With subwords the different words of each block; else, and of an empty stretch, nothing."""
        words, window = stretch.word_ids, self.run.config.window
        if self._subwords is None or not words.shape[0]:
            return []
        inputs = words if self._shape.tells_words else words[:, window : window + self.group]
        return words_of_blocks(inputs, self.groups, self._subwords, self._shape.dtype)

    def _learning_rate(self, epoch: int, position: float) -> float:
        config = self.run.config
        return learning_rate_at(config, min((epoch + position / self.run.n_tokens) / config.epochs, 1.0))

    def _bring_home(self) -> None:
        import torch

        model, rows = self.run.model, self._rows
        torch.from_numpy(model.center_vectors).copy_(rows.inputs)
        torch.from_numpy(model.context_vectors).copy_(rows.outputs)


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
