"""The random draws of ``vecmill.kernels.sampling`` for whole arrays of counters, bit for bit.

torch has no arithmetic on uint64; on int64 products and sums wrap around in the same way, and a shift to the right
loses its sign bits to a mask. So a token is kept, and has the window, that it would have in the compiled kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vecmill.kernels.sampling import GAMMA, Sampler

if TYPE_CHECKING:
    import torch

_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
_LOW_32 = (1 << 32) - 1


class DeviceSampler(NamedTuple):
    """A ``Sampler`` on a device.

    Attributes
    ----------
    keep_thresholds, alias_thresholds, aliases : int64[n_words], see :class:`~vecmill.kernels.sampling.Sampler`
    """

    keep_thresholds: torch.Tensor
    alias_thresholds: torch.Tensor
    aliases: torch.Tensor


def device_sampler(sampler: Sampler, device: torch.device) -> DeviceSampler:
    """Bring a sampler to a device."""
    import torch

    return DeviceSampler(*(torch.from_numpy(each.astype(np.int64)).to(device) for each in sampler))


def mix64(counters: torch.Tensor) -> torch.Tensor:
    """int64, the bits of ``sampling.mix64`` for each counter (int64, the bits of a uint64)."""
    z = (counters ^ _shifted(counters, 30)) * _MIX_1
    z = (z ^ _shifted(z, 27)) * _MIX_2
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, n: int) -> torch.Tensor:
    return (z >> n) & ((1 << (64 - n)) - 1)


def draws_at(key: np.uint64, numbers: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """int64, the bits of draw ``numbers * stride`` of a stream."""
    return mix64(numbers * _signed(stride * int(GAMMA)) + _signed(int(key)))


def draws_below(bits: torch.Tensor, n: int) -> torch.Tensor:
    """int64 in [0, n), see ``sampling.draw_below``."""
    return (_shifted(bits, 32) * n) >> 32


def draw_negatives(bits: torch.Tensor, sampler: DeviceSampler) -> torch.Tensor:
    """int64, a word id for each draw, see ``sampling.draw_negative``."""
    columns = draws_below(bits, sampler.aliases.shape[0])
    return columns.where((bits & _LOW_32) <= sampler.alias_thresholds[columns], sampler.aliases[columns])


def are_kept(
    word_ids: torch.Tensor, positions: torch.Tensor, keep_key: np.uint64, sampler: DeviceSampler
) -> torch.Tensor:
    """bool, whether sub-sampling keeps each token, see ``sampling.is_kept``."""
    return _shifted(draws_at(keep_key, positions), 32) <= sampler.keep_thresholds[word_ids]


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
