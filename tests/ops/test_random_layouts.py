"""Random chains of views, random index keys, and ops on operands whose strides are anything NumPy can make."""

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg

CHECK = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def fill(shape, seed):
    return np.random.default_rng(seed).uniform(-2, 2, shape)


def shapes(largest=4, extents=(0, 1, 2, 3, 4)):
    return st.lists(st.sampled_from(extents), max_size=largest).map(tuple)


# ------------------------------------------------------------------ chains of views


@st.composite
def views(draw, shape, length=4):
    """Functions for arrays and tensors alike, each of which takes the former's result to another view of it."""
    chain = []
    x = np.empty(shape)
    for _ in range(draw(st.integers(0, length))):
        kind = draw(st.sampled_from(["slice", "transpose", "reshape", "newaxis", "flip", "index", "squeeze", "split"]))
        if kind == "slice" and x.ndim:
            key = tuple(draw(st.slices(n)) for n in x.shape)
            step = lambda a, key=key: a[key]
        elif kind == "transpose" and x.ndim:
            order = tuple(draw(st.permutations(range(x.ndim))))
            step = lambda a, order=order: np.transpose(a, order)
        elif kind == "reshape":
            if x.size:
                factors = draw(st.sampled_from(factorisations(x.size)))
            else:
                factors = draw(st.sampled_from([(0,), (0, 2), (3, 0), (1, 0, 2)]))
            step = lambda a, factors=factors: np.reshape(a, factors)
        elif kind == "newaxis" and x.ndim < 4:
            axis = draw(st.integers(0, x.ndim))
            step = lambda a, axis=axis: np.expand_dims(a, axis)
        elif kind == "flip" and x.ndim:
            axis = draw(st.integers(0, x.ndim - 1))
            step = lambda a, axis=axis: np.flip(a, axis)
        elif kind == "index" and x.ndim and x.shape[0]:
            k = draw(st.integers(-x.shape[0], x.shape[0] - 1))
            step = lambda a, k=k: a[k]
        elif kind == "split" and x.ndim and x.shape[-1] > 1:
            k = draw(st.integers(0, x.shape[-1]))
            step = lambda a, k=k: np.split(a, [k], axis=-1)[1]
        else:
            step = np.squeeze
        chain.append(step)
        x = step(x)
    return chain


def factorisations(n):
    pairs = [(k, n // k) for k in range(1, n + 1) if n % k == 0]
    return [(n,), *pairs, *((a, 1, b) for a, b in pairs)]


def follow(chain, a):
    for step in chain:
        a = step(a)
    return a


def scattered(chain, shape, g):
    """The adjoint of a chain of views: each element of ``g`` added at the place that it came from."""
    places = follow(chain, np.arange(int(np.prod(shape))).reshape(shape))
    total = np.zeros(int(np.prod(shape)))
    np.add.at(total, places.ravel(), np.ravel(g))
    return total.reshape(shape)


@CHECK
@given(st.data())
def test_a_chain_of_views_has_the_elements_of_numpy_and_its_adjoint_finds_them_again(data):
    shape = data.draw(shapes())
    chain = data.draw(views(shape))
    x = fill(shape, 0)
    leaf = tg.tensor(x, requires_grad=True)
    for start in (leaf, leaf * 1.0):
        out = follow(chain, start)
        expected = follow(chain, x)
        np.testing.assert_array_equal(out.numpy(), expected)
        g = fill(expected.shape, 1)
        leaf.grad = None
        tg.sum(out * g).backward()
        if leaf.grad is not None:
            np.testing.assert_allclose(leaf.grad.numpy(), scattered(chain, shape, g), atol=1e-15)
        leaf.grad = None
        follow(chain, leaf * 2.0).backward(gradient=g)
        if leaf.grad is not None:
            np.testing.assert_allclose(leaf.grad.numpy(), 2 * scattered(chain, shape, g), atol=1e-15)


@CHECK
@given(st.data())
def test_a_recorded_chain_of_views_equals_numpy(data):
    shape = data.draw(shapes())
    chain = data.draw(views(shape))
    x = fill(shape, 0)
    g = fill(follow(chain, x).shape, 1)
    fast = tg.compile(tg.value_and_grad(lambda a: (follow(chain, a * 3.0) * g).sum()))
    value, gradient = fast(x)
    np.testing.assert_allclose(value, np.sum(3 * follow(chain, x) * g), atol=1e-13)
    np.testing.assert_allclose(gradient, 3 * scattered(chain, shape, g), atol=1e-14)


# ------------------------------------------------------------------ ops on strided operands


@st.composite
def operand(draw, shape):
    """An array of ``shape`` made by slicing and transposing a larger one: (leaf values, chain of views)."""
    order = tuple(draw(st.permutations(range(len(shape)))))
    base, key = [], []
    for axis in order:
        n = shape[axis]
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        extent = before + after + (max(n - 1, 0) * abs(step) + 1 if n else 0)
        first = before + (max(n - 1, 0) * abs(step) if step < 0 else 0)
        last = first + n * step
        key.append(slice(first, None if last < 0 else last, step) if n else slice(0, 0))
        base.append(extent)
    inverse = tuple(np.argsort(order).tolist())
    key = tuple(key)
    chain = [lambda a: a[key], lambda a: np.transpose(a, inverse)] if shape else []
    assert follow(chain, np.empty(base)).shape == tuple(shape)
    return tuple(base), chain


@st.composite
def pairs(draw):
    """Two shapes that broadcast, extents 0 to 4."""
    whole = draw(shapes())
    found = []
    for _ in range(2):
        dropped = draw(st.integers(0, len(whole)))
        found.append(tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in whole[dropped:]))
    return found


def mask_of(a, b):
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return np.random.default_rng(5).random(shape) < 0.5


BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "where"]


@CHECK
@given(st.data())
def test_binary_ops_on_strided_operands_agree_with_the_plain_python_tape(data):
    name = data.draw(st.sampled_from(BINARY))
    made = [data.draw(operand(shape)) for shape in data.draw(pairs())]
    bases = [fill(base, k) for k, (base, _) in enumerate(made)]
    leaves = [tg.tensor(x, requires_grad=True) for x in bases]
    tensors = [follow(chain, leaf) for leaf, (_, chain) in zip(leaves, made)]
    variables = [naive.Var(follow(chain, x)) for x, (_, chain) in zip(bases, made)]
    if name == "where":
        mask = mask_of(*[v.value for v in variables])
        out, expected = tg.where(mask, *tensors), naive.TapeFunctions.where(mask, *variables)
    else:
        out, expected = getattr(tg, name)(*tensors), getattr(naive.TapeFunctions, name)(*variables)
    np.testing.assert_array_equal(out.numpy(), expected.value)
    g = fill(expected.value.shape, 9)
    out.backward(gradient=g)
    naive.TapeFunctions.sum(naive.TapeFunctions.multiply(expected, naive.Var(g))).backward()
    for leaf, variable, (base, chain) in zip(leaves, variables, made):
        gradient = np.zeros(base) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(gradient, scattered(chain, base, variable.adjoint), atol=1e-13)


@CHECK
@given(st.data())
def test_reductions_of_strided_operands_agree_with_numpy(data):
    shape = data.draw(shapes(extents=(1, 2, 3, 4)))
    base, chain = data.draw(operand(shape))
    name = data.draw(st.sampled_from(["sum", "mean", "prod", "max", "min", "var", "logsumexp"]))
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True).map(tuple)) if shape else None
    axes = None if not axes else axes
    keepdims = data.draw(st.booleans())
    x = fill(base, 0)
    leaf = tg.tensor(x, requires_grad=True)
    reference = naive.logsumexp if name == "logsumexp" else getattr(np, name)
    out = getattr(tg, name)(follow(chain, leaf), axis=axes, keepdims=keepdims)
    v = follow(chain, x)
    np.testing.assert_allclose(out.numpy(), reference(v, axis=axes, keepdims=keepdims), rtol=1e-12, atol=1e-13)
    g = fill(out.shape, 1)
    out.backward(gradient=g)
    slope = naive.derivative(lambda a: reference(a, axis=axes, keepdims=keepdims), [v], 0, g, step=1e-5)
    np.testing.assert_allclose(leaf.grad.numpy(), scattered(chain, base, slope), atol=1e-7)


@CHECK
@given(st.data())
def test_products_of_strided_operands_agree_with_numpy(data):
    m, k, n = (data.draw(st.integers(0, 4)) for _ in range(3))
    left, right = data.draw(pairs()) if data.draw(st.booleans()) else ((), ())
    made = [data.draw(operand((*left[-2:], m, k))), data.draw(operand((*right[-2:], k, n)))]
    try:
        np.broadcast_shapes(left[-2:], right[-2:])
    except ValueError:
        return
    bases = [fill(base, s) for s, (base, _) in enumerate(made)]
    leaves = [tg.tensor(x, requires_grad=True) for x in bases]
    a, b = (follow(chain, x) for x, (_, chain) in zip(bases, made))
    out = tg.matmul(*[follow(chain, leaf) for leaf, (_, chain) in zip(leaves, made)])
    np.testing.assert_allclose(out.numpy(), a @ b, atol=1e-13)
    g = fill(out.shape, 3)
    out.backward(gradient=g)
    shares = (g @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ g)
    for leaf, v, share, (base, chain) in zip(leaves, (a, b), shares, made):
        gradient = np.zeros(base) if leaf.grad is None else leaf.grad.numpy()
        expected = scattered(chain, base, naive.unbroadcast(share, v.shape))
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


@CHECK
@given(st.data())
def test_softmax_and_cumsum_of_strided_operands_agree_with_numpy(data):
    shape = data.draw(shapes(extents=(1, 2, 3, 4)).filter(len))
    base, chain = data.draw(operand(shape))
    name = data.draw(st.sampled_from(["softmax", "log_softmax", "cumsum"]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = fill(base, 0)
    leaf = tg.tensor(x, requires_grad=True)
    reference = np.cumsum if name == "cumsum" else getattr(naive, name)
    out = getattr(tg, name)(follow(chain, leaf), axis=axis)
    v = follow(chain, x)
    np.testing.assert_allclose(out.numpy(), reference(v, axis=axis), rtol=1e-13, atol=1e-14)
    g = fill(shape, 1)
    out.backward(gradient=g)
    slope = naive.derivative(lambda a: reference(a, axis=axis), [v], 0, g)
    np.testing.assert_allclose(leaf.grad.numpy(), scattered(chain, base, slope), atol=1e-9)


@CHECK
@given(st.data())
def test_joins_of_strided_operands_agree_with_numpy(data):
    shape = data.draw(shapes().filter(len))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    made = [data.draw(operand(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    join = data.draw(st.sampled_from([np.concatenate, np.stack]))
    bases = [fill(base, k) for k, (base, _) in enumerate(made)]
    leaves = [tg.tensor(x, requires_grad=True) for x in bases]
    out = join([follow(chain, leaf) for leaf, (_, chain) in zip(leaves, made)], axis=axis)
    expected = join([follow(chain, x) for x, (_, chain) in zip(bases, made)], axis=axis)
    np.testing.assert_array_equal(out.numpy(), expected)
    g = fill(out.shape, 9)
    out.backward(gradient=g)
    parts = np.split(g, len(made), axis) if join is np.concatenate else list(np.moveaxis(g, axis, 0))
    for leaf, part, (base, chain) in zip(leaves, parts, made):
        gradient = np.zeros(base) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_array_equal(gradient, scattered(chain, base, part))


# ------------------------------------------------------------------ index keys


@st.composite
def keys(draw, shape):
    """A key of integers, slices, None, an ellipsis, integer arrays that broadcast, and masks."""
    together = draw(st.sampled_from([(), (2,), (3,), (2, 1)]))
    key, axis, ellipsis_at = [], 0, draw(st.integers(-1, len(shape)))
    count = draw(st.integers(0, len(shape)))
    while axis < count:
        n = shape[axis]
        if len(key) == ellipsis_at and ... not in [k for k in key if k is ...]:
            key.append(...)
            axis = max(axis, len(shape) - (count - axis))
            count = len(shape)
            continue
        kind = draw(st.sampled_from(["int", "slice", "slice", "none", "array", "list", "mask"]))
        if kind == "none":
            if sum(k is None for k in key) < 2:
                key.append(None)
            continue
        if kind == "int" and n:
            key.append(draw(st.integers(-n, n - 1)))
        elif kind in ("array", "list") and n:
            size = int(np.prod(together))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
            array = np.array(values, dtype=np.int64).reshape(together)
            key.append(array.tolist() if kind == "list" and together else array)
        elif kind == "mask" and together in ((), (2,), (3,)):
            chosen = draw(st.integers(0, n)) if not together else together[0]
            if chosen > n:
                key.append(slice(None))
            else:
                mask = np.zeros(n, dtype=bool)
                mask[draw(st.permutations(range(n)))[:chosen]] = True
                key.append(mask)
        else:
            key.append(draw(st.slices(n)))
        axis += 1
    if len(key) == 1 and draw(st.booleans()):
        return key[0]
    return tuple(key)


@CHECK
@given(st.data())
def test_a_random_key_chooses_the_elements_of_numpy_and_scatters_the_adjoint_back(data):
    shape = data.draw(shapes())
    key = data.draw(keys(shape))
    x = fill(shape, 0)
    try:
        expected = x[key]
    except IndexError:
        with pytest.raises(IndexError):
            tg.tensor(x)[key]
        return
    for dtype in (np.float64, np.float32):
        leaf = tg.tensor(x.astype(dtype), requires_grad=True)
        out = leaf[key]
        np.testing.assert_array_equal(out.numpy(), np.asarray(expected, dtype))
        g = fill(np.shape(expected), 1).astype(dtype)
        out.backward(gradient=g)
        total = np.zeros(shape)
        np.add.at(total, key, g)
        gradient = np.zeros(shape) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(gradient, total, atol=1e-14 if dtype == np.float64 else 1e-6)


@CHECK
@given(st.data())
def test_a_random_key_in_a_recording_equals_numpy(data):
    shape = data.draw(shapes())
    key = data.draw(keys(shape))
    x = fill(shape, 0)
    try:
        expected = x[key]
    except IndexError:
        return
    g = fill(np.shape(expected), 1)
    value, gradient = tg.compile(tg.value_and_grad(lambda a: ((a * 2.0)[key] * g).sum()))(x)
    np.testing.assert_allclose(value, np.sum(2 * expected * g), atol=1e-13)
    total = np.zeros(shape)
    np.add.at(total, key, 2 * g)
    np.testing.assert_allclose(gradient, total, atol=1e-14)


@CHECK
@given(st.data())
def test_at_set_and_add_with_a_random_key_equal_numpy(data):
    shape = data.draw(shapes())
    key = data.draw(keys(shape))
    x = fill(shape, 0)
    try:
        place = np.arange(x.size).reshape(shape)[key]
    except IndexError:
        return
    v = fill(np.shape(place), 2)
    expected = x.copy()
    np.add.at(expected, key, v)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(v, requires_grad=True)
    out = a.at[key].add(b)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-14)
    g = fill(shape, 3)
    out.backward(gradient=g)
    np.testing.assert_array_equal(a.grad.numpy() if a.grad is not None else np.zeros(shape), g)
    np.testing.assert_array_equal(b.grad.numpy() if b.grad is not None else np.zeros(v.shape), g[key])
    if len(np.unique(place)) == np.size(place):
        expected = x.copy()
        expected[key] = v
        np.testing.assert_array_equal(a.at[key].set(b).numpy(), expected)
