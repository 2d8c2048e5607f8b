"""NumPy's functions and their counterparts here: looked up by identity, called with NumPy's own parameters.

A name is not enough: ``np.linalg.trace`` and ``np.trace`` use other axes, ``np.emath.sqrt`` is another function than
``np.sqrt``, and a user's own ufunc may be called ``add``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import DtypeError

#: NumPy's parameters in its order, keyword-only ones after *; those in brackets must have their default
_SIGNATURES = """
sum a axis dtype [out] keepdims initial where
mean a axis dtype [out] keepdims * where
prod a axis dtype [out] keepdims initial where
max a axis [out] keepdims initial where
amax a axis [out] keepdims initial where
min a axis [out] keepdims initial where
amin a axis [out] keepdims initial where
var a axis dtype [out] ddof keepdims * where mean correction
std a axis dtype [out] ddof keepdims * where mean correction
median a axis [out] [overwrite_input] keepdims
quantile a q axis [out] [overwrite_input] method keepdims * [weights]
percentile a q axis [out] [overwrite_input] method keepdims * [weights]
roll a shift axis
rot90 a k axes
rollaxis a axis start
fliplr a
flipud a
hstack a * [dtype] [casting]
vstack a * [dtype] [casting]
dstack a
column_stack a
array_split a indices_or_sections axis
hsplit a indices_or_sections
vsplit a indices_or_sections
dsplit a indices_or_sections
diag a k
diagflat a k
diff a n axis prepend append
ptp a axis [out] keepdims
append arr values axis
argpartition a kth axis kind order
argwhere a
bincount x weights minlength
choose a choices [out] mode
compress condition a axis [out]
convolve a v mode
correlate a v mode
delete arr obj axis
diag_indices_from arr
digitize x bins right
ediff1d ary to_end to_begin
extract condition arr
flatnonzero a
histogram a bins range density weights
insert arr obj values axis
interp x xp fp left right period
isin element test_elements assume_unique invert * [kind]
nonzero a
partition a kth axis kind order
resize a new_shape
searchsorted a v side sorter
select condlist choicelist default
tril_indices_from arr k
triu_indices_from arr k
unique ar return_index return_inverse return_counts axis * equal_nan [sorted]
unstack x * axis
vander x N increasing
nansum a axis dtype [out] keepdims initial where
nanmean a axis dtype [out] keepdims * where
nanprod a axis dtype [out] keepdims initial where
nanmax a axis [out] keepdims initial where
nanmin a axis [out] keepdims initial where
nanvar a axis dtype [out] ddof keepdims * where mean correction
nanstd a axis dtype [out] ddof keepdims * where mean correction
nanmedian a axis [out] [overwrite_input] keepdims
nanquantile a q axis [out] [overwrite_input] method keepdims * [weights]
nanpercentile a q axis [out] [overwrite_input] method keepdims * [weights]
nanargmax a axis [out] * keepdims
nanargmin a axis [out] * keepdims
nancumsum a axis dtype [out]
nancumprod a axis dtype [out]
cumulative_sum a * axis dtype [out] include_initial
cumulative_prod a * axis dtype [out] include_initial
average a axis weights returned * keepdims
cov m y rowvar bias ddof fweights aweights * dtype
corrcoef x y rowvar [bias] [ddof] * dtype
trapezoid y x dx axis
trapz y x dx axis
count_nonzero a axis * keepdims
round a decimals [out]
around a decimals [out]
fix a [out]
nan_to_num a copy nan posinf neginf
repeat a repeats axis
tile a reps
full_like a fill_value dtype [order] [subok] shape * [device]
all a axis [out] keepdims * where
any a axis [out] keepdims * where
cumsum a axis dtype [out]
cumprod a axis dtype [out]
argmax a axis [out] * keepdims
argmin a axis [out] * keepdims
argsort a axis kind order * stable
sort a axis kind order * stable
clip a a_min a_max [out] * min max [dtype] [casting]
concatenate a axis [out] * [dtype] [casting]
stack a axis [out] * [dtype] [casting]
split a indices_or_sections axis
squeeze a axis
expand_dims a axis
reshape a shape order * [copy]
ravel a order
transpose a axes
matrix_transpose a
swapaxes a axis1 axis2
moveaxis a source destination
flip a axis
broadcast_to a shape [subok]
take a indices axis [out] [mode]
take_along_axis a indices axis
diagonal a offset axis1 axis2
trace a offset axis1 axis2 [dtype] [out]
tril a k
triu a k
where condition a b
dot a b [out]
outer a b [out]
inner a b
vdot a b
tensordot a b axes
kron a b
cross a b axisa axisb axisc axis
pad a pad_width mode * constant_values
zeros_like a dtype [order] [subok] shape * [device]
ones_like a dtype [order] [subok] shape * [device]
empty_like a dtype [order] [subok] shape * [device]
shape a
ndim a
size a
linalg.norm a ord axis keepdims
linalg.vector_norm a * axis keepdims ord
linalg.matrix_norm a * keepdims ord
linalg.matmul a b
linalg.outer a b
linalg.cross a b * axis
linalg.vecdot a b * axis
linalg.tensordot a b * axes
linalg.trace a * offset [dtype]
linalg.diagonal a * offset
linalg.matrix_transpose a
linalg.matrix_power a n
linalg.multi_dot arrays * [out]
linalg.cholesky a * upper
linalg.inv a
linalg.solve a b
linalg.det a
linalg.slogdet a
linalg.eigh a UPLO
linalg.eigvalsh a UPLO
linalg.svd a full_matrices compute_uv hermitian
linalg.svdvals a
linalg.qr a mode
linalg.pinv a rcond hermitian * rtol
linalg.lstsq a b rcond
linalg.matrix_rank a tol hermitian * rtol
linalg.cond a p
linalg.tensorinv a ind
linalg.tensorsolve a b axes
"""
#: NumPy's names for the first parameters, as keywords
_FIRST = {"a": ("a", "A", "arr", "tup", "v", "array", "ary", "m", "x", "x1", "arrays", "prototype"),
          "b": ("b", "x2", "y"), "indices": ("indices",)}
#: parameters with other names here, or that may follow without a name
_NAMED_OTHERWISE = {"a", "b", "arrays", "condition", "reps", "shape"}
_DEFAULTS = {"order": ("C", "K", None), "where": (True,), "subok": (True, False), "overwrite_input": (True, False),
             "mode": ("raise",), "casting": ("same_kind",), "initial": (), "copy": (None,), "device": (None, "cpu")}
_UFUNCS = {"absolute": "abs", "fabs": "abs", "true_divide": "divide", "degrees": "rad2deg", "radians": "deg2rad"}
_RENAMED = {"around": "round"}
#: called with NumPy's arguments as they are
_AS_GIVEN = ("gradient", "block", "broadcast_arrays", "meshgrid")
_OF_SCIPY = {"erf": "erf", "expit": "sigmoid", "log_expit": "log_sigmoid", "expm1": "expm1", "log1p": "log1p",
             "exp2": "exp2", "cbrt": "cbrt", "erfc": "erfc",
             "erfinv": "erfinv", "gammaln": "lgamma", "digamma": "digamma", "psi": "digamma", "i0": "i0",
             "i0e": "i0e", "i1": "i1", "i1e": "i1e", "xlogy": "xlogy", "xlog1py": "xlog1py", "logit": "logit",
             **{name: name for name in ("beta", "betainc", "betaln", "gammainc", "gammaincc", "j0", "j1")}}


def no_out(name: str) -> DtypeError:
    """The error for NumPy's `out=`."""
    return DtypeError(f"{user_line()}: np.{name} cannot write a tensor into an array (out=, or an operator like +=), "
                      "which has no history; assign its result to a name, or detach() the tensor")


class Counterpart:
    """A function under NumPy's name and parameters."""

    def __init__(self, name: str, parameters: str, function: Callable, same: Callable | None) -> None:
        self.name, self.function = name, function
        self.same = same  # takes NumPy's other parameters under their names
        listed, _, by_keyword = parameters.partition("*")
        self.positional = [p.strip("[]") for p in listed.split()]
        both = (*listed.split(), *by_keyword.split())
        self.refused = {p.strip("[]") for p in both if p.startswith("[")}
        self.known = {p.strip("[]") for p in both}
        self.plain = self.known - self.refused - _NAMED_OTHERWISE

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.same is not None and len(args) == 1 and self.plain.issuperset(kwargs):
            return self.same(args[0], **{key: value for key, value in kwargs.items() if value is not np._NoValue})
        if len(args) > len(self.positional):
            raise DtypeError(f"np.{self.name} takes {len(self.positional)} positional arguments of a tensor, not "
                             f"{len(args)}")
        given = dict(zip(self.positional, args))
        for key, value in kwargs.items():
            own = next((p for p, names in _FIRST.items() if key in names and p in self.known and p not in given), key)
            if own in given:
                raise DtypeError(f"np.{self.name}: {key} is given twice")
            given[own] = value
        for key in [k for k in given if k in self.refused or k not in self.known]:
            value = given.pop(key)
            if not (value is None or value is np._NoValue or _is_one_of(value, _DEFAULTS.get(key, ()))):
                raise no_out(self.name) if key == "out" else DtypeError(
                    f"{user_line()}: np.{self.name}: {key}= is not available for tensors")
        return self.function(**{key: value for key, value in given.items() if value is not np._NoValue})


def _is_one_of(value: Any, defaults: tuple[Any, ...]) -> bool:
    return isinstance(value, (str, bool)) and value in defaults


def counterparts(namespace: Mapping[str, Any]) -> dict[Any, Callable]:
    """A dict from NumPy's functions and ufuncs to those of `namespace`, from ``np.linalg``'s to its ``algebra``'s."""
    get = namespace.__getitem__
    special: dict[str, Callable] = {
        "transpose": lambda a, axes=None: get("transpose")(a) if axes is None else get("permute")(a, tuple(axes)),
        "matrix_transpose": lambda a: get("swapaxes")(a, -1, -2),
        **{f"{name}_like": _alike(get(f"{name}_like"), get(name)) for name in ("zeros", "ones", "empty")},
        "full_like": lambda a, fill_value, dtype=None, shape=None: get("full_like")(a, fill_value, dtype=dtype)
        if shape is None else get("full")(shape, fill_value, dtype=dtype or a.dtype),
        "shape": lambda a: a.shape, "ndim": lambda a: a.ndim, "size": lambda a: a.size,
    }
    found: dict[Any, Callable] = {}
    for line in _SIGNATURES.strip().splitlines():
        name, _, parameters = line.partition(" ")
        where: Any = np
        short, own = name, namespace
        if name.startswith("linalg."):
            where, short, own = np.linalg, name[7:], vars(namespace["algebra"])
        of_numpy = getattr(where, short, None)
        if of_numpy is None:
            continue
        same = None if name in special else own[_RENAMED.get(short, short)]
        function = special.get(name) or _by_position(own[_RENAMED.get(short, short)], parameters.split())
        found[of_numpy] = Counterpart(name, parameters, function, same if parameters.startswith("a ") else None)
    found[np.einsum] = _einsum(namespace["einsum"])
    found.update({getattr(np, name): namespace[name] for name in _AS_GIVEN if name in namespace})
    for name, function in namespace.items():
        of_numpy = getattr(np, name, None)
        if isinstance(of_numpy, np.ufunc) or (of_numpy is not None and _takes_an_array(of_numpy, function)):
            found.setdefault(of_numpy, function)
    found.update({getattr(np, name): namespace[own] for name, own in _UFUNCS.items()})
    return found


def _alike(like: Callable, of_shape: Callable) -> Callable:
    """``zeros_like`` and its kind, of a shape that may be another."""

    def function(a: Any, dtype: Any = None, shape: Any = None) -> Any:
        return like(a, dtype=dtype) if shape is None else of_shape(shape, dtype=dtype or a.dtype)

    return function


def _takes_an_array(*functions: Callable) -> bool:
    """Whether each takes one argument and nothing else."""
    try:
        return all(len(signature(function).parameters) == 1 for function in functions)
    except (TypeError, ValueError):  # a type, or compiled without a signature
        return False


def _by_position(function: Callable, parameters: list[str]) -> Callable:
    """`function` called by keyword, except for parameters with other names here, which come first."""
    arrays = [p for p in parameters if p in _NAMED_OTHERWISE]

    def called(**given: Any) -> Any:
        first = [given.pop(p) for p in arrays if p in given]
        return function(*first, **given)

    return called


def _einsum(function: Callable) -> Callable:
    def einsum(*operands: Any, out: Any = None, optimize: Any = False, **others: Any) -> Any:
        if out is not None:
            raise no_out("einsum")
        if others:
            raise DtypeError(f"{user_line()}: np.einsum: {', '.join(others)}= is not available for tensors")
        return function(*operands)

    return einsum


def _codes() -> frozenset[str]:
    kinds = ("polynomial", "chebyshev", "hermite", "hermite_e", "laguerre", "legendre")
    values = [member for kind in kinds for name, member in vars(getattr(np.polynomial, kind)).items()
              if name.endswith("val") and not name.startswith("_")]
    return frozenset(function.__code__.co_filename for function in (*values, np.bmat))


#: code of NumPy's functions that test for ndarray by type, and mistake a tensor for a number or a list
BY_TYPE = _codes()


def refuse_by_type(frame: Any) -> None:
    """Raise if the function of this frame, one of `BY_TYPE`, would go on with a tensor to wrong numbers."""
    name, given = frame.f_code.co_name, frame.f_locals
    x, tensor = given.get("x"), given.get("tensor", True)
    if name == "bmat":
        remedy = "np.concatenate or np.stack"
    elif name == "polyvalfromroots" and getattr(x, "ndim", 0) and (tensor or x.ndim >= given["r"].ndim):
        remedy = "tg.prod(x[..., None] - roots, axis=-1)"
    elif name.endswith("val") and getattr(x, "ndim", 0) and tensor and given["c"].ndim > 1:
        remedy = f"{name} of one column of coefficients at a time and tg.stack"
    else:
        return
    raise DtypeError(f"{user_line()}: NumPy's {name} knows arrays only by their type, and would take a tensor for a "
                     f"number; use {remedy}, or apply it to t.detach().numpy() if no gradient is needed")


def of_scipy(ufunc: np.ufunc, namespace: Mapping[str, Any]) -> Callable | None:
    """The counterpart of one of ``scipy.special``'s ufuncs, if that is imported and there is one."""
    special = sys.modules.get("scipy.special")
    if special is None:
        return None
    for name, own in _OF_SCIPY.items():
        if getattr(special, name, None) is ufunc:
            found: Callable = namespace[own]
            return found
    composed: Mapping[str, Callable] = import_module("tapegrad.scipy.special").UFUNCS  # stands above
    return next((f for name, f in composed.items() if getattr(special, name, None) is ufunc), None)
