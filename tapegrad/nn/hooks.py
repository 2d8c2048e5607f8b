"""Hooks: functions that are called before or after a module's ``forward``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from ..errors import ArgumentError, ShapeError
from ..functions.seen import seen
from ..tape.state import state
from ..tensor.tensor import Tensor

__all__ = ["Hooks", "RemovableHandle"]

_NUMBERS = count(1)


class _Hook(NamedTuple):
    number: int
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class RemovableHandle:
    """What a registration returns; as a context manager it removes the hook at the end."""

    def __init__(self, module: Hooks, registry: str, hook: _Hook) -> None:
        self._module, self._registry, self._hook = module, registry, hook

    def remove(self) -> None:
        """Remove the hook; a second time does nothing."""
        left = tuple(h for h in getattr(self._module, self._registry) if h.number != self._hook.number)
        setattr(self._module, self._registry, left)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Hooks:
    """Calls of a module, with its hooks.

    A recording is made of what hooks compute with tensors; anything else that they do happens while recording only, as
    the side effects of any recorded function.
    """

    _forward_pre_hooks: tuple[_Hook, ...] = ()
    _forward_hooks: tuple[_Hook, ...] = ()
    _backward_pre_hooks: tuple[_Hook, ...] = ()
    _backward_hooks: tuple[_Hook, ...] = ()
    forward: Callable[..., Any]

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before each ``forward``.

        Parameters
        ----------
        hook : callable
            What it returns, unless None, replaces the positional arguments: a tuple of them, or the only one. With
            `with_kwargs` it is called as ``hook(module, args, kwargs)`` and returns None or both.
        prepend : bool, default False
            Call it before those that are registered already.
        with_kwargs : bool, default False

        Returns
        -------
        RemovableHandle
        """
        return self._hooked("_forward_pre_hooks", _Hook(next(_NUMBERS), hook, with_kwargs), prepend)

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each ``forward``.

        Parameters
        ----------
        hook : callable
            What it returns, unless None, replaces the output. With `with_kwargs` it is called as
            ``hook(module, args, kwargs, output)``.
        prepend : bool, default False
            Call it before those that are registered already.
        with_kwargs : bool, default False
        always_call : bool, default False
            Call it also where ``forward`` raises, with None for the output.

        Returns
        -------
        RemovableHandle

        Examples
        --------
        >>> import numpy as np, tapegrad as tg
        >>> from tapegrad import nn
        >>> shapes = []
        >>> layer = nn.Linear(3, 2)
        >>> with layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape)):
        ...     _ = layer(tg.tensor(np.zeros((4, 3), np.float32)))
        >>> shapes
        [(4, 2)]
        """
        return self._hooked("_forward_hooks", _Hook(next(_NUMBERS), hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients by the module's inputs are known.

        Parameters
        ----------
        hook : callable
            Gets two tuples: the gradients by the positional arguments, None for those that want none, and by the
            outputs. What it returns, unless None, replaces the former. It runs in each reverse walk, also in each
            replay of a recorded step, and sees plain tensors; in ``backward(create_graph=True)`` and in transformations
            they have a history.
        prepend : bool, default False
            Call it before those that are registered already.

        Returns
        -------
        RemovableHandle

        Notes
        -----
        ``forward`` must give a tensor or a tuple of tensors. If none of its arguments wants a gradient, the hook is
        called when those by the outputs are known.

        Examples
        --------
        >>> import numpy as np, tapegrad as tg
        >>> from tapegrad import nn
        >>> layer, norms = nn.Linear(3, 2), []
        >>> handle = layer.register_full_backward_hook(lambda module, into, out: norms.append(float(tg.norm(out[0]))))
        >>> layer(tg.tensor(np.ones((1, 3), np.float32))).sum().backward()
        >>> norms
        [1.4142135381698608]
        """
        return self._hooked("_backward_hooks", _Hook(next(_NUMBERS), hook, False), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the gradients of the module are computed.

        What it returns, unless None, replaces the gradients by the outputs: a tuple of them, or the only one. Else as
        `register_full_backward_hook`.
        """
        return self._hooked("_backward_pre_hooks", _Hook(next(_NUMBERS), hook, False), prepend)

    def _hooked(self, registry: str, hook: _Hook, prepend: bool) -> RemovableHandle:
        before = getattr(self, registry)
        setattr(self, registry, (hook, *before) if prepend else (*before, hook))
        return RemovableHandle(self, registry, hook)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        capture = state.capture
        plain = not (self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks)
        run = self.forward if plain else self._with_hooks
        if capture is None:
            return run(*args, **kwargs)
        capture.enter_module(self)
        try:
            return run(*args, **kwargs)
        finally:
            capture.leave_module()

    def _with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        waiting = [hook for hook in self._forward_hooks if hook.always_call]
        try:
            for hook in self._forward_pre_hooks:
                if hook.with_kwargs:
                    both = hook.function(self, args, kwargs)
                    args, kwargs = (args, kwargs) if both is None else both
                else:
                    given = hook.function(self, args)
                    args = args if given is None else given if isinstance(given, tuple) else (given,)
            back = _Backward(self) if self._backward_hooks or self._backward_pre_hooks else None
            output = self.forward(*(args if back is None else back.begin(args)), **kwargs)
            for hook in self._forward_hooks:
                if hook in waiting:
                    waiting.remove(hook)
                changed = hook.function(self, args, *([kwargs] if hook.with_kwargs else []), output)
                output = output if changed is None else changed
            output = output if back is None else back.end(output)
        except BaseException:
            for hook in waiting:
                hook.function(self, args, *([kwargs] if hook.with_kwargs else []), None)
            raise
        return output


class _Backward:
    """The gradients of one call of a module, on their way back."""

    def __init__(self, module: Hooks) -> None:
        self.module = module
        self.pre, self.hooks = module._backward_pre_hooks, module._backward_hooks
        self.into: tuple[Any, ...] = ()  # numbers of the arguments that want gradients
        self.arguments = 0
        self.out: tuple[Tensor, ...] = ()

    def begin(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, whose gradients will be seen."""
        self.arguments = len(args)
        self.into = tuple(k for k, a in enumerate(args)
                          if isinstance(a, Tensor) and a.is_floating and state.wants(a)) if self.hooks else ()
        if not self.into:
            return args
        changed = dict(zip(self.into, seen([args[k] for k in self.into], self._inputs)))
        return tuple(changed.get(k, a) for k, a in enumerate(args))

    def end(self, output: Any) -> Any:
        """The output, whose gradients will be seen."""
        single = isinstance(output, Tensor)
        parts = [output] if single else output
        if not isinstance(parts, (tuple, list)) or not all(isinstance(part, Tensor) for part in parts):
            raise ArgumentError(f"{type(self.module).__name__}: backward hooks need a forward that gives a tensor or a "
                                f"tuple of tensors, not {type(output).__name__}")
        wanted = [k for k, part in enumerate(parts) if part.is_floating and state.wants(part)]
        if not wanted:
            return output
        found = dict(zip(wanted, seen([parts[k] for k in wanted], lambda g: self._outputs(g, wanted, len(parts)))))
        whole = [found.get(k, part) for k, part in enumerate(parts)]
        return whole[0] if single else type(output)(*whole) if hasattr(output, "_fields") else type(output)(whole)

    def _outputs(self, gradients: Any, wanted: list[int], count: int) -> Any:
        """Gradients by the outputs."""
        known = dict(zip(wanted, gradients))
        self.out = tuple(known.get(k) for k in range(count))  # type: ignore[misc]
        for hook in self.pre:
            given = hook.function(self.module, self.out)
            self.out = self.out if given is None else self._fitting(given, self.out)
        if not self.into:
            for hook in self.hooks:
                hook.function(self.module, (None,) * self.arguments, self.out)
        return [self.out[k] for k in wanted]

    def _inputs(self, gradients: Any) -> Any:
        """Gradients by the arguments; those that did not come through the outputs, of a second walk, are not seen."""
        out, self.out = self.out, ()
        if not out:
            return gradients
        known = dict(zip(self.into, gradients))
        found: tuple[Any, ...] = tuple(known.get(k) for k in range(self.arguments))
        for hook in self.hooks:
            given = hook.function(self.module, found, out)
            found = found if given is None else self._fitting(given, found)
        return [found[k] for k in self.into]

    def _fitting(self, given: Any, before: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a hook returned, which must be like what it got."""
        found = given if isinstance(given, (tuple, list)) else (given,)
        shapes = [None if g is None else tuple(g.shape) for g in found]
        if shapes != [None if g is None else tuple(g.shape) for g in before]:
            raise ShapeError(f"{type(self.module).__name__}: a backward hook returned gradients of shapes {shapes} for "
                             f"{[None if g is None else tuple(g.shape) for g in before]}")
        return tuple(g if g is None or isinstance(g, Tensor) else Tensor(g, b.dtype) for g, b in zip(found, before))
