"""`Parameter`: a tensor that a module owns and an optimiser updates."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import DtypeError, SwallowedError
from ..tape.state import Modes
from ..tensor.tensor import Tensor, as_array

__all__ = ["Parameter", "float_dtype"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def float_dtype(dtype: DTypeLike | None, where: str) -> np.dtype:
    """`dtype` as one of the two that a parameter may have; None means float32.

    Raises
    ------
    DtypeError
        A `TypeError` that names `where` and what was given.
    """
    if dtype is None:
        return _FLOATS[0]
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"{where}: {dtype!r} is not a dtype; use float32 or float64") from None
    if found not in _FLOATS:
        raise DtypeError(f"{where}: parameters are float32 or float64, not {found}")
    return found


@lru_cache(maxsize=1024)
def _is_slip(name: str, meant: tuple[str, ...]) -> bool:
    return bool(get_close_matches(name, meant, 1, 0.85))


def refuse_swallowed(owner: str, name: str, meant: tuple[str, ...], remedy: str) -> None:
    """Raise for an attribute that would be kept without effect: a misspelling of one that is `meant`."""
    if _is_slip(name, meant):
        raise SwallowedError(f"{owner}.{name} = ... would do nothing: {owner} has no attribute {name!r}; {remedy}")


class Parameter(Tensor):
    """A tensor that a `Module` registers when it is assigned to an attribute.

    Parameters
    ----------
    data : array_like or Tensor, any shape
        The values; copied.
    requires_grad : bool
        False for a parameter that is saved and loaded but not trained.
    dtype : float32 or float64, optional
        By default that of the data, as everywhere: arrays and tensors keep their float dtype, what has none (Python's
        numbers) and integers become float32.
    """

    _copies_gradient = False  # as PyTorch's
    _is_owned = True

    def __init__(
        self, data: ArrayLike | Tensor, requires_grad: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        if dtype is None:
            values = as_array(data)
            dtype = values.dtype if values.dtype.kind == "f" else None
        super().__init__(data, float_dtype(dtype, "Parameter"), bool(requires_grad))

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            refuse_swallowed(type(self).__name__, name, ("data", "grad", "requires_grad"), "change values with "
                             "copy_(array), trainability with requires_grad_(False), the gradient with .grad")
        super().__setattr__(name, value)

    @property
    def is_held(self) -> bool:
        """Whether an optimiser holds the values in its memory."""
        return getattr(self.node, "home", None) is not None

    def convert_(self, dtype: DTypeLike) -> Parameter:
        """Change the dtype in place and set the gradient to None; return the parameter. See `Module.to`."""
        super().__init__(self.numpy(), float_dtype(dtype, "Parameter"), self.requires_grad)
        Modes.changed()
        return self

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
