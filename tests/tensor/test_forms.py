"""What an op keeps from one call to the next at one call site is keyed by all that its result depends on."""

import threading

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

RNG = np.random.default_rng(7)
BASE = RNG.uniform(0.5, 1.5, (6, 8))


def site(a, b, slope=0.01):
    """The one call site of all tests: unary and binary ops, a product, an op with an attribute, a reduction."""
    z = tg.leaky_relu(a * b - 1.0, slope) + tg.exp(a) / b
    return (tg.softmax(z, axis=-1) * z).sum() + (a - b).mean() if z.ndim else z * 1.0


def by_hand(a, b, slope=0.01):
    """Value and gradients of `site` in float64, by NumPy alone."""
    a, b = (np.asarray(v, np.float64) for v in (a, b))
    u = a * b - 1.0
    z = np.where(u > 0, u, slope * u) + np.exp(a) / b
    if z.ndim:
        e = np.exp(z - z.max(-1, keepdims=True))
        s = e / e.sum(-1, keepdims=True)
        value, dz = (s * z).sum() + (a - b).mean(), s * (1.0 + z - (s * z).sum(-1, keepdims=True))
        share = 1.0 / np.broadcast(a, b).size
    else:
        value, dz, share = z, np.ones(()), 0.0
    inner = dz * np.where(u > 0, 1.0, slope)
    return value, summed(inner * b + dz * np.exp(a) / b + share, a), summed(
        inner * a - dz * np.exp(a) / b**2 - share, b)


def summed(g, like):
    """A gradient summed to the shape of what was broadcast."""
    g = g.sum(tuple(range(g.ndim - like.ndim)))
    return g.sum(tuple(d for d in range(like.ndim) if like.shape[d] == 1 and g.shape[d] > 1), keepdims=True)


def holds(value, expected):
    given = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    exact = given.dtype == np.float64
    np.testing.assert_allclose(given, expected, rtol=1e-10 if exact else 3e-5, atol=1e-12 if exact else 3e-5)


#: views of one array that differ in shape, strides or offset, some in one of them only
VIEWS = {
    "whole": np.s_[:], "again": np.s_[:], "half": np.s_[:3], "other half": np.s_[3:], "narrow": np.s_[:, :4],
    "every other": np.s_[:, ::2], "reversed": np.s_[:, ::-1], "row": np.s_[2], "column": np.s_[:, 3],
    "one row": np.s_[2:3], "one column": np.s_[:, 3:4], "element": np.s_[1, 1, ...],
}


def check(make_a, make_b, slope=0.01, dtype=np.float64):
    """One call of the site on views of two leaves, value and gradients by hand."""
    leaves = [tg.tensor(values.astype(dtype), requires_grad=True) for values in (BASE, BASE[::-1])]
    data = [np.asarray(t.detach().numpy(), np.float64) for t in leaves]
    value = site(make_a(leaves[0]), make_b(leaves[1]), slope)
    value.backward()
    expected, da, db = by_hand(make_a(data[0]), make_b(data[1]), slope)
    holds(value, expected)
    for leaf, make, g in zip(leaves, (make_a, make_b), (da, db)):
        assert leaf.grad.dtype == dtype
        whole = np.zeros(BASE.shape)
        make(whole)[...] = g
        holds(leaf.grad, whole)


def taken(view):
    return lambda x: x[view]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_views_of_every_shape_and_stride_pass_one_call_site_in_any_order(dtype):
    order = list(VIEWS)
    for name in (*order, *order[::-1]):
        check(taken(VIEWS[name]), taken(VIEWS[name]), dtype=dtype)
    square = np.s_[:6, :6]
    for a, b in ((lambda x: x[square], lambda x: x[square]), (lambda x: x[square].T, lambda x: x[square]),
                 (lambda x: x[square], lambda x: x[square].T), (lambda x: x[square].T, lambda x: x[square].T)):
        check(a, b, dtype=dtype)


def test_broadcast_operands_pass_one_call_site_in_any_order():
    names = ("whole", "one row", "one column", "row", "whole")
    for name in names:
        check(taken(VIEWS["whole"]), taken(VIEWS[name]))
        check(taken(VIEWS[name]), taken(VIEWS["whole"]))


def test_dtypes_may_change_from_call_to_call():
    for dtype in (np.float32, np.float64, np.float32, np.float64):
        check(taken(VIEWS["half"]), taken(VIEWS["half"]), dtype=dtype)
        check(taken(VIEWS["element"]), taken(VIEWS["element"]), dtype=dtype)


def test_an_attribute_may_change_from_call_to_call():
    for slope in (0.01, 0.5, 0.01, -1.0, 0.0, -0.0, 1, True):
        check(taken(VIEWS["half"]), taken(VIEWS["half"]), slope)
        check(taken(VIEWS["element"]), taken(VIEWS["element"]), slope)


def test_numbers_may_change_from_call_to_call():
    x = tg.tensor(np.array([1.0, -2.0]), requires_grad=True)
    for number in (2.0, 3, -0.0, 0.0, np.inf, 2.0, 1e-300):
        y = x / number if number else tg.copysign(x, number)
        given = np.array([1.0, -2.0])
        np.testing.assert_array_equal(y.numpy(), given / number if number else np.copysign(given, number))


@pytest.mark.parametrize("name", ["whole", "half", "column", "element"])
def test_what_requires_a_gradient_may_change_from_call_to_call(name):
    view = VIEWS[name]
    expected, da, db = by_hand(BASE[view], BASE[::-1][view])
    for wants in ((True, True), (True, False), (False, True), (False, False), (True, True)):
        a, b = (tg.tensor(v[view], requires_grad=w) for v, w in zip((BASE, BASE[::-1]), wants))
        value = site(a, b)
        holds(value, expected)
        assert value.requires_grad == any(wants)
        if any(wants):
            value.backward()
        for t, g, w in zip((a, b), (da, db), wants):
            assert t.grad is not None if w else t.grad is None
            if w:
                holds(t.grad, g)


def test_each_call_saves_what_the_gradients_wanted_of_it_read():
    x, y = BASE[:5, :7].copy(), BASE[1:, 1:].copy()  # of a shape of their own
    for first, second in ((True, False), (False, True), (True, True), (True, False)):
        a, b = tg.tensor(x, requires_grad=first), tg.tensor(y, requires_grad=second)
        value = (a * 1.0) * (b * 1.0)  # whose operands nobody else keeps
        overwritten = [tg.tensor(np.full(x.shape, np.nan)) * 1.0 for _ in range(8)]
        value.sum().backward()
        del overwritten
        if first:
            holds(a.grad, y)
        if second:
            holds(b.grad, x)


def test_a_leaf_may_be_frozen_and_thawed_between_calls():
    a, b = tg.tensor(BASE[0], requires_grad=True), tg.tensor(BASE[1], requires_grad=True)
    expected, da, db = by_hand(BASE[0], BASE[1])
    for wants in ((True, True), (False, True), (True, False), (False, False), (True, True)):
        for t, w in zip((a, b), wants):
            t.requires_grad_(w)
            t.grad = None
        value = site(a, b)
        holds(value, expected)
        assert value.requires_grad == any(wants)
        if any(wants):
            value.backward()
        for t, g, w in zip((a, b), (da, db), wants):
            assert (t.grad is not None) == w
            if w:
                holds(t.grad, g)


def test_a_norm_may_have_its_input_for_its_weight_and_then_another():
    values, weights = [1.0, 2.0, 4.0], tg.tensor([1.0, 2.0, 3.0], dtype=np.float64)
    found = []
    for alike in (False, True, False, True):
        x = tg.tensor(values, dtype=np.float64, requires_grad=True)
        w = x if alike else tg.tensor(values, dtype=np.float64, requires_grad=True)
        (F.layer_norm(x, 3, weight=w) * weights).sum().backward()
        found.append(x.grad.numpy() if alike else x.grad.numpy() + w.grad.numpy())
    for gradient in found:  # of PyTorch 2.13
        np.testing.assert_allclose(gradient, [-0.840, -0.878, 4.123], atol=6e-4)


@pytest.mark.parametrize("name", ["whole", "every other", "element"])
def test_operands_may_be_one_tensor_and_then_two(name):
    view = VIEWS[name]
    data = BASE[view]
    expected, da, db = by_hand(data, data)
    for alike in (False, True, False, True):
        a = tg.tensor(BASE, requires_grad=True)
        b = a if alike else tg.tensor(BASE, requires_grad=True)
        value = site(a[view], b[view])
        value.backward()
        holds(value, expected)
        holds(a.grad[view], da + db if alike else da)
        if not alike:
            holds(b.grad[view], db)


def test_overlapping_views_and_separate_arrays_of_their_shape_take_turns():
    line = BASE.ravel()
    for alike in (False, True, False, True):
        a = tg.tensor(line, requires_grad=True)
        b = a if alike else tg.tensor(line, requires_grad=True)
        h = tg.exp(a)
        k = h if alike else tg.exp(b)
        value = site(h[:-1], k[1:])
        value.backward()
        expected, da, db = by_hand(np.exp(line)[:-1], np.exp(line)[1:])
        first, second = np.append(da, 0.0) * np.exp(line), np.insert(db, 0, 0.0) * np.exp(line)
        holds(value, expected)
        holds(a.grad, first + second if alike else first)
        if not alike:
            holds(b.grad, second)


def test_hooks_come_and_go_at_one_call_site():
    data = BASE[0], BASE[1]
    expected, da, _ = by_hand(*data)
    for factor in (1.0, 10.0, 1.0):
        a, b = (tg.tensor(v, requires_grad=True) for v in data)
        h = a * 1.0
        if factor != 1.0:
            h.register_hook(lambda g: 10.0 * g)
        value = site(h, b)
        value.backward()
        holds(value, expected)
        holds(a.grad, factor * da)


def test_modes_change_from_call_to_call():
    data = BASE[0], BASE[1]
    expected, da, db = by_hand(*data)

    def leaves():
        return [tg.tensor(v, requires_grad=True) for v in data]

    def plain():
        a, b = leaves()
        value = site(a, b)
        value.backward()
        return value, a.grad, b.grad

    def without_gradients():
        with tg.no_grad():
            value = site(*leaves())
        assert not value.requires_grad
        return value, da, db

    def on_a_tape_of_its_own():
        a, b = leaves()
        with tg.Tape() as tape:
            value = site(a, b).named("value")
        assert len(tape) >= 8
        holds(tape.value("value"), expected)
        value.backward()
        return value, a.grad, b.grad

    def recomputed():
        a, b = leaves()
        value = tg.checkpoint(site, a, b)
        value.backward()
        return value, a.grad, b.grad

    def with_a_history():
        a, b = leaves()
        value = site(a, b)
        value.backward(create_graph=True)
        assert a.grad.requires_grad
        return value, a.grad, b.grad

    def transformed():
        value, gradients = tg.value_and_grad(site, argnums=(0, 1))(*data)
        return value, *gradients

    def compiled():
        value, gradients = tg.compile(tg.value_and_grad(site, argnums=(0, 1)))(*data)
        return value, *gradients

    modes = [without_gradients, on_a_tape_of_its_own, recomputed, with_a_history, transformed, compiled]
    for mode in (plain, *(m for other in modes for m in (other, plain)), *modes[::-1]):
        for given, right in zip(mode(), (expected, da, db)):
            holds(given, right)


def test_an_input_that_was_walked_and_released_is_refused_as_before():
    x = tg.tensor(BASE[0], requires_grad=True)
    for _ in range(2):
        h = tg.exp(x)
        (h * 2.0).sum().backward()
        others = [tg.exp(x) * 3.0 for _ in range(4)]  # which have the numbers of those released
        with pytest.raises(tg.GradientError):
            (h * 2.0).sum().backward()
        del others


def test_an_in_place_change_of_what_was_saved_is_seen_at_the_second_call():
    for changes in (False, True, False, True):
        x, y = tg.tensor(BASE[0], requires_grad=True), tg.tensor(BASE[1])
        z = x * y
        if changes:
            y.copy_(BASE[2])
            with pytest.raises(tg.InPlaceError):
                z.sum().backward()
        else:
            z.sum().backward()
            holds(x.grad, BASE[1])


def test_an_instruction_of_another_thread_is_refused_and_threads_share_no_tape():
    ready, failures, foreign = threading.Barrier(4), [], []

    def work(number):
        try:
            data = BASE[number], BASE[number + 1]
            expected, da, db = by_hand(*data)
            ready.wait()
            for _ in range(30):
                a, b = (tg.tensor(v, requires_grad=True) for v in data)
                value = site(a, b)
                value.backward()
                for given, right in zip((value, a.grad, b.grad), (expected, da, db)):
                    holds(given, right)
            foreign.append(tg.exp(a))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with pytest.raises(tg.TapegradError, match="another tape"):
        foreign[0] * 2.0


def test_a_dead_result_gives_its_memory_back_and_a_living_one_does_not():
    x = tg.tensor(BASE, requires_grad=True)
    tape = tg.current_tape(np.float64)
    (x * x).sum().backward()
    before = tape.live_bytes, len(tape)
    kept = tg.exp(x)
    values = kept.numpy()
    for _ in range(50):
        tg.exp(x) * kept
    assert len(tape) == before[1] + 1
    holds(kept, np.exp(BASE))
    np.testing.assert_array_equal(kept.numpy(), values)
    del kept
    assert (tape.live_bytes, len(tape)) == before
