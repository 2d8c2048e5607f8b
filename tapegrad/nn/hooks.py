"""Hooks: functions that are called before or after a module's ``forward``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from ..tape.state import state

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

    def _hooked(self, registry: str, hook: _Hook, prepend: bool) -> RemovableHandle:
        before = getattr(self, registry)
        setattr(self, registry, (hook, *before) if prepend else (*before, hook))
        return RemovableHandle(self, registry, hook)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        capture = state.capture
        run = self.forward if not (self._forward_hooks or self._forward_pre_hooks) else self._with_hooks
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
            output = self.forward(*args, **kwargs)
            for hook in self._forward_hooks:
                if hook in waiting:
                    waiting.remove(hook)
                changed = hook.function(self, args, *([kwargs] if hook.with_kwargs else []), output)
                output = output if changed is None else changed
        except BaseException:
            for hook in waiting:
                hook.function(self, args, *([kwargs] if hook.with_kwargs else []), None)
            raise
        return output
