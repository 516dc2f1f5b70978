"""Rows that change a block at a time, and how far those move that a block touches often.

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
# What stands for nothing, so that (1 - exp(-b)) / b needs no case of its own for 0; products of two are normal numbers.
_NEXT_TO_NOTHING = 1e-15


class Rows:
    """The rows of inputs and, behind them in one matrix, those of outputs: a block fetches and changes both at once.

    Parameters
    ----------
    inputs, outputs : floating[n_inputs, row length] and floating[n_outputs, row length], which are copied
    device : where the copy lies; None: where ``inputs`` do
    holds_back : whether rows that a block touches often are held back; else changes are added up as they are

    Attributes
    ----------
    matrix : floating[n_inputs + n_outputs, row length]
    directions : floating[row length, 2 * n], those in which inputs are pulled most, orthonormal, then those of outputs
    eigenvalues : floating[2, 2 * n + 1], how much inputs and outputs are pulled along each, and behind these the same
        for all other directions. Along the directions of outputs inputs are held back as along all others, and outputs
        along those of inputs: so one product does for both. Next to nothing before the first look
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        *,
        device: torch.device | None = None,
        holds_back: bool = True,
    ) -> None:
        import torch

        self.n_inputs, length = inputs.shape
        self.matrix = torch.empty(
            (self.n_inputs + outputs.shape[0], length), dtype=inputs.dtype, device=device or inputs.device
        )
        self.inputs.copy_(inputs)
        self.outputs.copy_(outputs)
        self._holds_back = holds_back
        self._bends = self.matrix.new_empty(self.matrix.shape[0])
        start = torch.eye(length, min(N_DIRECTIONS, length), dtype=inputs.dtype, device=self.matrix.device)
        self._start = start.expand(2, *start.shape)
        self.forget_directions()

    @property
    def inputs(self) -> torch.Tensor:
        """The rows of inputs, a view."""
        return self.matrix[: self.n_inputs]

    @property
    def outputs(self) -> torch.Tensor:
        """The rows of outputs, a view."""
        return self.matrix[self.n_inputs :]

    def forget_directions(self) -> None:
        """Begin anew: what is found next depends on what the vectors are then alone."""
        self._found = self._start
        self._n_iterations = _FIRST_ITERATIONS
        self.directions = self._side_by_side()
        self.eigenvalues = self.matrix.new_full((2, self.directions.shape[1] + 1), _NEXT_TO_NOTHING)

    def find_directions(self, met_by_inputs: torch.Tensor, met_by_outputs: torch.Tensor) -> None:
        """Where the loss of the rows is bent most.

        Parameters
        ----------
        met_by_inputs, met_by_outputs : floating[..., row length], vectors such as the rows meet
        """
        import torch

        if not self._holds_back:
            return
        squares = []
        for each in (met_by_inputs, met_by_outputs):
            met = each.reshape(-1, each.shape[-1]).to(self.matrix.dtype)
            squares.append((met.T @ met).div_(met.shape[0]))
        both = torch.stack(squares)
        found = self._found
        for _ in range(self._n_iterations):
            found = torch.linalg.qr(both @ found).Q
        self._n_iterations, self._found = _ITERATIONS, found
        self.directions = self._side_by_side()
        along = (found * (both @ found)).sum(1).clamp_(min=0)
        least = along.amin(1, keepdim=True).expand_as(along)
        growth = GROWTH / (1 + both.diagonal(dim1=1, dim2=2).sum(1)).square()
        inputs, outputs = torch.cat([along[0], least[0], least[0, :1]]), torch.cat([least[1], along[1], least[1, :1]])
        self.eigenvalues = torch.stack([inputs, outputs]) + growth[:, None]

    def _side_by_side(self) -> torch.Tensor:
        return self._found.transpose(0, 1).reshape(self._found.shape[1], -1)

    def add(
        self, ids: torch.Tensor, n_inputs: int, changes: torch.Tensor, bends: torch.Tensor, learning_rate: float
    ) -> None:
        """Add changes to rows, times the learning rate, held back as the module says.

        Parameters
        ----------
        ids : int64[..., n], contiguous, rows of the matrix, which may repeat; in the last axis ``n_inputs`` of inputs
            come first, and outputs behind them
        changes : floating[..., n, row length], contiguous, of the matrix's type; overwritten
        bends : floating[..., n], of each change the sum of weight * sigmoid(s) * sigmoid(-s), or of a bound of it,
            over the vectors that it comes from
        """
        import torch

        flat, changes_2d = ids.view(-1), changes.view(-1, changes.shape[-1])
        if self._holds_back:
            # (1 - exp(-b)) / b is expm1(f) / f with f = -b; the learning rate is in f
            self._bends.fill_(-_NEXT_TO_NOTHING)
            self._bends.index_add_(0, flat, bends.view(-1), alpha=-learning_rate)
            n, outputs = self.eigenvalues.shape[1], ids.shape[-1] - n_inputs
            values = torch.cat([self.eigenvalues[:1].expand(n_inputs, n), self.eigenvalues[1:].expand(outputs, n)])
            falls = self._bends.index_select(0, flat).view(ids.shape)[..., None] * values
            shares = falls.expm1().div_(falls).view(-1, n)
            others = shares[:, -1:]
            along = (changes_2d @ self.directions).mul_(shares[:, :-1] - others)
            changes_2d.mul_(others).addmm_(along, self.directions.T)
        self.matrix.index_add_(0, flat, changes_2d, alpha=learning_rate)
