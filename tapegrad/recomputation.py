"""`checkpoint`: a stretch of the recording whose values are not kept but computed again in the reverse walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .state import state


class Segment:
    """What is recorded while it is the thread's present one; `path` are the segments around it and itself."""

    __slots__ = ("path",)

    def __init__(self, outer: Segment | None) -> None:
        self.path: tuple[Segment, ...] = (*(outer.path if outer is not None else ()), self)

    def __enter__(self) -> Segment:
        state.segment = self
        return self

    def __exit__(self, *error: Any) -> None:
        state.segment = self.path[-2] if len(self.path) > 1 else None


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, of whose values none is kept for the reverse walk: they are computed again there.

    A stretch then costs the memory of its inputs and its result, and once more the time of its forward pass (Chen et
    al. 2016, "Training deep nets with sublinear memory cost"). Calls nest: an inner stretch is computed again within
    an outer one, too.

    `function` is called once. The reverse walk runs the instructions that it recorded, with the same random numbers
    and without moving running statistics a second time, so that gradients are those without `checkpoint` to the bit.

    Parameters
    ----------
    function : callable
    *args, **kwargs
        Its arguments.

    Returns
    -------
    What `function` returns.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.0], requires_grad=True)
    >>> tg.checkpoint(lambda x: tg.exp(tg.sin(x)), x).sum().backward()
    >>> x.grad.numpy().round(3).tolist()
    [1.417, 1.253]
    """
    with Segment(state.segment):
        return function(*args, **kwargs)
