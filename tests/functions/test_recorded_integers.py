"""Integers and bool in recordings and in vmap are what NumPy makes of them: exact, in values and dtypes."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

BIG, WIDE = 2**24 + 1, 2**53 + 1  # no float32, no float64
A = np.array([[BIG, 5, -BIG], [-7, WIDE, 0], [3, -2**62, -1]])
B = np.array([[3, -2, 2**40 + 1], [BIG, 1, 0], [-4, -1, WIDE]])
M = np.array([[True, False, True], [False, False, True], [True, True, True]])
N = np.array([[True, True, False], [False, True, True], [False, True, False]])
AT = np.array([2, 0, -1])
EACH = np.array([[0, 2, 1], [1, 1, 0], [2, 0, 2]])

TWO = ("add subtract multiply floor_divide remainder fmod maximum minimum fmax fmin greater greater_equal less "
       "less_equal equal not_equal")
OF_BOOL = "add multiply floor_divide remainder maximum minimum equal less logical_and logical_or logical_xor"
ONE = "abs sign square negative argsort argmax argmin sum prod max min cumsum cumprod ravel any all tril triu trace"
ALONG = "sum prod max min any all cumsum cumprod argmax argmin sort argsort flip count_nonzero ptp"

#: by name a function of (np or tapegrad, arrays), and the arrays
CASES = {
    **{f"{name} of integers": (lambda xp, a, b, name=name: getattr(xp, name)(a, b), (A, B)) for name in TWO.split()},
    **{f"{name} of an integer and a number": (lambda xp, a, name=name: getattr(xp, name)(a, BIG), (A,))
       for name in TWO.split()},
    **{f"{name} of integers and bool": (lambda xp, a, m, name=name: getattr(xp, name)(a[:, None], m), (A, M))
       for name in TWO.split()},
    **{f"{name} of bool": (lambda xp, a, b, name=name: getattr(xp, name)(a, b), (M, N)) for name in OF_BOOL.split()},
    **{f"{name} of all": (lambda xp, a, name=name: getattr(xp, name)(a), (A,)) for name in ONE.split()},
    **{f"{name} along an axis": (lambda xp, a, name=name: getattr(xp, name)(a, axis=0), (A,))
       for name in ALONG.split()},
    **{f"{name} of bool along an axis": (lambda xp, a, name=name: getattr(xp, name)(a, axis=1), (M,))
       for name in ALONG.split() if name != "ptp"},
    "operators": (lambda xp, a, b: (5 - a) * b // 3 % 1000 - (-a) + abs(b), (A, B)),
    "divmod": (lambda xp, a, b: divmod(a, b)[1], (A, B)),
    "a number by zeros": (lambda xp, a: BIG // (a * 0), (A,)),
    "the least by -1": (lambda xp, a: (a - 2**62) // -1, (A,)),
    "power": (lambda xp, a: a**3, (A,)),
    "power of integers": (lambda xp, a, b: a ** (abs(b) % 70), (A, B)),
    "bits": (lambda xp, a, b: (a & b) | (~a ^ 12), (A, B)),
    "bits of integers and bool": (lambda xp, a, m: a & m, (A, M)),
    "not": (lambda xp, m: ~m, (M,)),
    "a product": (lambda xp, a, b: a @ b, (A, B)),
    "a product of a matrix and a vector": (lambda xp, a, b: a @ b[0], (A, B)),
    "a product of vectors": (lambda xp, a, b: a[0] @ b[0], (A, B)),
    **{f"{name} of matrices": (lambda xp, a, b, name=name: getattr(xp, name)(a, b), (A, B))
       for name in ("matmul", "dot", "outer")},
    "matmul of stacks": (lambda xp, a, b: xp.matmul(xp.stack([a, b]), b), (A, B)),
    "a product of bool": (lambda xp, a, b: a @ b, (M, N)),
    "where": (lambda xp, m, a, b: xp.where(m, a, b), (M, A, B)),
    "where of bool": (lambda xp, m, a, b: xp.where(m, a, b), (M, N, M)),
    "where of a number": (lambda xp, m, a: xp.where(m, a, BIG), (M, A)),
    "clip": (lambda xp, a: xp.clip(a, -5, BIG), (A,)),
    "clip by arrays": (lambda xp, a, b: xp.clip(a, b, b + 1), (A, B)),
    "concatenate": (lambda xp, a, b: xp.concatenate([a, b.T] * 5, 1), (A, B)),
    "concatenate bool": (lambda xp, a, b: xp.concatenate([a, b]), (M, N)),
    "concatenate bool and integers": (lambda xp, a, b: xp.concatenate([a, b]), (M, A)),
    "stack": (lambda xp, a, b: xp.stack([a, b], 1), (A, B)),
    "stack of numbers": (lambda xp, a: xp.stack([a[0, 0], a[1, 1]]), (A,)),
    "roll": (lambda xp, a: xp.roll(a, 1, 0), (A,)),
    "diff": (lambda xp, a: xp.diff(a, prepend=0), (A,)),
    "diagflat": (lambda xp, a: xp.diagflat(a), (A,)),
    "diagflat of bool": (lambda xp, a: xp.diagflat(a), (M,)),
    "repeat": (lambda xp, a: xp.repeat(a, 2, 1), (A,)),
    "broadcast_to": (lambda xp, a: xp.broadcast_to(a.T, (2, 3, 3)), (A,)),
    "a transposed reshaped": (lambda xp, a: a.T.reshape(9) + 1, (A,)),
    "a list as index": (lambda xp, a: a[:, [0, 1]], (A,)),
    "a list of what is recorded as index": (lambda xp, a, at: a[[at[0], at[1]]], (A, AT)),
    "an index": (lambda xp, a, at: a[at], (A, AT)),
    "an index of bool": (lambda xp, m, at: m[at], (M, AT)),
    "a tuple of indices": (lambda xp, a, at: a[at, at], (A, AT)),
    "an index of one of them": (lambda xp, a, at: a[1, at], (A, AT)),
    "a number as index": (lambda xp, a, at: a[at[0]], (A, AT)),
    "an index that is computed": (lambda xp, a, at: a[(at + 4) // 2 % 3], (A, AT)),
    "argmax as an index": (lambda xp, a, b: a[b.argmax(1)], (A, B)),
    "a mask from outside": (lambda xp, a: a[M], (A,)),
    "take": (lambda xp, a, at: xp.take(a, at, 1), (A, AT)),
    "take of all": (lambda xp, a, at: xp.take(a, at), (A, AT)),
    "take_along_axis": (lambda xp, a, each: xp.take_along_axis(a, each, 0), (A, EACH)),
    "take_along_axis of bool": (lambda xp, a, each: xp.take_along_axis(a.T, each, 1), (M, EACH)),
    "einsum": (lambda xp, a, b: xp.einsum("ij,kj,k->ik", a, b, b[:, 0]), (A, B)),
    "einsum of one": (lambda xp, a: xp.einsum("ij->ji", a), (A,)),
    "einsum of a diagonal": (lambda xp, a, m: xp.einsum("ii,ij->j", a, m), (A, M)),
    "einsum of bool": (lambda xp, m, n: xp.einsum("ij,jk->ik", m, n), (M, N)),
    "diff of bool": (lambda xp, m: xp.diff(m, 2), (M,)),
    "nan_to_num": (lambda xp, a: xp.nan_to_num(a), (A,)),
    "padded": (lambda xp, a: xp.pad(a, ((1, 0), (2, 1)), constant_values=BIG), (A,)),
    "padded by its edge": (lambda xp, a: xp.pad(a, 1, mode="edge"), (A,)),
    "bool padded": (lambda xp, m: xp.pad(m, 2), (M,)),
    "none": (lambda xp, a: a[:0].sum(0), (A,)),
    "of none": (lambda xp, a: a[:0] + 1, (A,)),
}


def both(name):
    """tapegrad's function, its arrays, and NumPy's result."""
    function, arrays = CASES[name]
    with np.errstate(all="ignore"):
        expected = np.asarray(function(np, *arrays))
    return lambda *given: function(tg, *given), arrays, expected.astype(
        np.int64 if expected.dtype.kind == "i" else expected.dtype)  # of bool some are int8


def equals(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.grid
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_integers_are_exact_by_define_by_run_in_recordings_and_in_vmap(name):
    function, arrays, expected = both(name)
    equals(function(*map(tg.tensor, arrays)), expected)
    equals(tg.compile(function)(*arrays), expected)
    equals(tg.vmap(function)(*[np.stack([a.T if a.ndim > 1 else a[::-1], a]) for a in arrays])[1], expected)
    if len(arrays) > 1:  # one of them the same for all
        axes = (None, *[0] * (len(arrays) - 1))
        found = tg.vmap(function, in_axes=axes)(tg.tensor(arrays[0]), *[np.stack([a, a]) for a in arrays[1:]])
        equals(found[0], expected)
        equals(tg.compile(lambda *rest: function(tg.tensor(arrays[0]), *rest))(*arrays[1:]), expected)


@pytest.mark.parametrize("name", ["operators", "bits", "where", "concatenate", "an index that is computed",
                                  "argmax as an index", "max along an axis", "power", "a product", "less of bool"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_computes_with_integers_exactly(name, dtype):
    function, arrays, expected = both(name)
    weight = nn.Parameter(np.ones(2, dtype))
    step = tg.TrainStep(lambda *given: (weight * (function(*given) != tg.tensor(expected)).sum()).sum(),
                        optim.SGD([weight], lr=1.0))
    assert step(*arrays) == 0.0
    assert step(*[np.roll(a, 1) for a in arrays]) > 0.0


WRITES = {
    "set": (lambda a, at, b: a.at[at].set(b), lambda y, at, b: y.__setitem__(at, b)),
    "set of one row": (lambda a, at, b: a.at[0].set(b[0]), lambda y, at, b: y.__setitem__(0, b[0])),
    "add": (lambda a, at, b: a.at[at].add(b), lambda y, at, b: np.add.at(y, at, b)),
    "index_add": (lambda a, at, b: tg.index_add(a, 0, at, b, alpha=3), lambda y, at, b: np.add.at(y, at, 3 * b)),
    "index_copy": (lambda a, at, b: tg.index_copy(a, 0, at, b), lambda y, at, b: y.__setitem__(at, b)),
    "scatter": (lambda a, at, b: tg.scatter(a, 0, at[:, None] % 3, b[:, :1]),
                lambda y, at, b: y.__setitem__((at % 3, 0), b[:, 0])),
    "scatter_add": (lambda a, at, b: tg.scatter_add(a, 1, at[None] % 3, b[:1]),
                    lambda y, at, b: np.add.at(y, (0, at % 3), b[0])),
    "masked_fill": (lambda a, at, b: a.masked_fill(b > 2, BIG), lambda y, at, b: y.__setitem__(b > 2, BIG)),
}


@pytest.mark.parametrize("name", WRITES)
def test_integers_are_written_by_index_exactly(name):
    function, write = WRITES[name]
    for values, source in ((A, B), (M, N)) if name in ("set", "add") else ((A, B),):
        expected = values.copy()
        write(expected, AT, source)
        equals(function(*map(tg.tensor, (values, AT, source))), expected)
        equals(tg.compile(function)(values, AT, source), expected)
        equals(tg.vmap(function)(*[np.stack([a, a]) for a in (values, AT, source)])[1], expected)


@pytest.mark.parametrize("call", [
    lambda a: tg.topk(a, 2, 0), lambda a: tg.kthvalue(a, 2), lambda a: a.max(dim=1), lambda a: a.sort(dim=0),
    lambda a: tg.cummax(a, 0), lambda a: a.median(dim=1)])
@pytest.mark.parametrize("values", [A, M], ids=["integers", "bool"])
def test_pairs_of_integers_are_those_of_define_by_run(call, values):
    expected = call(tg.tensor(values))
    for found in (tg.compile(call)(values), [part[1] for part in tg.vmap(call)(np.stack([values.T, values]))]):
        for one, other in zip(found, expected):
            equals(one, other.numpy())


def test_smaller_integers_are_taken_as_int64():
    small = np.array([127, -128, 100], np.int8)
    found = tg.compile(lambda a, b: a * b + np.array([127, 1, 1], np.int8))(small, small)
    equals(found, small.astype(np.int64) ** 2 + [127, 1, 1])


def test_integers_beside_floats_are_of_the_recordings_dtype():
    x = np.array([0.5, 0.25, 2.0])
    found = tg.compile(lambda i, x: (i // 2 + i % 2) * x + i / 4)(AT, x)
    equals(found, (AT // 2 + AT % 2) * x + AT / 4)
    gradient = tg.compile(tg.grad(lambda x, i: (x[i + 1] * i).sum()))(x, np.array([0, 1, 1]))
    np.testing.assert_array_equal(gradient, [0.0, 0.0, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_is_looked_up_at_indices_that_are_computed(dtype):
    table = np.arange(20.0, dtype=dtype).reshape(10, 2)
    offsets = np.array([0, 5])
    found = tg.compile(lambda w, i: nn.functional.embedding(i + offsets, w))(table, np.array([[1, 4], [0, 0]]))
    np.testing.assert_array_equal(found.numpy(), table[[[1, 9], [0, 5]]])


def test_a_parameter_is_made_integers_at_each_replay():
    weight = nn.Parameter(np.array([0.5, 3.0]))
    step = tg.TrainStep(lambda x: (weight * x).sum() + (weight.long() * x).sum().detach(), optim.SGD([weight], lr=1.0))
    assert [step(np.array([1.0, -1.0])) for _ in range(2)] == [-5.5, -8.5]


def test_padding_by_pytorchs_arguments_keeps_integers():
    found = nn.functional.pad(tg.tensor([[BIG, 2], [3, 4]]), (1, -1), value=7)
    assert found.tolist() == [[7, BIG], [7, 3]] and found.dtype == np.int64
    assert nn.functional.pad(tg.tensor([1]), (0, 1), value=0.5).tolist() == [1.0, 0.5]


def test_an_index_of_gather_does_not_count_from_the_end():
    def first(a, i):
        return tg.gather(a, 0, i)

    for call in (first, tg.compile(first)):
        with pytest.raises(tg.IndexRangeError, match="index -1"):
            call(tg.tensor([1, 2]), tg.tensor([-1]))


def test_what_integers_have_not_is_said():
    exponents = np.array([1, -1])
    with pytest.raises(tg.ArgumentError, match=r"negative power.*\.float\(\)"):
        tg.compile(lambda a, b: a**b)(np.array([2, 2]), exponents)
    with pytest.raises(ValueError, match="negative integer powers"):
        tg.compile(lambda a: a**-1)(exponents)
    with pytest.raises(TypeError, match="boolean subtract"):
        tg.compile(lambda m: m - m)(M)
    with pytest.raises(tg.IndexRangeError, match="index 3 is out of range for an axis of extent 3"):
        tg.compile(lambda a, at: a[at + 3])(A, np.array([0]))
    with pytest.raises(tg.DtypeError, match=r"round: int64.*to -1 decimals"):
        tg.compile(lambda a: tg.round(a, -1))(A)
    with pytest.raises(tg.ArgumentError, match="beyond the range of int64"):
        tg.compile(lambda a: a + 2**63)(A)
