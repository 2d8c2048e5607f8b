"""Products of a Jacobian or a Hessian with vectors: `vjp`, `jvp`, `linearize`, `hvp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..engine.caller import user_line
from ..engine.tree import map_leaves, unflatten
from ..errors import ArgumentError
from ..tensor.tensor import Tensor
from .evaluation import Evaluation
from .grad import grad


def vjp(f: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """Value of `f` and the function that multiplies a cotangent by its Jacobian.

    Parameters
    ----------
    f : callable
        Over tensors; returns a tensor of any shape, or nested lists, tuples and dicts of them; with `has_aux` a pair of
        that and anything.
    *primals : array_like, or nested lists, tuples and dicts of them
        Where it is evaluated; all of them are differentiated.
    has_aux : bool, default False

    Returns
    -------
    value
        What `f` returns.
    pull : callable
        ``pull(cotangent)``, of the structure and shapes of the value, is a tuple of the cotangents of the primals.
    aux
        Only with `has_aux`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> value, pull = tg.vjp(lambda x: tg.sin(x) * x[0], np.array([0.0, 1.0]))
    >>> pull(np.array([1.0, 1.0]))[0].round(3).tolist()
    [0.841, 0.0]
    """
    run = Evaluation(f, primals, {}, range(len(primals)), has_aux)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        return tuple(run.by_argument(run.pull(run.like(cotangent, run.structure, run.outputs, "the cotangent"))))

    return (run.value(), pull, run.auxiliary()) if has_aux else (run.value(), pull)


def linearize(f: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """Value of `f` and the linear function that its Jacobian is; `f` itself is evaluated once.

    Parameters
    ----------
    f : callable
        As for `vjp`.
    *primals : array_like, or nested lists, tuples and dicts of them
    has_aux : bool, default False

    Returns
    -------
    value
    push : callable
        ``push(*tangents)``, of the structures and shapes of the primals, is the tangent of the value.
    aux
        Only with `has_aux`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> value, push = tg.linearize(lambda x: x ** 3, 2.0)
    >>> float(value), float(push(1.0)), float(push(0.5))
    (8.0, 12.0, 6.0)
    """
    run = Evaluation(f, primals, {}, range(len(primals)), has_aux)

    def push(*tangents: Any) -> Any:
        return unflatten(run.structure, run.push(_like_primals(run, tangents)))

    return (run.value(), push, run.auxiliary()) if has_aux else (run.value(), push)


def _like_primals(run: Evaluation, tangents: Sequence[Any]) -> list[Tensor | None]:
    """The leaves of the tangents of all primals."""
    if len(tangents) != len(run.structures):
        raise ArgumentError(f"{user_line()}: {len(tangents)} tangents do not fit {len(run.structures)} primals")
    found, rest = [], list(run.sources)
    for k, (tangent, structure, count) in enumerate(zip(tangents, run.structures, run.counts)):
        found += run.like(tangent, structure, rest[:count], f"tangent {k}")
        rest = rest[count:]
    return found


def jvp(f: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """Value of `f`, and its derivative along a direction: forward mode.

    Parameters
    ----------
    f : callable
        As for `vjp`.
    primals : tuple or list
        The arguments.
    tangents : tuple or list
        The direction, of the structures and shapes of the primals.
    has_aux : bool, default False

    Returns
    -------
    value, tangent
        And what `f` returned beside its value, with `has_aux`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> value, tangent = tg.jvp(lambda x, y: x * y, (3.0, 4.0), (1.0, 0.5))
    >>> float(value), float(tangent)
    (12.0, 5.5)
    """
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise ArgumentError(f"{user_line()}: jvp: {what} must be a tuple or list of arguments, not "
                                f"{type(given).__name__}")
    value, push, *aux = linearize(f, *primals, has_aux=has_aux)
    return (value, push(*tangents), *aux)


def hvp(f: Callable, primals: Any, tangents: Any) -> Any:
    """Product of the Hessian of a scalar function with a vector: the derivative of the gradient along a direction.

    Parameters
    ----------
    f : callable
        Returns a scalar.
    primals : array_like, or a tuple or list of arguments
    tangents : array_like, or a tuple or list
        Of the structure and shapes of `primals`.

    Returns
    -------
    array, or a tuple or list
        In the structure of `primals`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.hvp(lambda x: (x ** 3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """
    if not isinstance(primals, (tuple, list)):
        return jvp(grad(f), (primals,), (tangents,))[1]
    found = jvp(grad(f, tuple(range(len(primals)))), primals, tangents)[1]
    return found if isinstance(primals, tuple) else list(found)


def stop_gradient(x: Any) -> Any:
    """`x` as a constant: what is computed from the result has no derivative by `x`.

    Parameters
    ----------
    x : Tensor, or nested lists, tuples and dicts of tensors

    Examples
    --------
    >>> import tapegrad as tg
    >>> float(tg.grad(lambda x: x * tg.stop_gradient(x))(3.0))
    3.0
    """
    return map_leaves(lambda t: t.detach() if isinstance(t, Tensor) else t, x)


