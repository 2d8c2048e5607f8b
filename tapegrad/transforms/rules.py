"""`custom_vjp` and `custom_jvp`: a function whose derivative its author gives, over tensor functions.

The result carries the rule: where a derivative is composed of ops, the graph asks it (`Rule`). For the compiled reverse
walk, which calls no Python, the rule is recorded beside the value as a linear function of a direction that is zero; the
value does not read it, but its derivative is that function's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import update_wrapper
from typing import Any

from ..engine.caller import user_line
from ..engine.tree import flatten, map_leaves, unflatten
from ..errors import ArgumentError, GradientError
from ..functions.constants import zeros_like
from ..functions.elementwise import apply_binary, apply_unary
from ..ops.elementwise import BINARY, UNARY
from ..tape.state import enable_grad, no_grad, state
from ..tensor.copies import by_name_or
from ..tensor.recording import lift
from ..tensor.tensor import Tensor
from .graph import Graph
from .reading import attach
from .variables import fresh
from .vmap import mapped, with_axis


class Rule:
    """The derivative of one of a function's results, as its author gives it.

    Parameters
    ----------
    function : _Custom
    args : sequence
        Its arguments, as it was called.
    number : int
        Of the result among the leaves of what it returns.
    """

    def __init__(self, function: _Custom, args: Sequence[Any], number: int) -> None:
        self.function, self.args, self.number = function, args, number
        self.primals = function.primals(args)

    @property
    def operands(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return [t for t in flatten(tuple(self.args))[0] if isinstance(t, Tensor)]

    def pull(self, g: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The primals, and what each contributes to its cotangent."""
        for t, c in zip(self.primals, self._pulled(g)):
            if c is not None:
                yield t, c

    def push(self, tangent_of: Callable[[Tensor], Tensor | None]) -> Tensor | None:
        """The tangent of the result, from those of the primals."""
        tangents = [tangent_of(t) for t in self.primals]
        if all(d is None for d in tangents):
            return None
        return self._pushed([zeros_like(t) if d is None else d for t, d in zip(self.primals, tangents)])

    def detached(self) -> Rule:
        """The same of constant arguments; the primals are still told by their variables."""
        rule = copy(self)
        rule.args = map_leaves(lambda t: t.detach() if isinstance(t, Tensor) else t, tuple(self.args))
        return rule

    def _pulled(self, g: Tensor) -> list[Tensor | None]:
        return self.function.pulled(self.args, self.number, g)

    def _pushed(self, tangents: list[Tensor]) -> Tensor:
        return self.function.pushed(self.args, self.number, tangents)

    def over(self, seen: Callable[[Tensor], tuple[Tensor, bool]], size: int) -> Rule:
        """The same of other operands: by tensor what stands in its place, and whether that has an axis for a batch."""
        leaves, structure = flatten(tuple(self.args))
        pairs = [seen(t) if isinstance(t, Tensor) else (t, False) for t in leaves]
        args = unflatten(structure, [t for t, _ in pairs])
        axes = [axis for _, axis in pairs]
        return _BatchedRule(self, args, axes, size) if any(axes) else Rule(self.function, args, self.number)


class _BatchedRule(Rule):
    """A rule for each of a batch; those of the arguments' leaves of `axes` have a leading axis for it."""

    def __init__(self, one: Rule, args: Sequence[Any], axes: Sequence[bool], size: int) -> None:
        super().__init__(one.function, args, one.number)
        self._axes, self._size = axes, size

    def _mapped(self, function: Callable, given: Sequence[Tensor],
                given_axes: Sequence[bool]) -> list[tuple[Any, bool]]:
        """A function of the rule for one and of other tensors, for each."""
        leaves, structure = flatten(tuple(self.args))

        def of_one(*slices: Any) -> Any:
            args = unflatten(structure, list(slices[:len(leaves)]))
            return function(Rule(self.function, args, self.number), slices[len(leaves):])

        dtype = self.primals[0].dtype
        return mapped(of_one, [*leaves, *given], [*self._axes, *given_axes], self._size, dtype)[0]

    def _pulled(self, g: Tensor) -> list[Tensor | None]:
        found = self._mapped(lambda one, given: [zeros_like(t) if c is None else c for t, c in zip(
            one.primals, one._pulled(given[0]))], [g], [True])
        return [with_axis(c, axis, self._size) for c, axis in found]

    def _pushed(self, tangents: list[Tensor]) -> Tensor:
        primals = self.function.primals(self.args)
        axes = [axis for leaf, axis in zip(flatten(tuple(self.args))[0], self._axes)
                if any(leaf is t for t in primals)]
        (dy, has_axis), = self._mapped(lambda one, given: [one._pushed(list(given))], tangents, axes)
        return with_axis(dy, has_axis, self._size)


class _Custom:
    """A function with a rule for its derivative."""

    def __init__(self, function: Callable, nondiff_argnums: int | Sequence[int] = ()) -> None:
        if not callable(function):
            raise ArgumentError(f"{type(self).__name__} needs a function, not {type(function).__name__}")
        numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self._function, self._fixed = function, numbers
        update_wrapper(self, function, updated=())  # type: ignore[arg-type]

    def __reduce__(self) -> Any:
        return by_name_or(self, (_again, (type(self), self._function, self._fixed, self._given())))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value, whose derivative is the rule's."""
        if kwargs:
            args = self._positional(args, kwargs)
        primals = self.primals(args)
        if not state.grad_enabled or not any(t.requires_grad for t in primals):
            return self._function(*args)
        self._check()
        args = tuple(self._with(args, lift(*primals)))
        primals = self.primals(args)
        fixed = tuple(self._with(args, [t.detach() for t in primals]))
        values, structure = flatten(self._value(fixed))
        results = []
        for number, value in enumerate(values):
            if not (isinstance(value, Tensor) and value.is_floating):
                results.append(value)
                continue
            if value.requires_grad:
                raise GradientError(f"{user_line()}: {type(self).__name__}: {self._name} uses a tensor that requires a "
                                    "gradient and is not one of its arguments, by which it would have none; pass it as "
                                    "an argument, or detach() it")
            linear = self.pushed(fixed, number, [apply_unary(UNARY["nothing"], t) for t in primals])
            y = apply_binary(BINARY["given"], value, linear)
            attach(y, Rule(self, args, number))
            results.append(y)
        return unflatten(structure, results)

    def _positional(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of a call with keywords, by position."""
        bound = inspect.signature(self._function).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentError(f"{user_line()}: {type(self).__name__}: {self._name} has keyword-only arguments "
                                f"{', '.join(bound.kwargs)}; rules have arguments by position")
        return bound.args

    def primals(self, args: Sequence[Any]) -> list[Tensor]:
        """The float tensors among the arguments that are differentiated."""
        leaves = [leaf for k, a in enumerate(args) if k not in self._fixed for leaf in flatten(a)[0]]
        return [t for t in leaves if isinstance(t, Tensor) and t.is_floating]

    def _with(self, args: Sequence[Any], primals: Sequence[Tensor]) -> list[Any]:
        """The arguments with these in place of the primals."""
        rest, found = iter(primals), list(args)
        for k in range(len(args)):
            if k not in self._fixed:
                found[k] = map_leaves(lambda t: next(rest) if isinstance(t, Tensor) and t.is_floating else t, args[k])
        return found

    def _moving(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The arguments that are not differentiated, and the others."""
        return [args[k] for k in self._fixed], [a for k, a in enumerate(args) if k not in self._fixed]

    def _value(self, args: Sequence[Any]) -> Any:
        return self._function(*args)

    def _given(self) -> tuple[Any, ...]:
        """The rules that were given."""
        raise NotImplementedError

    def _give(self, *rules: Any) -> None:
        raise NotImplementedError

    def _check(self) -> None:
        raise NotImplementedError

    def pulled(self, args: Sequence[Any], number: int, g: Tensor) -> list[Tensor | None]:
        """The primals' cotangents from that of a result."""
        raise NotImplementedError

    def pushed(self, args: Sequence[Any], number: int, tangents: Sequence[Tensor]) -> Tensor:
        """The tangent of a result from those of the primals."""
        raise NotImplementedError

    @property
    def _name(self) -> str:
        return getattr(self._function, "__name__", "the function")


def _again(kind: type[_Custom], function: Callable, fixed: Sequence[int], rules: Sequence[Any]) -> _Custom:
    """A function with its rules, from a copy or a pickle."""
    made = kind(function, fixed)
    made._give(*rules)
    return made


def _like(found: Any, t: Tensor, what: str) -> Tensor:
    """What a rule returned, which must have the shape of what it belongs to."""
    tensor = lift(found)[0]
    if tensor.shape != t.shape:
        raise GradientError(f"{user_line()}: {what} has shape {list(tensor.shape)}, what it belongs to "
                            f"{list(t.shape)}; they must be the same (tg.broadcast_to, or sum over what was broadcast)")
    return tensor


class custom_vjp(_Custom):  # noqa: N801  (a decorator)
    """A function whose reverse-mode derivative its author gives.

    Parameters
    ----------
    function : callable
        Over tensors.
    nondiff_argnums : int or sequence of int, default ()
        Positional arguments that are not differentiated; the backward rule has them first.

    Notes
    -----
    ``defvjp(fwd, bwd)`` gives the rule: ``fwd(*args)`` returns the value and what the backward rule needs,
    ``bwd(*nondiff, residuals, g)`` the cotangents of the other arguments, as a tuple, None for zero. Both are
    differentiated for derivatives of higher order. Forward mode transposes the rule.

    Examples
    --------
    >>> import tapegrad as tg
    >>> @tg.custom_vjp
    ... def clipped(x):
    ...     return tg.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (clipped(x), None), lambda residuals, g: (g,))
    >>> float(tg.grad(clipped)(3.0))
    1.0
    """

    _forward: Callable | None = None
    _backward: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Give the rule."""
        self._forward, self._backward = fwd, bwd

    def _given(self) -> tuple[Any, ...]:
        return self._forward, self._backward

    def _give(self, *rules: Any) -> None:
        self._forward, self._backward = rules

    def _check(self) -> None:
        if self._backward is None:
            raise GradientError(f"{user_line()}: custom_vjp: {self._name} has no rule yet; give it with "
                                f"{self._name}.defvjp(fwd, bwd)")

    def _value(self, args: Sequence[Any]) -> Any:
        return self._run(args)[0]

    def _run(self, args: Sequence[Any]) -> tuple[Any, Any]:
        forward: Any = self._forward
        result = forward(*args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise GradientError(f"{user_line()}: custom_vjp: the forward rule of {self._name} must return "
                                "(value, residuals)")
        return result

    def pulled(self, args: Sequence[Any], number: int, g: Tensor) -> list[Tensor | None]:
        backward: Any = self._backward
        value, residuals = self._run(args)
        leaves, structure = flatten(value)
        cotangents = [g if k == number else zeros_like(t) for k, t in enumerate(leaves)]
        fixed, moving = self._moving(args)
        found = backward(*fixed, residuals, unflatten(structure, cotangents))
        if not isinstance(found, (tuple, list)) or len(found) != len(moving):
            raise GradientError(f"{user_line()}: custom_vjp: the backward rule of {self._name} must return a tuple of "
                                f"{len(moving)} cotangents, one for each argument that is differentiated")
        contributions: list[Tensor | None] = []
        for argument, c in zip(moving, found):
            of_argument = [t for t in flatten(argument)[0]]
            parts = [None] * len(of_argument) if c is None else flatten(c)[0]
            if len(parts) != len(of_argument):
                raise GradientError(f"{user_line()}: custom_vjp: the backward rule of {self._name} must return "
                                    f"cotangents in the structure of the argument, of {len(of_argument)} leaves, not "
                                    f"{len(parts)}")
            what = f"custom_vjp: a cotangent of {self._name}"
            contributions += [None if part is None else _like(part, t, what) for t, part in zip(of_argument, parts)
                              if isinstance(t, Tensor) and t.is_floating]
        return contributions

    def pushed(self, args: Sequence[Any], number: int, tangents: Sequence[Tensor]) -> Tensor:
        # the transpose of the rule, which is linear in the cotangent
        with no_grad():
            y = flatten(self._value(self._with(args, [t.detach() for t in self.primals(args)])))[0][number]
        with enable_grad():
            u = fresh(zeros_like(y))
            found = self.pulled(args, number, u)
        pairs = [(c, d) for c, d in zip(found, tangents) if c is not None]
        dy = Graph([c for c, _ in pairs], [u]).pull([d for _, d in pairs])[0]
        return zeros_like(y) if dy is None else dy


class custom_jvp(_Custom):  # noqa: N801  (a decorator)
    """A function whose forward-mode derivative its author gives; reverse mode follows from it.

    Parameters
    ----------
    function : callable
        Over tensors.
    nondiff_argnums : int or sequence of int, default ()
        Positional arguments that are not differentiated; the rule has them first.

    Notes
    -----
    ``defjvp(rule)`` gives it: ``rule(*nondiff, primals, tangents)`` returns the value and its tangent, which must be
    linear in the tangents. ``defjvps(*rules)`` gives one for each argument, ``rule(tangent, value, *primals)``, or None
    where the derivative is zero.

    Examples
    --------
    >>> import tapegrad as tg
    >>> @tg.custom_jvp
    ... def absolute(x):
    ...     return tg.abs(x)
    >>> absolute.defjvps(lambda d, y, x: tg.where(x >= 0, d, -d))
    >>> float(tg.grad(absolute)(0.0))
    1.0
    """

    _rule: Callable | None = None

    def defjvp(self, rule: Callable) -> Callable:
        """Give the rule; also a decorator."""
        self._rule = rule
        return rule

    def _given(self) -> tuple[Any, ...]:
        return (self._rule,)

    def _give(self, *rules: Any) -> None:
        self._rule, = rules

    def defjvps(self, *rules: Callable | None) -> None:
        """Give a rule for each argument."""

        def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
            value, total = self(*primals), None
            for one, d in zip(rules, tangents):
                if one is not None:
                    part = one(d, value, *primals)
                    total = part if total is None else total + part
            return value, map_leaves(lambda t: t * 0.0, value) if total is None else total

        self._rule = rule

    def _check(self) -> None:
        if self._rule is None:
            raise GradientError(f"{user_line()}: custom_jvp: {self._name} has no rule yet; give it with "
                                f"{self._name}.defjvp(rule)")

    def pushed(self, args: Sequence[Any], number: int, tangents: Sequence[Tensor]) -> Tensor:
        rule: Any = self._rule
        fixed, moving = self._moving(args)
        along = self._moving(self._with(args, tangents))[1]
        result = rule(*fixed, tuple(moving), tuple(along))
        if not isinstance(result, tuple) or len(result) != 2:
            raise GradientError(f"{user_line()}: custom_jvp: the rule of {self._name} must return (value, tangent)")
        values, along = (flatten(tree)[0] for tree in result)
        if len(values) != len(along):
            raise GradientError(f"{user_line()}: custom_jvp: the rule of {self._name} must return a tangent in the "
                                f"structure of the value, of {len(values)} leaves, not {len(along)}")
        return _like(along[number], lift(values[number])[0], f"custom_jvp: the tangent of {self._name}")

    def pulled(self, args: Sequence[Any], number: int, g: Tensor) -> list[Tensor | None]:
        # the transpose of the rule, which is linear in the tangents
        with enable_grad():
            directions = [fresh(zeros_like(t)) for t in self.primals(args)]
            dy = self.pushed(args, number, directions)
        return Graph([dy], directions).pull([g])
