"""One block of skip-gram or CBOW: the losses of its pairs, and the change of each row.

    loss = sum over pairs (x, u) of  -log sigmoid(x · u) - K/M sum over the group's negatives k of log sigmoid(-x · u_k)

x is the vector of a word of the window (skip-gram) or the mean of the window (CBOW), u the context vector of the centre
word, u_k those of the M negatives of its group other than the centre word. Mikolov et al. 2013b, eq. 4; negatives
shared by neighbouring words after Ji et al. 2016, "Parallelizing word2vec in shared and distributed memory".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vecmill.gpu.block import Block
from vecmill.gpu.rows import Rows

if TYPE_CHECKING:
    import torch


# Below it tanh(s / 2) / (2 s) is 1 / 4, and the difference of float32 that is divided by s would lose its digits.
_SMALLEST_SCORE = 1e-3


class StepSettings(NamedTuple):
    """What a step needs to know beside its block.

    Attributes
    ----------
    dtype : of products
    exact_gradient : CBOW: the words of a window get 1/n of the change of their mean, else all of it; with subwords the
        same of the rows of an input
    """

    dtype: torch.dtype
    exact_gradient: bool


def skipgram_step(
    block: Block, rows: Rows, learning_rate: float, settings: StepSettings, *, look: bool = False
) -> None:
    """Change rows, and write the scores of the block.

    The words of a group are inputs, those around them the centre words whose windows they lie in.

    Parameters
    ----------
    look : look anew for the directions in which changes are held back most, with the vectors of this block
    """
    group = block.scores.shape[1]
    vectors = _fetch(rows, block.ids)
    x, u = vectors[:, :group].to(settings.dtype), vectors[:, group:].to(settings.dtype)
    if look:
        rows.find_directions(u, x)
    changes, bends = vectors.new_empty(vectors.shape), vectors.new_empty(block.ids.shape)
    learn(block, x, u, changes[:, :group], changes[:, group:], bends[:, :group], bends[:, group:])
    rows.add(block.ids, group, changes, bends, learning_rate)


def cbow_step(block: Block, rows: Rows, learning_rate: float, settings: StepSettings, *, look: bool = False) -> None:
    """Change rows, and write the scores of the block.

    The words of a group are the centre words, and the means of those around them the inputs; ``look`` as in
    :func:`skipgram_step`.
    """
    n_around = block.pairs.shape[2]
    vectors = _fetch(rows, block.ids)
    changes, bends = vectors.new_empty(vectors.shape), vectors.new_empty(block.ids.shape)
    learn_means(
        block,
        rows,
        vectors[:, :n_around],
        vectors[:, n_around:],
        (changes[:, :n_around], changes[:, n_around:], bends[:, :n_around], bends[:, n_around:]),
        settings,
        look=look,
    )
    rows.add(block.ids, n_around, changes, bends, learning_rate)


def learn_means(
    block: Block,
    rows: Rows,
    around: torch.Tensor,
    outputs: torch.Tensor,
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    settings: StepSettings,
    *,
    look: bool,
    bounds: bool = False,
) -> None:
    """What the words around and the outputs of a block learn where the means of windows are inputs.

    Parameters
    ----------
    bounds : see :func:`learn`
    around : floating[n_groups, group + 2 * window, row length], of each word the sum of its rows
    outputs : floating[n_groups, m, row length]
    found : written: changes of the words around and of the outputs, and bends of both, see :func:`learn`
    """
    import torch

    dtype = settings.dtype
    u = outputs.to(dtype)
    means = block.shares.to(dtype) @ around.to(dtype)
    if look:
        rows.find_directions(u, means)
    changes, output_changes, bends, output_bends = found
    mean_changes = means.new_empty(means.shape)
    mean_bends = block.weights.new_empty(block.weights.shape[:2])
    learn(block, means, u, mean_changes, output_changes, mean_bends, output_bends, bounds=bounds)
    reaching = (block.shares if settings.exact_gradient else block.pairs).transpose(1, 2)
    product(reaching.to(dtype), mean_changes, changes)
    torch.bmm(reaching, mean_bends[:, :, None], out=bends[:, :, None])


def learn(
    block: Block,
    x: torch.Tensor,
    u: torch.Tensor,
    input_changes: torch.Tensor,
    output_changes: torch.Tensor,
    input_bends: torch.Tensor,
    output_bends: torch.Tensor,
    *,
    bounds: bool = False,
) -> None:
    """What inputs and outputs of a block are to change by, before the learning rate; writes the scores of the block.

    Parameters
    ----------
    x : floating[n_groups, group, row length], inputs;  u : floating[n_groups, m, row length], outputs
    input_changes, output_changes : written, of the shapes of x and u, minus the gradient by each
    input_bends, output_bends : written, floating[n_groups, group] and [n_groups, m], of each, what decides how far its
        row is held back: the sum of weight * sigmoid(s) * sigmoid(-s) over the outputs or inputs that it met
    bounds : in place of the second derivative, sigmoid(s) * sigmoid(-s), that of the flattest parabola which touches
        the loss at s and lies above it everywhere, tanh(s / 2) / (2 s) (Jaakkola and Jordan 2000). It falls much less
        where scores are large, and so holds back vectors that went too far
    """
    import torch

    product(x, u.transpose(1, 2), block.scores)
    right = torch.sigmoid(block.scores)
    # weight * (1 - sigmoid) of what is to be told, -weight * sigmoid of negatives
    steps = torch.addcmul(block.told, block.weights, right, value=-1)
    if bounds:
        size = block.scores.abs().clamp_(min=_SMALLEST_SCORE)
        bends = torch.sigmoid(size).sub_(0.5).div_(size).mul_(block.weights)
    else:
        # the derivative of steps, weight * sigmoid * (1 - sigmoid), as one operation
        bends = torch.ops.aten.sigmoid_backward(block.weights, right)
    torch.sum(bends, 2, out=input_bends)
    torch.sum(bends, 1, out=output_bends)
    steps = steps.to(x.dtype)
    product(steps, u, input_changes)
    product(steps.transpose(1, 2), x, output_changes)


def product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    """Write the products of matrices into ``out``, which may be part of a larger array."""
    import torch

    if out.dtype == left.dtype:
        torch.bmm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _fetch(rows: Rows, ids: torch.Tensor) -> torch.Tensor:
    return rows.matrix.index_select(0, ids.view(-1)).view(*ids.shape, -1)
