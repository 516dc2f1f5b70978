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


class Learned(NamedTuple):
    """What inputs and outputs of a block are to change by, before the learning rate.

    Attributes
    ----------
    loss : float64, a sum over pairs
    inputs : [n_groups, n, row length], minus the gradient by each input;  outputs : [n_groups, m, row length]
    input_bends, output_bends : [n_groups, n] and [n_groups, m], of each, what decides how far its row is held back: the
        sum of weight * sigmoid(s) * sigmoid(-s) over the outputs or inputs that it met
    met_by_inputs, met_by_outputs : [n_groups, m or n, row length], the vectors themselves
    """

    loss: torch.Tensor
    inputs: torch.Tensor
    outputs: torch.Tensor
    input_bends: torch.Tensor
    output_bends: torch.Tensor
    met_by_inputs: torch.Tensor
    met_by_outputs: torch.Tensor


def skipgram_step(
    block: Block, centers: Rows, contexts: Rows, learning_rate: float, settings: StepSettings, *, look: bool = False
) -> torch.Tensor:
    """Change both matrices; returns the loss (float64).

    The words of a group are inputs, those around them the centre words whose windows they lie in.

    Parameters
    ----------
    look : look anew for the directions in which changes are held back most, with the vectors of this block
    """
    learned = learn_pairs(centers.matrix[block.words], block, contexts, settings)
    if look:
        find_directions(learned, centers, contexts)
    centers.add(block.words, learned.inputs, learned.input_bends, learning_rate)
    contexts.add(block.outputs, learned.outputs, learned.output_bends, learning_rate)
    return learned.loss


def find_directions(learned: Learned, inputs: Rows, contexts: Rows) -> None:
    """Both matrices look at what their rows met in a block."""
    inputs.find_directions(learned.met_by_inputs)
    contexts.find_directions(learned.met_by_outputs)


def learn_pairs(inputs: torch.Tensor, block: Block, contexts: Rows, settings: StepSettings) -> Learned:
    """Each word of a group against the words that it pairs with, and against the group's negatives.

    Parameters
    ----------
    inputs : float32[n_groups, group, row length], a vector for each word of the groups
    """
    import torch

    dtype, full, n_around = settings.dtype, contexts.matrix.dtype, block.around.shape[1]
    x = inputs.to(dtype)
    u = contexts.matrix[block.outputs].to(dtype)
    scores = (x @ u.transpose(1, 2)).to(full)
    # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how surely the word is told from the others
    scores[:, :, n_around:].neg_()
    loss = _loss(scores, block.weights)
    right = torch.sigmoid(scores)
    steps = torch.addcmul(block.weights, block.weights, right, value=-1)
    bends = steps * right
    steps[:, :, n_around:].neg_()
    steps = steps.to(dtype)
    return Learned(loss, steps @ u, steps.transpose(1, 2) @ x, bends.sum(2), bends.sum(1), u, x)


def cbow_step(
    block: Block, centers: Rows, contexts: Rows, learning_rate: float, settings: StepSettings, *, look: bool = False
) -> torch.Tensor:
    """Change both matrices; returns the loss (float64).

    The words of a group are the centre words, and the means of those around them the inputs; ``look`` as in
    :func:`skipgram_step`.
    """
    pairs, dtype = block.pairs, settings.dtype
    shares = pairs / pairs.sum(2, keepdim=True).clamp_(min=1)
    means = shares.to(dtype) @ centers.matrix[block.around].to(dtype)
    learned = learn_means(means, block, contexts, settings)
    if look:
        find_directions(learned, centers, contexts)
    reaching = (shares if settings.exact_gradient else pairs).transpose(1, 2)
    changes = reaching.to(dtype) @ learned.inputs
    bends = (reaching @ learned.input_bends[:, :, None]).squeeze(2)
    centers.add(block.around, changes, bends, learning_rate)
    contexts.add(block.outputs, learned.outputs, learned.output_bends, learning_rate)
    return learned.loss


def learn_means(inputs: torch.Tensor, block: Block, contexts: Rows, settings: StepSettings) -> Learned:
    """Each input against one centre word, and against the group's negatives.

    Parameters
    ----------
    inputs : floating[n_groups, group, row length], one for each word of the groups
    """
    import torch

    dtype, full, group = settings.dtype, contexts.matrix.dtype, block.words.shape[1]
    h, u = inputs.to(dtype), contexts.matrix[block.outputs].to(dtype)
    own, negatives = u[:, :group], u[:, group:]
    scores = torch.cat([(h * own).sum(2, keepdim=True), -(h @ negatives.transpose(1, 2))], 2).to(full)
    loss = _loss(scores, block.weights)
    right = torch.sigmoid(scores)
    steps = torch.addcmul(block.weights, block.weights, right, value=-1)
    bends = steps * right
    steps = steps.to(dtype)
    step, steps = steps[:, :, :1], steps[:, :, 1:]
    output_bends = torch.cat([bends[:, :, 0], bends[:, :, 1:].sum(1)], 1)
    changes = step * own - steps @ negatives
    outputs = torch.cat([step * h, -(steps.transpose(1, 2) @ h)], 1)
    return Learned(loss, changes, outputs, bends.sum(2), output_bends, u, h)


def _loss(scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weights * -log sigmoid(scores), float64; not finite where a score is not."""
    import torch

    return -(torch.nn.functional.logsigmoid(scores) * weights).sum(dtype=torch.float64)
