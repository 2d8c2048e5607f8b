"""Nests of short rows run in blocks: values and sums as in NumPy, whatever is broadcast, strided or recorded."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.blocks import BLOCKED_SUM
from tapegrad.ops.elementwise import BINARY
from tapegrad.ops.table import OPS

#: shapes of two operands: pairs of points, vectors and columns over many rows, longer than a block too
SHAPES = [((100, 1, 3), (1, 100, 3)), ((700, 4), (4,)), ((700, 3), (700, 1)), ((7, 40, 3), (7, 1, 3)),
          ((9, 600, 3), (1, 600, 1)), ((5, 4, 40, 3), (4, 1, 3)), ((20, 70, 2), (20, 70, 2)), ((1, 63), (300, 1))]


def laid_out(array, layout):
    """A leaf, and a view of it that equals `array`."""
    if layout == "turned":
        leaf = tg.tensor(np.ascontiguousarray(array.T), requires_grad=True)
        return leaf, leaf.T
    if layout == "part":
        leaf = tg.tensor(np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, 2)]), requires_grad=True)
        return leaf, leaf[..., :array.shape[-1]]
    leaf = tg.tensor(array, requires_grad=True)
    return leaf, leaf


def summed_to(g, shape):
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(d for d, n in enumerate(shape) if n == 1), keepdims=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["contiguous", "turned", "part"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products_of_short_rows_and_their_gradients_are_as_in_numpy(shapes, layout, dtype):
    rng = np.random.default_rng(18)
    a, b = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    g = rng.normal(size=np.broadcast_shapes(*shapes)).astype(dtype)
    (x, u), (y, v) = laid_out(a, layout), laid_out(b, layout)
    with tg.Tape():
        z = u * v
        assert np.array_equal(z.numpy(), a * b)
        (z * g).sum().backward()
    for leaf, other, shape in ((x, b, shapes[0]), (y, a, shapes[1])):
        terms = g.astype(np.float64) * other
        found = leaf.grad.numpy().astype(np.float64)
        if layout == "turned":
            found = found.T
        if layout == "part":
            assert not found[..., -2:].any()
            found = found[..., :-2]
        bound = 4 * np.finfo(dtype).eps * summed_to(abs(terms), shape)
        assert (abs(found - summed_to(terms, shape)) <= bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, axis", [((900, 3), 1), ((900, 5), 1), ((30, 90, 3), 1), ((900, 2), 0),
                                         ((9, 99, 4), (0, 2)), ((3, 7, 400), (0, 2))], ids=str)
def test_sums_of_short_rows_and_their_gradients_are_as_in_numpy(shape, axis, dtype):
    x = np.random.default_rng(19).normal(size=shape).astype(dtype)
    for layout in ("contiguous", "turned", "part"):
        leaf, view = laid_out(x, layout)
        y = view.sum(axis)
        want, size = x.astype(np.float64).sum(axis), abs(x).astype(np.float64).sum(axis)
        assert (abs(y.numpy() - want) <= 2 * np.finfo(dtype).eps * size).all()
        g = np.random.default_rng(20).normal(size=want.shape).astype(dtype)
        (y * g).sum().backward()
        spread = np.broadcast_to(np.expand_dims(g, axis), shape)
        found = leaf.grad.numpy()
        found = found.T if layout == "turned" else found[..., :-2] if layout == "part" else found
        assert np.array_equal(found, spread)


def test_short_rows_are_recorded_in_blocks_and_a_recording_computes_the_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(21)
    x, w, b = rng.normal(size=(5000, 3)), rng.normal(size=3), rng.normal(size=(5000, 1))

    def loss(x, w, b):
        return ((x * w - b).sum(1) ** 2).sum()

    found = []
    for threads in (1, 2):
        before = tg.get_num_threads()
        tg.set_num_threads(threads)
        try:
            f = tg.compile(tg.value_and_grad(loss, argnums=(0, 1, 2)))
            found += [f(x, w, b), tg.value_and_grad(loss, argnums=(0, 1, 2))(x, w, b)]
        finally:
            tg.set_num_threads(before)
    ops = [OPS[code] for code in f.tape._opcode[:len(f.tape)].tolist()]
    assert ops[:3] == [BINARY["multiply"].blocked, BINARY["subtract"].blocked, BLOCKED_SUM]
    for value, gradients in found[1:]:
        assert value == found[0][0] and all(map(np.array_equal, gradients, found[0][1]))


def test_short_rows_are_batched_and_differentiated_twice():
    rng = np.random.default_rng(22)
    x, w = rng.normal(size=(60, 3)), rng.normal(size=3)

    def f(w):
        return ((x * w).sum(1) ** 2).sum() / 2

    np.testing.assert_allclose(tg.hessian(f)(w), x.T @ x, rtol=1e-12)
    many = rng.normal(size=(4, 3))
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(many), many @ (x.T @ x), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(lambda w: tg.vmap(f)(w).sum())(many), many @ (x.T @ x), rtol=1e-12)


@pytest.mark.parametrize("spec, a, b", [("ijk,ijk->ij", (30, 20, 3), (30, 20, 3)),
                                        ("ijk,kij->ji", (30, 20, 3), (3, 30, 20)),
                                        ("ij,ij->ij", (30, 4), (30, 4)), ("ijk,ik->i", (1, 5, 3), (40, 3)),
                                        ("...k,...k", (6, 1, 3), (1, 7, 3))])
def test_dot_products_of_short_rows_by_einsum_are_elementwise_and_as_in_numpy(spec, a, b):
    rng = np.random.default_rng(23)
    a, b = rng.normal(size=a), rng.normal(size=b)
    with tg.Tape() as tape:
        x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
        z = tg.einsum(spec, x, y)
        names = {OPS[code].name for code in tape._opcode[:len(tape)].tolist()}
        assert names <= {"multiply", "sum"}
        g = rng.normal(size=z.shape)
        (z * g).sum().backward()
    assert z.shape == np.einsum(spec, a, b).shape
    np.testing.assert_allclose(z.numpy(), np.einsum(spec, a, b), rtol=1e-13, atol=1e-13)
    for leaf, along in ((x, rng.normal(size=a.shape)), (y, rng.normal(size=b.shape))):
        moved = np.einsum(spec, along, b) if leaf is x else np.einsum(spec, a, along)  # linear in each
        np.testing.assert_allclose((leaf.grad.numpy() * along).sum(), (g * moved).sum(), rtol=1e-11)
