"""One block of skip-gram or CBOW: the losses of its pairs, and the change of each row.

    loss = sum over pairs (x, u) of  -log sigmoid(x · u) - K/M sum over the group's negatives k of log sigmoid(-x · u_k)

x is the vector of a word of the window (skip-gram) or the mean of the window (CBOW), u the context vector of the centre
word, u_k those of the M negatives of its group other than the centre word. Mikolov et al. 2013b, eq. 4; negatives
shared by neighbouring words after Ji et al. 2016, "Parallelizing word2vec in shared and distributed memory".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vecmill.gpu.block import Block, Rows

if TYPE_CHECKING:
    import torch


class StepSettings(NamedTuple):
    """What a step needs to know beside its block.

    Attributes
    ----------
    negative_weight : K / M, what one of the shared negatives counts
    curvature : see ``vecmill.gpu.block``
    dtype : of products
    exact_gradient : CBOW: the words of a window get 1/n of the change of their mean, else all of it; with subwords the
        same of the rows of an input
    """

    negative_weight: float
    curvature: float
    dtype: torch.dtype
    exact_gradient: bool


class Learned(NamedTuple):
    """What inputs and outputs of a block are to change by, before the learning rate.

    Attributes
    ----------
    loss : float64, a sum over pairs
    inputs : [n_groups, n, row length], minus the gradient by each input;  outputs : [n_groups, m, row length]
    input_bends, output_bends : [n_groups, n] and [n_groups, m], of each, what decides how far its row is held back: the
        sum of weight * sigmoid(s) * sigmoid(-s) * (|vector|² + 1) over the outputs or inputs that it met
    """

    loss: torch.Tensor
    inputs: torch.Tensor
    outputs: torch.Tensor
    input_bends: torch.Tensor
    output_bends: torch.Tensor


def skipgram_step(
    block: Block, centers: Rows, contexts: Rows, learning_rate: float, settings: StepSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change both matrices; returns loss (float64) and number of pairs (int64).

    The words of a group are inputs, those around them the centre words whose windows they lie in.
    """
    import torch

    learned = learn_pairs(centers.matrix[block.words], block, contexts, settings)
    centers.add(block.words, learned.inputs, learned.input_bends, learning_rate, settings.curvature)
    outputs = torch.cat([block.around, block.negatives], 1)
    contexts.add(outputs, learned.outputs, learned.output_bends, learning_rate, settings.curvature)
    return learned.loss, block.pairs.sum()


def learn_pairs(inputs: torch.Tensor, block: Block, contexts: Rows, settings: StepSettings) -> Learned:
    """Each word of a group against the words that it pairs with, and against the group's negatives.

    Parameters
    ----------
    inputs : float32[n_groups, group, row length], a vector for each word of the groups
    """
    import torch

    dtype, full, n_around = settings.dtype, contexts.matrix.dtype, block.around.shape[1]
    x = inputs.to(dtype)
    u = contexts.matrix[torch.cat([block.around, block.negatives], 1)].to(dtype)
    scores = (x @ u.transpose(1, 2)).to(full)
    pairs = block.pairs.to(dtype)
    differ = (block.around[:, :, None] != block.negatives[:, None, :]).to(dtype)
    # whole numbers up to twice the window, which bfloat16 has up to 256
    weights = torch.cat([pairs.to(full), settings.negative_weight * (pairs @ differ).to(full)], 2)
    # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how wrong the word is told from the others
    scores[:, :, n_around:].neg_()
    loss = _loss(scores, weights)
    wrong = torch.sigmoid(-scores)
    steps = weights * wrong
    bends = (steps * (1 - wrong)).to(dtype)
    input_bends, output_bends = bends @ _squares(u), bends.transpose(1, 2) @ _squares(x)
    steps[:, :, n_around:].neg_()
    steps = steps.to(dtype)
    return Learned(loss, steps @ u, steps.transpose(1, 2) @ x, input_bends.squeeze(2), output_bends.squeeze(2))


def cbow_step(
    block: Block, centers: Rows, contexts: Rows, learning_rate: float, settings: StepSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change both matrices; returns loss (float64) and number of centre words with a window (int64).

    The words of a group are the centre words, and the means of those around them the inputs.
    """
    import torch

    full = centers.matrix.dtype
    pairs = block.pairs.to(full)
    sizes = pairs.sum(2, keepdim=True)
    shares = pairs / sizes.clamp(min=1)
    v = centers.matrix[block.around]
    means = (shares.to(settings.dtype) @ v.to(settings.dtype)).to(full)
    learned = learn_means(means, sizes.squeeze(2) > 0, block, contexts, settings)
    reaching = shares if settings.exact_gradient else pairs
    changes = reaching.transpose(1, 2).to(settings.dtype) @ learned.inputs.to(settings.dtype)
    bends = (reaching.transpose(1, 2) @ learned.input_bends[:, :, None].to(full)).squeeze(2)
    centers.add(block.around, changes, bends, learning_rate, settings.curvature)
    outputs = torch.cat([block.words, block.negatives], 1)
    contexts.add(outputs, learned.outputs, learned.output_bends, learning_rate, settings.curvature)
    return learned.loss, (sizes > 0).sum()


def learn_means(
    inputs: torch.Tensor, counts: torch.Tensor, block: Block, contexts: Rows, settings: StepSettings
) -> Learned:
    """Each input against one centre word, and against the group's negatives.

    Parameters
    ----------
    inputs : float32[n_groups, group, row length], one for each word of the groups
    counts : bool[n_groups, group], whether it has a window
    """
    import torch

    dtype, full = settings.dtype, contexts.matrix.dtype
    h = inputs.to(dtype)
    u, negatives = contexts.matrix[block.words].to(dtype), contexts.matrix[block.negatives].to(dtype)
    right = counts.to(full)
    differ = block.words[:, :, None] != block.negatives[:, None, :]
    weights = settings.negative_weight * right[:, :, None] * differ
    score, scores = (h * u).sum(2).to(full), -(h @ negatives.transpose(1, 2)).to(full)
    loss = _loss(score, right) + _loss(scores, weights)
    wrong, wrongs = torch.sigmoid(-score), torch.sigmoid(-scores)
    step, steps = (right * wrong).to(dtype)[:, :, None], (weights * wrongs).to(dtype)
    bend, bends = step * (1 - wrong).to(dtype)[:, :, None], steps * (1 - wrongs).to(dtype)
    squares = _squares(h)
    input_bends = bend * _squares(u) + bends @ _squares(negatives)
    output_bends = torch.cat([bend * squares, bends.transpose(1, 2) @ squares], 1)
    changes = step * u - steps @ negatives
    outputs = torch.cat([step * h, -(steps.transpose(1, 2) @ h)], 1)
    return Learned(loss, changes, outputs, input_bends.squeeze(2), output_bends.squeeze(2))


def _squares(vectors: torch.Tensor) -> torch.Tensor:
    """|v|² + 1 of each vector, [n_groups, n, 1]."""
    return vectors.square().sum(2, keepdim=True) + 1


def _loss(scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weights * -log sigmoid(scores), float64; not finite where a score is not."""
    import torch

    return -(torch.nn.functional.logsigmoid(scores) * weights).sum(dtype=torch.float64)
