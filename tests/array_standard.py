"""How much of the Python array API standard holds for tensors, judged by the standard's array-api-strict.

``python -m tests.array_standard`` calls every function of the standard, over all dtypes that tensors have, shapes of
none to three axes and empty ones, with NaN and infinities; result, shape and dtype must be the reference's. It prints
what differs, and the share of functions for which nothing does.
"""

import itertools
import sys
import warnings

import array_api_strict as strict
import numpy as np

import tapegrad.array_api as own

FLOATS, INTEGERS, TRUTHS = ("float32", "float64"), ("int64",), ("bool",)
SHAPES = ((), (3,), (2, 3), (0,), (2, 0), (2, 1, 3))
RNG = np.random.default_rng(0)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.5, 3.0])
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
CASES: dict[str, list] = {}


def case(name, call, *arrays):
    CASES.setdefault(name, []).append((call, arrays))


def filled(shape, dtype, low=-3.0, high=3.0):
    if dtype == "bool":
        return RNG.random(shape) > 0.5
    if dtype == "int64":
        return RNG.integers(int(low), int(high) + 1, shape)
    return RNG.uniform(low, high, shape).astype(dtype)


def unary(names, dtypes, low=-3.0, high=3.0, special=True):
    for name, dtype in itertools.product(names.split(), dtypes):
        call = lambda xp, x, name=name: getattr(xp, name)(x)
        for shape in SHAPES:
            case(name, call, filled(shape, dtype, low, high))
        if special and dtype in FLOATS:
            case(name, call, SPECIAL.astype(dtype))


def binary(names, dtypes, low=-3.0, high=3.0, special=True):
    pairs = [(s, s) for s in SHAPES] + [((2, 3), (3,)), ((), (2, 3)), ((2, 1, 3), (2, 1))]
    for name, dtype in itertools.product(names.split(), dtypes):
        call = lambda xp, a, b, name=name: getattr(xp, name)(a, b)
        for left, right in pairs:
            case(name, call, filled(left, dtype, low, high), filled(right, dtype, low, high))
        number = {"b": True, "i": 2, "f": 1.5}[np.dtype(dtype).kind]
        x = filled((2, 3), dtype, low, high)
        case(name, lambda xp, a, name=name, number=number: getattr(xp, name)(a, number), x)
        case(name, lambda xp, a, name=name, number=number: getattr(xp, name)(number, a), x)
        if special and dtype in FLOATS:
            case(name, call, *(v.ravel() for v in np.meshgrid(SPECIAL.astype(dtype), SPECIAL.astype(dtype))))


unary("acos asin atanh", FLOATS, -0.9, 0.9)
unary("acosh log log10 log1p log2 sqrt", FLOATS, 1.1, 9.0)
unary("asinh atan cos cosh exp expm1 reciprocal sin sinh tan tanh signbit", FLOATS)
unary("abs ceil conj floor isfinite isinf isnan negative positive real round sign square trunc", (*FLOATS, *INTEGERS))
unary("logical_not bitwise_invert", TRUTHS)
unary("bitwise_invert", INTEGERS)
binary("add subtract multiply maximum minimum", (*FLOATS, *INTEGERS))
binary("equal not_equal less less_equal greater greater_equal", (*FLOATS, *INTEGERS))
binary("equal not_equal logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor", TRUTHS)
binary("bitwise_and bitwise_or bitwise_xor", INTEGERS)
binary("bitwise_left_shift bitwise_right_shift", INTEGERS, 0, 5)
binary("divide atan2 copysign hypot logaddexp nextafter", FLOATS)
binary("floor_divide remainder", FLOATS, 0.5, 3.0, special=False)
binary("floor_divide remainder", INTEGERS, 1, 5)
binary("pow", FLOATS, 0.5, 3.0)
binary("pow", INTEGERS, 0, 4)

for dtype in (*FLOATS, *INTEGERS):
    for shape in SHAPES:
        x = filled(shape, dtype)
        axes = [None, *range(len(shape)), *([-1] if shape else [])]
        pairs = [(axis, keep) for axis in (*axes, *([(0, 1)] if len(shape) > 1 else [])) for keep in (False, True)]
        for axis, keep in pairs:
            for name in ("sum", "prod", "max", "min", "mean", "std", "var", "all", "any", "count_nonzero"):
                of_floats, of_some = name in ("mean", "std", "var"), name in ("mean", "std", "var", "max", "min")
                if of_floats and dtype in INTEGERS or of_some and 0 in shape:
                    continue
                case(name, lambda xp, x, n=name, a=axis, k=keep: getattr(xp, n)(x, axis=a, keepdims=k), x)
            if not isinstance(axis, tuple) and 0 not in shape and not (shape == () and axis is not None):
                for name in ("argmax", "argmin"):
                    case(name, lambda xp, x, n=name, a=axis, k=keep: getattr(xp, n)(x, axis=a, keepdims=k), x)
        if dtype in FLOATS and 0 not in shape and len(shape) and shape[-1] > 1:
            for name in ("std", "var"):
                case(name, lambda xp, x, n=name: getattr(xp, n)(x, axis=-1, correction=1.0), x)
        for axis in range(-1, len(shape)):
            if not shape:
                break
            for name, down in itertools.product(("sort", "argsort"), (False, True)):
                case(name, lambda xp, x, n=name, a=axis, d=down: getattr(xp, n)(x, axis=a, descending=d), x)
            for name, first in itertools.product(("cumulative_sum", "cumulative_prod"), (False, True)):
                case(name, lambda xp, x, n=name, a=axis, f=first: getattr(xp, n)(x, axis=a, include_initial=f), x)
            case("flip", lambda xp, x, a=axis: xp.flip(x, axis=a), x)
            case("roll", lambda xp, x, a=axis: xp.roll(x, 2, axis=a), x)
            case("diff", lambda xp, x, a=axis: xp.diff(x, axis=a), x)
            case("repeat", lambda xp, x, a=axis: xp.repeat(x, 2, axis=a), x)
            case("unstack", lambda xp, x, a=axis: xp.unstack(x, axis=a), x)
            case("concat", lambda xp, x, a=axis: xp.concat([x, x], axis=a), x)
            case("stack", lambda xp, x, a=axis: xp.stack([x, x], axis=a), x)
            if 0 not in shape:
                index = np.array([0, -1, 0][: 1 if shape[axis] == 1 else 3]) % shape[axis]
                case("take", lambda xp, x, i, a=axis: xp.take(x, i, axis=a), x, index)
                along = np.zeros([1 if d == axis % len(shape) else n for d, n in enumerate(shape)], np.int64)
                case("take_along_axis", lambda xp, x, i, a=axis: xp.take_along_axis(x, i, axis=a), x, along)
        case("flip", lambda xp, x: xp.flip(x), x)
        case("roll", lambda xp, x: xp.roll(x, 1), x)
        case("concat", lambda xp, x: xp.concat([x, x], axis=None), x)
        case("repeat", lambda xp, x: xp.repeat(x, 3), x)
        case("stack", lambda xp, x: xp.stack([x, x]), x)
        case("expand_dims", lambda xp, x: xp.expand_dims(x, axis=0), x)
        case("squeeze", lambda xp, x: xp.squeeze(xp.expand_dims(x, axis=0), axis=0), x)
        case("reshape", lambda xp, x: xp.reshape(x, (-1,)) if x.size else xp.reshape(x, (0, 5)), x)
        case("tile", lambda xp, x: xp.tile(x, (2, 1)), x)
        case("broadcast_to", lambda xp, x: xp.broadcast_to(x, (4, *x.shape)), x)
        case("broadcast_arrays", lambda xp, x: xp.broadcast_arrays(x, xp.reshape(x, (1, *x.shape))), x)
        case("permute_dims", lambda xp, x: xp.permute_dims(x, tuple(reversed(range(x.ndim)))), x)
        case("where", lambda xp, x: xp.where(x > 0, x, -x), x)
        case("where", lambda xp, x: xp.where(x > 0, x, 0), x)
        case("clip", lambda xp, x: xp.clip(x, -1, 1), x)
        case("clip", lambda xp, x: xp.clip(x, min=x - 1, max=None), x)
        for name in ("zeros_like", "ones_like"):
            case(name, lambda xp, x, n=name: getattr(xp, n)(x), x)
            case(name, lambda xp, x, n=name: getattr(xp, n)(x, dtype=xp.float64), x)
        case("full_like", lambda xp, x: xp.full_like(x, 2), x)
        case("empty_like", lambda xp, x: xp.empty_like(x) * 0 == 0, x * 0)
        case("astype", lambda xp, x: xp.astype(x, xp.float64), x)
        case("astype", lambda xp, x: xp.astype(x, xp.bool), x)
        case("unique_values", lambda xp, x: xp.sort(xp.unique_values(xp.round(x))), x)
        for name in ("unique_all", "unique_counts", "unique_inverse"):
            case(name, lambda xp, x, n=name: getattr(xp, n)(xp.round(x)), x)
        case("result_type", lambda xp, x: xp.result_type(x, xp.float64) == xp.float64, filled(shape, "float32"))
        if len(shape) > 1:
            case("moveaxis", lambda xp, x: xp.moveaxis(x, 0, -1), x)
            case("matrix_transpose", lambda xp, x: xp.matrix_transpose(x), x)
            case("tril", lambda xp, x: xp.tril(x, k=1), x)
            case("triu", lambda xp, x: xp.triu(x, k=-1), x)
            case("tensordot", lambda xp, x: xp.tensordot(x, x, axes=x.ndim), x)
        if len(shape) > 0:
            case("nonzero", lambda xp, x: xp.nonzero(x), x)
            case("vecdot", lambda xp, x: xp.vecdot(x, x), x)
            case("matmul", lambda xp, x: xp.matmul(x, xp.ones((x.shape[-1], 4), dtype=x.dtype)), x)
    a, v = np.sort(filled((5,), dtype)), filled((2, 3), dtype)
    for side in ("left", "right"):
        case("searchsorted", lambda xp, a, v, s=side: xp.searchsorted(a, v, side=s), a, v)
    for indexing in ("xy", "ij"):
        case("meshgrid", lambda xp, a, v, i=indexing: xp.meshgrid(a, v, indexing=i), a, v.ravel())
    for name in ("zeros", "ones"):
        case(name, lambda xp, n=name, d=dtype: getattr(xp, n)((2, 3), dtype=getattr(xp, d)))
        case(name, lambda xp, n=name, d=dtype: getattr(xp, n)(4, dtype=getattr(xp, d)))
    case("empty", lambda xp, d=dtype: xp.empty((2, 3), dtype=getattr(xp, d)) * 0 == 0)
    case("full", lambda xp, d=dtype: xp.full((2, 3), 3, dtype=getattr(xp, d)))
    case("eye", lambda xp, d=dtype: xp.eye(3, 4, k=1, dtype=getattr(xp, d)))
    case("arange", lambda xp, d=dtype: xp.arange(1, 9, 2, dtype=getattr(xp, d)))
    case("asarray", lambda xp, d=dtype: xp.asarray([[1, 2], [3, 4]], dtype=getattr(xp, d)))
    case("from_dlpack", lambda xp, x: xp.from_dlpack(x), filled((2, 3), dtype))
for dtype in FLOATS:
    case("linspace", lambda xp, d=dtype: xp.linspace(0.0, 1.0, 5, dtype=getattr(xp, d)))
    case("linspace", lambda xp, d=dtype: xp.linspace(0.0, 1.0, 5, dtype=getattr(xp, d), endpoint=False))
    case("finfo", lambda xp, d=dtype: (float(xp.finfo(getattr(xp, d)).eps), xp.finfo(getattr(xp, d)).bits))
    case("can_cast", lambda xp, x: (xp.can_cast(x.dtype, xp.float64), xp.can_cast(x, xp.bool)), filled((2,), dtype))
    square = filled((3, 3), dtype)
    many = square @ square.T + 3 * np.eye(3, dtype=dtype)
    batch = np.stack([many, 2 * many])
    for x in (many, batch):
        for name in ("cholesky", "det", "eigvalsh", "inv", "matrix_norm", "pinv", "slogdet", "svdvals", "matrix_rank",
                     "matrix_transpose", "diagonal", "trace", "vector_norm"):
            case(f"linalg.{name}", lambda xp, x, n=name: getattr(xp.linalg, n)(x), x)
        case("linalg.matrix_power", lambda xp, x: xp.linalg.matrix_power(x, 3), x)
        case("linalg.eigh", lambda xp, x: xp.linalg.eigh(x)[0], x)
        case("linalg.svd", lambda xp, x: xp.linalg.svd(x)[1], x)
        case("linalg.qr", lambda xp, x: xp.abs(xp.linalg.qr(x)[1]), x)
        case("linalg.solve", lambda xp, x: xp.linalg.solve(x, xp.ones((3, 2), dtype=x.dtype)), x)
        case("linalg.matmul", lambda xp, x: xp.linalg.matmul(x, x), x)
        case("linalg.vecdot", lambda xp, x: xp.linalg.vecdot(x, x), x)
        case("linalg.tensordot", lambda xp, x: xp.linalg.tensordot(x, x, axes=((-1,), (-1,))), x)
        case("linalg.cross", lambda xp, x: xp.linalg.cross(x, xp.flip(x, axis=-1)), x)
    case("linalg.outer", lambda xp, x: xp.linalg.outer(x, 2 * x), filled((3,), dtype))
case("iinfo", lambda xp: (xp.iinfo(xp.int64).max, xp.iinfo(xp.int64).min))
case("isdtype", lambda xp: [xp.isdtype(d, k) for d in (xp.float32, xp.int64, xp.bool) for k in (
    "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric",
    xp.float32, ("bool", "integral"))])
case("arange", lambda xp: xp.arange(5))
for name in ("e", "pi", "inf", "nan"):
    case(name, lambda xp, n=name: getattr(xp, n))
for name in (*FLOATS, *INTEGERS, *TRUTHS):
    case(name, lambda xp, n=name: xp.asarray([0, 1], dtype=getattr(xp, n)))
case("newaxis", lambda xp: xp.newaxis is None)
case("__array_namespace_info__", lambda xp: sorted(xp.__array_namespace_info__().dtypes(kind="bool")))


def flat(result):
    return [p for r in result for p in flat(r)] if isinstance(result, (tuple, list)) else [result]


def dtype_of(value):
    return str(value.dtype).rpartition(".")[2] if hasattr(value, "dtype") else ""


def values(x):
    return np.from_dlpack(x) if hasattr(x, "__dlpack__") and hasattr(x, "__array_namespace__") else x


def difference(call, arrays):
    """What differs between tensors and the reference, or None; a case that the reference refuses is no case."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            want = flat(call(strict, *(strict.asarray(a) for a in arrays)))
        except Exception as error:
            return f"REFERENCE {type(error).__name__}: {error}"
        try:
            got = flat(call(own, *(own.asarray(a) for a in arrays)))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    if len(got) != len(want):
        return f"{len(got)} results, not {len(want)}"
    for mine, theirs in zip(got, want):
        if dtype_of(mine) != dtype_of(theirs):
            return f"{dtype_of(mine)}, not {dtype_of(theirs)}"
        a, b = np.asarray(values(mine)), np.asarray(values(theirs))
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if a.dtype.kind == "f":
            near = TOLERANCE[str(a.dtype)]
            if not np.allclose(a, b, rtol=near * 10, atol=near * 10, equal_nan=True):
                return f"{a}, not {b}"
        elif not np.array_equal(a, b):
            return f"{a}, not {b}"
    return None


def examine():
    """By name of the function the first difference, or None."""
    found = {}
    for name, calls in CASES.items():
        found[name] = next((f"{[(a.shape, str(a.dtype)) for a in arrays]} {what}" for call, arrays in calls
                            if (what := difference(call, arrays)) is not None), None)
    return found


def names_of_the_standard():
    """What the reference has, without the dtypes that tensors do not have."""
    skip = {"ArrayAPIStrictFlags", "Device", "ModuleType", "broadcast_shapes", "isin", "imag", "linalg"}
    plain = {name for name in dir(strict) if not name.startswith("_") and name not in skip and "strict" not in name}
    absent = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} - {"int64"}
    return plain - absent - {"complex64", "complex128"}


def main():
    found = examine()
    for name, what in found.items():
        if what is not None:
            print(f"{name}: {what[:220]}")
    right = sum(what is None for what in found.values())
    print(f"{right} of {len(found)} names hold in all of {sum(map(len, CASES.values()))} cases")
    return 0 if right == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
