"""A matrix whose rows change a block at a time, and how far rows move that a block touches often.

The sum of n steps from one place overshoots where n steps one after another would slow down as they come near the point
where the row's loss is smallest. Near it the loss is a parabola, with the second derivative H for all pairs of the row
in the block together. Along an eigenvector of H with eigenvalue h, n small steps go the share 1 - exp(-b) of the way,
b = learning rate times h, where their sum from one place goes b of it. So the sum of a row's changes is multiplied by
(1 - exp(-b)) / b along each eigenvector: nothing changes for a row that is hardly touched, and none overshoots however
large the block.

The second derivative of a row's loss is the sum over the vectors x that it met with scores s of

    weight * sigmoid(s) * sigmoid(-s) * x x'

It is reckoned as the sum of the factors before x x', which is the row's own, times the mean of x x' over the words of a
block, which is one for all rows of a matrix. The vectors of a model are far from round: some directions that they have
in common hold most of their length, and a row is pulled along these by all that it meets. ``N_DIRECTIONS`` of them are
followed, and all others are held back as the smallest of these is. Holding back alike in all directions makes words
lose what tells them apart: see ``docs/scale.md``, "Big blocks".

While vectors are still short they grow within the block itself, which no second derivative at its beginning knows. So
``GROWTH`` / (1 + mean |x|²)² is added to the eigenvalues of the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

N_DIRECTIONS = 8
GROWTH = 0.3
# Of the subspace iteration that finds the directions; it goes on from those of the blocks before.
_ITERATIONS = 2
_FIRST_ITERATIONS = 8


def held_back(bends: torch.Tensor) -> torch.Tensor:
    """(1 - exp(-b)) / b, 1 where b is 0; of the type of ``bends``, which are >= 0."""
    # the smallest b is not 0, so that the quotient is 1 there
    falls = bends.clamp(min=1e-30).neg_()
    return falls.expm1().div_(falls)


class Rows:
    """A matrix whose rows a block changes.

    Parameters
    ----------
    matrix : floating[n_rows, row length], changed in place
    holds_back : whether rows that a block touches often are held back; else changes are added up as they are

    Attributes
    ----------
    directions : floating[row length, n], orthonormal, those in which the rows are pulled most
    eigenvalues : floating[n + 1], how much, and behind them the same for all other directions; 0 before the first look
    """

    def __init__(self, matrix: torch.Tensor, *, holds_back: bool = True) -> None:
        import torch

        self.matrix = matrix
        self._holds_back = holds_back
        self._bends = matrix.new_zeros(matrix.shape[0])
        length = matrix.shape[1]
        self._start = torch.eye(length, min(N_DIRECTIONS, length), dtype=matrix.dtype, device=matrix.device)
        self.forget_directions()

    def forget_directions(self) -> None:
        """Begin anew: what is found next depends on what the vectors are then alone."""
        self.directions = self._start
        self.eigenvalues = self.matrix.new_zeros(self._start.shape[1] + 1)
        self._n_iterations = _FIRST_ITERATIONS

    def find_directions(self, met: torch.Tensor) -> None:
        """Where the loss of the rows is bent most.

        Parameters
        ----------
        met : floating[..., row length], vectors such as the rows meet
        """
        import torch

        if not self._holds_back:
            return
        met = met.reshape(-1, met.shape[-1]).to(self.matrix.dtype)
        squares = (met.T @ met).div_(met.shape[0])
        directions = self.directions
        for _ in range(self._n_iterations):
            directions = torch.linalg.qr(squares @ directions).Q
        self._n_iterations = _ITERATIONS
        self.directions = directions
        found = (directions * (squares @ directions)).sum(0).clamp_(min=0)
        self.eigenvalues = torch.cat([found, found.amin(0, keepdim=True)]) + GROWTH / (1 + squares.trace()).square()

    def add(self, ids: torch.Tensor, changes: torch.Tensor, bends: torch.Tensor, learning_rate: float) -> None:
        """Add changes to rows, times the learning rate, held back as the module says.

        Parameters
        ----------
        ids : int64[...], rows, which may repeat;  changes : [..., row length]
        bends : [...], of each change the sum of weight * sigmoid(s) * sigmoid(-s) over the vectors that it comes from
        """
        ids = ids.reshape(-1)
        changes = changes.reshape(ids.shape[0], -1).to(self.matrix.dtype)
        if self._holds_back:
            self._bends.zero_()
            self._bends.index_add_(0, ids, bends.reshape(-1).to(self._bends.dtype))
            shares = held_back(self._bends[ids, None] * (self.eigenvalues * learning_rate))
            others = shares[:, -1:]
            along = (changes @ self.directions).mul_(shares[:, :-1] - others)
            changes = (changes * others).addmm_(along, self.directions.T)
        self.matrix.index_add_(0, ids, changes, alpha=learning_rate)
