"""Whole Jacobians and Hessians: products with all unit vectors at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.tree import unflatten
from ..errors import GradientError
from ..functions.constants import ones_like
from ..functions.elementwise import add, apply_unary
from ..functions.layout import broadcast_to, concatenate, moveaxis, reshape
from ..functions.padding import pad
from ..ops.elementwise import UNARY
from ..tape.state import state
from ..tensor.tensor import Tensor
from .evaluation import Evaluation
from .grad import grad
from .transformation import Argnums, Transformation

FORWARD, REVERSE = "forward", "reverse"
#: bytes that a Jacobian may take beside its result, more or less: products with unit vectors run in chunks
AT_ONCE = 64 << 20


class Jacobian(Transformation):
    """``jacobian(f)``, `jacfwd`, `jacrev`; call it, nest it, or give it to `compile`."""

    def __init__(self, function: Callable, argnums: int | Sequence[int], has_aux: bool, mode: str | None) -> None:
        super().__init__(function, argnums, has_aux, mode)
        self._argnums, self._has_aux, self._mode = Argnums(argnums), has_aux, mode

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The Jacobian at these arguments."""
        positions, again = self._argnums.positions(len(args))
        run = Evaluation(self._function, args, kwargs, positions, self._has_aux)
        run.check_outputs()
        inputs, outputs = (sum([t.size for t in tensors]) for tensors in (run.sources, run.outputs))
        mode = self._mode or (FORWARD if inputs < outputs else REVERSE)
        with run.walking():
            blocks = (_forward if mode == FORWARD else _reverse)(run)
            given = [[run.given(block) for block in row] for row in blocks]
        by_output = [self._argnums.arranged(run.by_argument(row), again) for row in given]
        jacobian = unflatten(run.structure, by_output)
        return (jacobian, run.auxiliary()) if self._has_aux else jacobian


def _products(run: Evaluation, reverse: bool) -> list[Tensor]:
    """`Evaluation.products` with all unit vectors of the outputs, or of the sources; in chunks if they are many."""
    like = run.outputs if reverse else run.sources
    total, rows, single = sum([t.size for t in like]), run.rows_at_once(AT_ONCE), len(like) == 1
    if total <= rows:
        return run.products(_units(like, 0, total), reverse, 0 if single else None)
    eye = Tensor(np.eye(rows, dtype=run.dtype))
    if state.capture is not None and run.sources[0].size:  # computed in the recording, which would keep constants
        eye = add(eye, apply_unary(UNARY["nothing"], reshape(run.sources[0], (-1,))[:1])).detach()
    parts = [run.products(_units(like, first, min(first + rows, total), eye), reverse, first if single else None)
             for first in range(0, total, rows)]
    return [concatenate(found) for found in zip(*parts)]


def _units(like: Sequence[Tensor], begin: int, end: int, eye: Tensor | None = None) -> list[Tensor]:
    """Some of all unit vectors of some tensors together, along a leading axis; made of `eye`, if it is given."""
    count, first, found = end - begin, 0, []
    for t in like:
        low, high = max(begin, first), min(end, first + t.size)
        if eye is None:
            whole = Tensor(np.eye(count, t.size, begin - first, t.dtype))
        elif high <= low:
            whole = broadcast_to(Tensor(np.zeros((), t.dtype)), (count, t.size))
        else:
            n = high - low
            whole = pad(eye[:n, :n], ((low - begin, end - high), (low - first, first + t.size - high)))
        found.append(reshape(whole, (count, *t.shape)))
        first += t.size
    return found


def _reverse(run: Evaluation) -> list[list[Tensor]]:
    """By output and source a block of the Jacobian, from the cotangents of all unit vectors."""
    rows, blocks, first = _products(run, True), [], 0
    for t in run.outputs:
        blocks.append([reshape(r[first:first + t.size], (*t.shape, *s.shape)) for r, s in zip(rows, run.sources)])
        first += t.size
    return blocks


def _forward(run: Evaluation) -> list[list[Tensor]]:
    """The same from the tangents of all unit vectors."""
    blocks = []
    for t, c in zip(run.outputs, _products(run, False)):
        first, row = 0, []
        for s in run.sources:
            part = moveaxis(reshape(c[first:first + s.size], (s.size, t.size)), 0, 1)
            row.append(reshape(part, (*t.shape, *s.shape)))
            first += s.size
        blocks.append(row)
    return blocks


class ElementwiseGrad(Transformation):
    """``elementwise_grad(f)``; call it, nest it, or give it to `compile`."""

    def __init__(self, function: Callable, argnums: int | Sequence[int]) -> None:
        super().__init__(function, argnums)
        self._argnums = Argnums(argnums)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The derivatives at these arguments."""
        positions, again = self._argnums.positions(len(args))
        run = Evaluation(self._function, args, kwargs, positions)
        run.check_outputs()
        for t in run.outputs:
            if any(s.shape != t.shape for s in run.sources):
                given = ", ".join(str(list(s.shape)) for s in run.sources)
                raise GradientError(f"{user_line()}: elementwise_grad: {self._name}() gives shape "
                                    f"{list(t.shape)} from arguments of {given}; it must act on each element by itself")
        found = run.pull([ones_like(t) for t in run.outputs])
        return self._argnums.arranged(run.by_argument(found), again)


def jacrev(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Jacobian:
    """The Jacobian of `f` in reverse mode, a row for each element of the result; see `jacobian`."""
    return Jacobian(f, argnums, has_aux, REVERSE)


def jacfwd(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Jacobian:
    """The Jacobian of `f` in forward mode, a column for each element of the arguments; see `jacobian`."""
    return Jacobian(f, argnums, has_aux, FORWARD)


def jacobian(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Jacobian:
    """A function that returns the Jacobian of `f`, in forward or reverse mode, whichever takes fewer products.

    Parameters
    ----------
    f : callable
        Over tensors; returns a tensor of any shape, or nested lists, tuples and dicts of them; with `has_aux` a pair of
        that and anything.
    argnums : int or tuple of int, default 0
        Positional arguments by which to differentiate; each an array or nested lists, tuples and dicts of arrays.
    has_aux : bool, default False

    Returns
    -------
    callable
        In the structure of the result that of the argument, of arrays of shape ``(*result, *argument)``; a tuple of
        these if `argnums` is one; a pair of that and the auxiliary result with `has_aux`.

    Notes
    -----
    The products with unit vectors run at once, or in chunks of about 64 MB where they would take more.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.jacobian(lambda x: tg.stack([x[0] * x[1], x[0] + x[1]]))(np.array([2.0, 3.0])).tolist()
    [[3.0, 2.0], [1.0, 1.0]]
    """
    return Jacobian(f, argnums, has_aux, None)


def hessian(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Jacobian:
    """A function that returns the matrix of second derivatives of a scalar `f`: forward mode over reverse mode.

    Parameters
    ----------
    f : callable
        Returns a scalar; with `has_aux` a pair (scalar, anything).
    argnums : int or tuple of int, default 0
    has_aux : bool, default False

    Returns
    -------
    callable
        In the structure of the argument, again in its structure, arrays of shape ``(*argument, *argument)``; nested
        tuples if `argnums` is one.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([2.0, 3.0])).tolist()
    [[6.0, 4.0], [4.0, 0.0]]
    """
    return Jacobian(grad(f, argnums, has_aux=has_aux), argnums, has_aux, FORWARD)


def elementwise_grad(f: Callable, argnums: int | Sequence[int] = 0) -> ElementwiseGrad:
    """The derivative of a function that acts on each element by itself, for all elements at once.

    Parameters
    ----------
    f : callable
        Its result has the shape of the argument.
    argnums : int or tuple of int, default 0

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.elementwise_grad(tg.elementwise_grad(lambda x: x ** 3))(np.array([1.0, 2.0])).tolist()
    [6.0, 12.0]
    """
    return ElementwiseGrad(f, argnums)
