"""Transformations of functions, in JAX's names: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.tree import flatten, map_leaves, own, unflatten
from ..errors import ArgumentError, DtypeError, GradientError, TapegradError
from ..program.capture import Capture
from ..program.running.program import Program, scalar_seed
from ..tape.history import differentiating, is_argument, leave
from ..tape.nodes import Leaf
from ..tape.reverse import backward
from ..tape.state import enable_grad, state
from ..tensor.arrays import FLOAT32, FLOAT64, foreign_array
from ..tensor.copies import by_name_or
from ..tensor.tensor import Tensor


class ValueAndGrad:
    """``value_and_grad(f)`` or ``grad(f)``; call it, or give it to `compile`."""

    def __init__(self, function: Callable, argnums: int | Sequence[int], has_aux: bool, gradient_only: bool) -> None:
        if not callable(function):
            raise DtypeError(f"grad needs a function, not {type(function).__name__}")
        numbers = (argnums,) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
        if not numbers or not all(isinstance(k, (int, np.integer)) for k in numbers):
            raise ArgumentError(f"argnums must be an integer or a tuple of integers, not {argnums!r}")
        self._function, self._numbers, self._single = function, numbers, isinstance(argnums, (int, np.integer))
        self._has_aux, self._gradient_only = has_aux, gradient_only
        update_wrapper(self, function, updated=())

    def __reduce__(self) -> Any:
        argnums = self._numbers[0] if self._single else self._numbers
        return by_name_or(self, (type(self), (self._function, argnums, self._has_aux, self._gradient_only)))

    def _positions(self, count: int) -> tuple[list[int], list[int] | None]:
        """The distinct positions to differentiate; and for each of `argnums` its index in them, if some occur twice."""
        for k in self._numbers:
            if not -count <= k < count:
                raise ArgumentError(f"argnums {k}: the function was called with {count} positional arguments")
        named = [k % count for k in self._numbers]
        positions = list(dict.fromkeys(named))
        return positions, None if len(positions) == len(named) else [positions.index(k) for k in named]

    def _split(self, result: Any) -> tuple[Any, Any]:
        if not self._has_aux:
            return result, None
        if not isinstance(result, tuple) or len(result) != 2:
            raise GradientError("with has_aux=True the function must return a pair (value, auxiliary)")
        return result

    def _arranged(self, value: Any, aux: Any, gradients: list[Any], again: list[int] | None) -> Any:
        """The result; `again` gives for each of `argnums` the index of its gradient, if some occur twice."""
        if again is not None:  # each with an array of its own
            gradients = [gradients[k] if k not in again[:at] else map_leaves(np.copy, gradients[k])
                         for at, k in enumerate(again)]
        gradient = gradients[0] if self._single else tuple(gradients)
        head = (value, aux) if self._has_aux else value
        return ((gradient, aux) if self._has_aux else gradient) if self._gradient_only else (head, gradient)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Value and gradient at these arguments."""
        if state.capture is not None:
            raise GradientError(f"{user_line()}: a derivative within a function that is being recorded is not "
                                "available; record the derivative itself, as tg.compile(tg.grad(f)) does")
        positions, again = self._positions(len(args))
        trees = [flatten(a) for a in args]
        dtype = _dtype_of([leaf for k in positions for leaf in trees[k][0]])
        chosen: dict[int, list[Tensor]] = {}
        arguments = list(args)
        for k in positions:
            leaves = [_leaf(x, dtype, k) for x in trees[k][0]]
            arguments[k] = unflatten(trees[k][1], leaves)
            chosen[k] = flatten(arguments[k])[0]
        wanted = {t.node for leaves in chosen.values() for t in leaves}
        with enable_grad(), differentiating(wanted):
            value, aux = self._split(self._function(*arguments, **kwargs))
        if any(isinstance(t, Tensor) and is_argument(t) for t in (value, *flatten(aux)[0])):
            raise GradientError(f"{user_line()}: derivatives of derivatives are not available: this function depends "
                                "on an argument by which another one is being differentiated; detach() what it uses "
                                "of it if that is meant")
        value = scalar_seed(value, f"{getattr(self._function, '__name__', 'the function')}()")
        if value.requires_grad:
            if isinstance(value.node, Leaf):
                value.backward()
            else:
                backward(value.node.tape, value.node, value.offset, value.shape, value.strides,
                         np.ones(value.shape, value.dtype), False, wanted)
        gradients = [unflatten(trees[k][1], [_gradient_array(t) for t in leaves]) for k, leaves in chosen.items()]
        return self._arranged(_plain(value)[()], map_leaves(_plain, aux), gradients, again)

    def trace(self, capture: Capture, inputs: list[Tensor], structure: Any) -> tuple[Program, Callable]:
        """Record for `compile`: the program, and a function that presents its results."""
        args, kwargs = unflatten(structure, inputs)
        positions, again = self._positions(len(args))
        chosen, structures = [], []
        for k in positions:
            leaves, tree = flatten(args[k])  # before the call, which may change its containers
            for t in leaves:
                if not t.is_floating:
                    raise DtypeError(f"argument {k} holds {t.dtype} data, which has no gradient")
                t._requires_grad = True  # symbolic, so not by `requires_grad_`
            chosen.append(leaves)
            structures.append(tree)
        capture.trained = set()
        result, aux = self._split(self._function(*args, **kwargs))
        value = scalar_seed(result, f"{getattr(self._function, '__name__', 'the function')}()")
        aux_leaves, aux_structure = flatten(aux)
        aux_tensors = [t for t in aux_leaves if isinstance(t, Tensor)]
        differentiable = value.is_symbolic and value.requires_grad
        program = Program(capture, inputs, [value, *aux_tensors], value if differentiable else None,
                          [t for leaves in chosen for t in leaves])

        def present(program: Program) -> Any:
            number = program.first_output.copy()[()]
            extra = [program.array(t).copy() if isinstance(t, Tensor) else own(t) for t in aux_leaves]
            gradients = [unflatten(tree, [program.gradient(t) if differentiable else np.zeros(t.shape, t.dtype)
                                          for t in leaves]) for tree, leaves in zip(structures, chosen)]
            return self._arranged(number, unflatten(aux_structure, extra), gradients, again)

        return program, present


def _plain(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _gradient_array(t: Tensor) -> np.ndarray:
    gradient = t.grad
    return np.zeros(t.shape, t.dtype) if gradient is None else gradient.numpy()


def _dtype_of(leaves: Sequence[Any]) -> np.dtype:
    """The float dtype of the arguments to differentiate: float64 unless all are float32."""
    dtypes = [leaf.dtype if isinstance(leaf, Tensor) else np.asarray(leaf).dtype for leaf in leaves]
    return FLOAT32 if dtypes and all(d.kind == "f" and d.itemsize <= 4 for d in dtypes) else FLOAT64


def _leaf(value: Any, dtype: np.dtype, position: int) -> Tensor:
    if isinstance(value, Tensor) and (value.is_symbolic or not value.is_leaf):
        raise GradientError("derivatives of derivatives are not available: a recorded tensor was given to grad or "
                            "value_and_grad")
    if isinstance(value, Tensor):
        leave(value, "a second derivative")
        value = value.detach()
    array = foreign_array(value)
    if array.dtype.kind != "f":
        raise DtypeError(f"argument {position} holds {array.dtype} data, which has no gradient; make it float, or "
                         "leave it out of argnums")
    return Tensor(array, dtype, True)


def value_and_grad(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> ValueAndGrad:
    """A function that returns the value of `f` and its gradient.

    Parameters
    ----------
    f : callable
        Returns a scalar `Tensor`; with `has_aux` a pair (scalar, anything).
    argnums : int or tuple of int, default 0
        Positional arguments by which to differentiate; each an array or nested lists, tuples and dicts of arrays.
    has_aux : bool, default False

    Returns
    -------
    callable
        ``(value, gradient)``; the gradient has the structure of the argument, and is a tuple if `argnums` is one.

    Notes
    -----
    Value and gradient are of the argument's dtype: float32 only where all that is differentiated is. SciPy's minimisers
    keep the dtype of the start, and not all of them work in float32 (SciPy 1.17, ``minimize(..., jac=True)``):

    - ``method="Newton-CG"`` takes differences of gradients 1e-8 apart, which vanish in float32: it stops at or near the
      start, and may report success. Nothing but float64 throughout helps.
    - ``"TNC"`` and ``"SLSQP"`` raise: "Buffer dtype mismatch", "All inputs to slsqp must be of type numpy.float64".
      The start must be float64, and for SLSQP the gradient too.
    - ``"CG"`` and ``"BFGS"`` reach the minimum to float32 precision, and may then report "precision loss".

    So start in float64, ``x0.astype(np.float64)``. To compute in float32 all the same, convert at both ends:
    ``value, g = f(x.astype(np.float32))``, then return ``float(value), g.astype(np.float64)``.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> f = lambda w, x: tg.sum(tg.tanh(w * x))
    >>> value, (gw, gx) = tg.value_and_grad(f, argnums=(0, 1))(np.zeros(2), np.ones(2))
    >>> gw.tolist(), gx.tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    return ValueAndGrad(f, argnums, has_aux, False)


def grad(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> ValueAndGrad:
    """A function that returns the gradient of `f`; see `value_and_grad`.

    Notes
    -----
    Where a function has no derivative, the gradient is one of its subgradients, PyTorch's: 0 at 0 of ``abs``, ``relu``
    and norms; 1 on a bound of ``clip`` by numbers; equal shares where elements tie for ``max``, ``min``, ``maximum``,
    ``minimum`` and the norm of order inf, the first of them in ``max_pool``. ``sqrt`` has slope inf at 0, so that
    ``sqrt(sum(x * x))`` is NaN at 0, where ``norm(x)`` is 0. Of `where`, see there.

    Examples
    --------
    >>> import tapegrad as tg
    >>> float(tg.grad(lambda x: x ** 3)(2.0))
    12.0
    """
    return ValueAndGrad(f, argnums, has_aux, True)


class GradcheckError(TapegradError, AssertionError):
    """An adjoint that disagrees with finite differences."""


def gradcheck(f: Callable, *args: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True) -> bool:
    """Compare the gradients of `f` with central differences, in float64.

    Parameters
    ----------
    f : callable
        Over tensors; returns a tensor of any shape, or several. Outputs are weighted by fixed random numbers.
    *args : array_like
        Float arguments are checked; integer and bool ones are passed as they are.
    eps : float
        Step of the central differences.
    atol, rtol : float
        A gradient element passes if it is within ``atol + rtol * |difference|``.
    raise_exception : bool, default True
        Raise `GradcheckError` with a report of the worst mismatch; else return False.

    Returns
    -------
    bool

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gradcheck(tg.tanh, [0.3, -1.2])
    True
    """
    arrays = [np.array(a.detach()._array() if isinstance(a, Tensor) else a) for a in args]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    checked = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not checked:
        raise DtypeError("gradcheck: no argument is a float array")
    weights: list[np.ndarray] = []

    def weighted(*values: Any) -> Tensor:
        outputs = [t for t in flatten(f(*values))[0] if isinstance(t, Tensor) and t.is_floating]
        if not outputs:
            raise GradientError("gradcheck: the function returned no float tensor")
        if not weights:
            rng = np.random.default_rng(0)
            weights.extend(rng.uniform(0.5, 1.5, t.shape) for t in outputs)
        total = (outputs[0] * weights[0]).sum()
        for t, w in zip(outputs[1:], weights[1:]):
            total = total + (t * w).sum()
        return total

    _, gradients = value_and_grad(weighted, tuple(checked))(*arrays)
    worst: tuple[float, str] = (0.0, "")
    for k, gradient in zip(checked, gradients):
        for index in np.ndindex(arrays[k].shape):
            def at(shift: float, k: int = k, index: tuple = index) -> float:
                moved = [a.copy() for a in arrays]
                moved[k][index] += shift
                tensors = [Tensor(a) for a in moved]
                before, state.grad_enabled = state.grad_enabled, False
                try:
                    return weighted(*tensors).item()
                finally:
                    state.grad_enabled = before

            difference = (at(eps) - at(-eps)) / (2 * eps)
            error = abs(gradient[index] - difference)
            excess = error / (atol + rtol * abs(difference))
            if not excess <= 1.0 and (not excess <= worst[0] or not worst[1]):
                worst = (excess, f"argument {k} at {list(index)}: adjoint {gradient[index]:.9g}, central difference "
                                 f"{difference:.9g}, off by {error:.3g} (allowed {atol + rtol * abs(difference):.3g})")
    if worst[1] and raise_exception:
        raise GradcheckError(f"gradcheck: {worst[1]}")
    return not worst[1]
