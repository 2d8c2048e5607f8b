"""The functions of the standard that are NumPy's by name and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any

import numpy as np

from ..functions.protocol import is_known
from ..tensor.tensor import Tensor

NAMES = """
abs acos acosh add all any argmax argmin asin asinh astype atan atan2 atanh bitwise_and bitwise_invert
bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor broadcast_arrays broadcast_to can_cast ceil clip concat
conj copysign cos cosh count_nonzero diff divide empty_like equal exp expand_dims expm1 flip floor floor_divide
full_like greater greater_equal hypot imag isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp
logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis
multiply negative nextafter nonzero not_equal ones_like permute_dims positive pow prod real reciprocal remainder repeat
reshape result_type roll round searchsorted sign signbit sin sinh sqrt square squeeze stack std subtract sum take
take_along_axis tan tanh tensordot tile tril triu trunc unique_all unique_counts unique_inverse unique_values unstack
var vecdot where zeros_like
""".split()
LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer pinv qr
slogdet solve svd svdvals tensordot trace vecdot vector_norm
""".split()


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    return [t for v in values for t in (_tensors(v) if isinstance(v, (list, tuple)) else [v]) if isinstance(t, Tensor)]


def _values(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_values, value))
    return value.numpy() if isinstance(value, Tensor) else value


def _wrapped(result: Any) -> Any:
    if isinstance(result, tuple):
        parts = map(_wrapped, result)
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return Tensor(np.asarray(result)) if isinstance(result, (np.ndarray, np.generic)) else result


def over_tensors(of_numpy: Callable) -> Callable:
    """NumPy's function of tensors: the counterpart if there is one, else of the values of what has no history."""

    def function(*args: Any, **kwargs: Any) -> Any:
        given = _tensors((*args, *kwargs.values()))
        if is_known(of_numpy) or any(t.requires_grad or t.is_symbolic for t in given):
            return of_numpy(*args, **kwargs)
        return _wrapped(of_numpy(*map(_values, args), **{key: _values(v) for key, v in kwargs.items()}))

    update_wrapper(function, of_numpy)
    if isinstance(of_numpy, np.ufunc):
        delattr(function, "__wrapped__")  # of which NumPy's versions give signatures, or none
    return function
