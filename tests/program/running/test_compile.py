"""`tg.compile`: what is recorded, when it is recorded anew, and what a recording refuses."""

import gc
import re
import threading

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

A = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.5]])
B = np.array([0.5, -1.0, 2.0])


def array(result):
    return np.asarray(result)


# ------------------------------------------------------------------
# recording and replaying


def test_one_recording_serves_all_calls_of_one_signature():
    calls = []

    def f(a, b):
        calls.append(1)
        return tg.tanh(a) * b

    fast = tg.compile(f)
    for k in range(5):
        np.testing.assert_allclose(array(fast(A + k, B)), np.tanh(A + k) * B, rtol=1e-15)
    assert fast.recordings == 1 and len(calls) == 1


@pytest.mark.parametrize(
    "other",
    [(A[:1], B), (A, B[:1]), (A.astype(np.float32), B.astype(np.float32)), (A, np.arange(3)), (A.T, B[:2])],
    ids=["rows", "broadcast", "float32", "integers", "transposed shape"],
)
def test_another_shape_or_dtype_is_another_recording_and_the_first_is_kept(other):
    fast = tg.compile(lambda a, b: a * 2.0 + b)
    fast(A, B)
    out = array(fast(*other))
    np.testing.assert_allclose(out, other[0] * 2.0 + other[1], rtol=1e-6)
    assert fast.recordings == 2
    np.testing.assert_array_equal(array(fast(A, B)), A * 2.0 + B)
    fast(*other)
    assert fast.recordings == 2


def test_strided_arguments_are_the_same_signature():
    fast = tg.compile(lambda a: a * 2.0)
    fast(A)
    for a in (np.asfortranarray(A), A[::-1, ::-1], np.repeat(A, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(array(fast(a)), a * 2.0)
    assert fast.recordings == 1


def test_arguments_may_be_tensors_arrays_and_numbers():
    fast = tg.compile(lambda a, b, c: a * b + c)
    for c in (2.0, np.float64(3.0), 4):
        np.testing.assert_allclose(array(fast(tg.tensor(A), B, c)), A * B + c)


def test_nested_arguments_and_results_keep_their_structure():
    def f(p, *, scale):
        return {"sum": p["w"] + p["b"][0], "list": [p["w"] * scale, (p["b"][1],)], "kept": "text", "none": None}

    fast = tg.compile(f)
    for k in (1.0, 2.0):
        out = fast({"w": k * A, "b": [B, k * B]}, scale=3.0)
        np.testing.assert_allclose(array(out["sum"]), k * A + B)
        np.testing.assert_allclose(array(out["list"][0]), 3 * k * A)
        np.testing.assert_allclose(array(out["list"][1][0]), k * B)
        assert out["kept"] == "text" and out["none"] is None


def test_a_function_without_arguments_and_one_with_twenty():
    constant = tg.tensor(A)
    np.testing.assert_array_equal(array(tg.compile(lambda: constant * 2.0)()), 2 * A)

    def total(*args):
        out = args[0]
        for a in args[1:]:
            out = out + a
        return out

    fast = tg.compile(total)
    np.testing.assert_allclose(array(fast(*[k * B for k in range(20)])), 190 * B)


def test_results_are_not_overwritten_by_the_next_call():
    fast = tg.compile(lambda a: (a * 2.0, a[0]))
    first, view = fast(A)
    fast(A + 100.0)
    np.testing.assert_array_equal(array(first), A * 2.0)
    np.testing.assert_array_equal(array(view), A[0])


def test_an_argument_returned_unchanged_and_a_constant_result():
    fast = tg.compile(lambda a: (a, 3.0, a.T))
    for k in (0.0, 1.0):
        a, three, turned = fast(A + k)
        np.testing.assert_array_equal(array(a), A + k)
        np.testing.assert_array_equal(array(turned), (A + k).T)
        assert float(three) == 3.0


def test_arguments_are_not_changed():
    a = A.copy()
    tg.compile(lambda x: tg.exp(x) * x)(a)
    np.testing.assert_array_equal(a, A)


def test_shapes_and_dtypes_are_known_inside():
    def f(a):
        assert a.shape == (2, 3) and a.ndim == 2 and len(a) == 2 and a.size == 6 and a.dtype == np.float64
        return sum(row.sum() * (k + 1) for k, row in enumerate(a)) / a.shape[0]

    np.testing.assert_allclose(float(array(tg.compile(f)(A))), (A[0].sum() + 2 * A[1].sum()) / 2)


def test_integer_and_boolean_arguments_follow_each_call():
    fast = tg.compile(lambda a, mask, k: tg.where(mask, a, 0.0) * k)
    for seed in range(3):
        mask = np.random.default_rng(seed).random((2, 3)) < 0.5
        np.testing.assert_allclose(array(fast(A, mask, np.int64(seed))), np.where(mask, A, 0.0) * seed)


def test_integer_indices_among_the_arguments_follow_each_call():
    fast = tg.compile(lambda a, k: a[:, k])
    for k in ([0, 1], [2, 2], [-1, 0]):
        np.testing.assert_array_equal(array(fast(A, np.array(k))), A[:, k])


def test_labels_among_the_arguments_follow_each_call():
    fast = tg.compile(tg.value_and_grad(lambda x, y: F.cross_entropy(x, y)))
    for labels in ([0, 2], [1, 1]):
        value, gradient = fast(A, np.array(labels))
        e = np.exp(A)
        p = e / e.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(value, -np.log(p[[0, 1], labels]).mean(), rtol=1e-13)
        np.testing.assert_allclose(gradient, (p - np.eye(3)[labels]) / 2, rtol=1e-13)


@pytest.mark.parametrize("label", [3, -1])
def test_a_replayed_label_out_of_range_raises_an_index_error_and_the_next_call_works(label):
    fast = tg.compile(lambda x, y: F.cross_entropy(x, y))
    good = float(array(fast(A, np.array([0, 1]))))
    with pytest.raises(IndexError, match=f"{label}|class|range"):
        fast(A, np.array([0, label]))
    assert float(array(fast(A, np.array([0, 1])))) == good


def test_a_replayed_index_out_of_range_raises_an_index_error():
    fast = tg.compile(lambda a, k: a[:, k])
    fast(A, np.array([0, 1]))
    with pytest.raises(IndexError):
        fast(A, np.array([0, 3]))
    with pytest.raises(IndexError):
        fast(A, np.array([0, -4]))


def test_comparisons_choose_by_where_at_each_call():
    fast = tg.compile(lambda a: tg.where(a > 0, a, a * 0.1))
    for a in (A, -A):
        np.testing.assert_allclose(array(fast(a)), np.where(a > 0, a, a * 0.1))


def test_loops_over_python_numbers_unroll():
    def power(a):
        out = a
        for _ in range(4):
            out = out * a
        return out

    np.testing.assert_allclose(array(tg.compile(power)(A)), A**5, rtol=1e-14)


# ------------------------------------------------------------------
# modules and parameters


def test_a_compiled_model_sees_later_changes_of_its_parameters():
    model = nn.Linear(3, 2)
    fast = tg.compile(model)
    x = A.astype(np.float32)
    fast(x)
    model.weight.copy_(np.ones((2, 3), dtype=np.float32))
    model.bias.copy_(np.zeros(2, dtype=np.float32))
    np.testing.assert_allclose(array(fast(x)), x.sum(axis=1, keepdims=True).repeat(2, axis=1), rtol=1e-6)
    assert fast.recordings == 1


def test_the_mode_of_a_module_selects_its_recording():
    model = nn.Sequential(nn.Linear(3, 200), nn.Dropout(0.5))
    fast = tg.compile(model)
    x = A.astype(np.float32)
    model.eval()
    still = array(fast(x))
    model.train()
    moving = array(fast(x))
    assert fast.recordings == 2
    assert (moving == 0).mean() > 0.2 and (still == 0).mean() < 0.05
    model.eval()
    np.testing.assert_array_equal(array(fast(x)), still)
    assert fast.recordings == 2


def test_the_mode_of_a_nested_module_counts():
    inner = nn.Dropout(0.5)
    model = nn.Sequential(nn.Sequential(inner))
    fast = tg.compile(model)
    x = np.ones((4, 50), dtype=np.float32)
    fast(x)
    inner.eval()
    np.testing.assert_array_equal(array(fast(x)), x)


def test_a_float32_model_takes_float64_arguments_in_float32():
    model = nn.Linear(3, 2)
    out = array(tg.compile(model)(A))
    assert out.dtype == np.float32 and out.shape == (2, 2)


# ------------------------------------------------------------------
# what a recording refuses

READS = {
    "bool": lambda a: bool(a.sum() > 0),
    "if": lambda a: 1 if a.sum() > 0 else 2,
    "float": lambda a: float(a.sum()),
    "int": lambda a: int(a.sum()),
    "item": lambda a: a.sum().item(),
    "numpy": lambda a: a.numpy(),
    "asarray": lambda a: np.asarray(a * 2.0),
    "tolist": lambda a: a.tolist(),
    "and": lambda a: a.sum() and 1,
    "index": lambda a: [1, 2][tg.argmax(a)] if hasattr(tg, "argmax") else int(a[0, 0]),
    "any": lambda a: any(a[0] > 0),
    "sorted": lambda a: sorted(a[0]),
    "range": lambda a: list(range(int(a[0, 0]))),
}


@pytest.mark.parametrize("name", READS)
def test_reading_a_value_that_depends_on_the_inputs_raises_and_names_the_line(name):
    def f(a):
        READS[name](a)
        return a

    line = READS[name].__code__.co_firstlineno
    with pytest.raises(tg.CaptureError) as caught:
        tg.compile(f)(A)
    assert isinstance(caught.value, RuntimeError)
    message = str(caught.value)
    assert "test_compile.py" in message, message
    assert re.search(rf"\b{line}\b", message), message
    assert "tg.where" in message and "compile" in message


def test_reading_a_value_that_does_not_depend_on_the_inputs_is_allowed():
    constant = tg.tensor(np.float64(3.0))

    def f(a):
        return a * float(constant * 2.0) if bool(constant > 0) else a

    np.testing.assert_array_equal(array(tg.compile(f)(A)), A * 6.0)


def test_reading_a_value_is_refused_in_a_compiled_gradient_too():
    with pytest.raises(tg.CaptureError, match="test_compile.py"):
        tg.compile(tg.grad(lambda a: a.sum() if a.sum() > 0 else -a.sum()))(A)


def test_backward_inside_a_recording_is_refused():
    def f(a):
        loss = a.sum()
        loss.backward()
        return loss

    with pytest.raises(tg.CaptureError, match="backward"):
        tg.compile(f)(A)


def test_a_compiled_function_inside_a_recording_is_refused():
    inner = tg.compile(lambda a: a * 2.0)
    with pytest.raises(tg.CaptureError):
        tg.compile(lambda a: inner(a))(A)


def test_a_refused_recording_leaves_nothing_behind():
    fast = tg.compile(lambda a: a if float(a.sum()) > 0 else -a)
    for _ in range(2):
        with pytest.raises(tg.CaptureError):
            fast(A)
    x = tg.tensor(A, requires_grad=True)
    (x * 2.0).sum().backward()
    assert float(x.sum()) == A.sum()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))
    np.testing.assert_array_equal(array(tg.compile(lambda a: a * 3.0)(A)), A * 3.0)


def test_a_tensor_that_leaked_out_of_a_recording_is_stale():
    leaked = []

    def f(a):
        leaked.append(a * 2.0)
        return leaked[-1] + 1.0

    fast = tg.compile(f)
    np.testing.assert_array_equal(array(fast(A)), A * 2.0 + 1.0)
    for read in (lambda t: t.numpy(), lambda t: float(t.sum()), lambda t: np.asarray(t), lambda t: (t + 1.0).numpy()):
        with pytest.raises(tg.StaleTensorError) as caught:
            read(leaked[0])
        assert isinstance(caught.value, RuntimeError)
    assert "symbolic" in repr(leaked[0]) or "stale" in repr(leaked[0])


def test_a_tensor_that_leaked_into_another_recording_is_stale():
    leaked = []

    def f(a):
        leaked.append(a * 2.0)
        return a

    tg.compile(f)(A)
    with pytest.raises(tg.StaleTensorError):
        tg.compile(lambda a: a + leaked[0])(A)


def test_a_recorded_tensor_from_outside_would_be_frozen_and_is_refused():
    x = tg.tensor(A, requires_grad=True)
    outside = x * 2.0
    with pytest.raises(tg.CaptureError, match="detach"):
        tg.compile(lambda a: a + outside)(A)


def test_an_argument_that_is_not_numbers_is_a_type_error():
    with pytest.raises(TypeError, match="str"):
        tg.compile(lambda a, name: a)(A, "text")


def test_compile_needs_a_function():
    with pytest.raises(TypeError):
        tg.compile(3)


def test_a_shape_error_inside_a_recording_is_the_one_of_define_by_run():
    with pytest.raises(ValueError, match="2, 3"):
        tg.compile(lambda a: a @ a)(A)


# ------------------------------------------------------------------
# inspection and threads


def test_the_listing_of_a_recording_names_its_ops():
    fast = tg.compile(lambda a: tg.tanh(a @ a.T).sum())
    fast(A)
    listing = str(fast.tape)
    for word in ("matmul", "tanh", "sum", "f64[2,3]", "f64[2,2]"):
        assert word in listing, listing


def test_instructions_that_no_result_needs_are_left_out():
    def f(a):
        tg.exp(a)
        _ = tg.sin(a) * 3.0
        return a * 2.0

    fast = tg.compile(f)
    fast(A)
    assert len(fast.tape) == 1


def test_threads_replay_their_own_compiled_functions_at_once():
    results = {}

    def work(k):
        fast = tg.compile(tg.value_and_grad(lambda a: (tg.tanh(a * float(k)) ** 2).sum()))
        for _ in range(50):
            results[k] = fast(A)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(1, 6):
        t = np.tanh(k * A)
        np.testing.assert_allclose(results[k][0], np.sum(t * t), rtol=1e-14)
        np.testing.assert_allclose(results[k][1], 2 * t * (1 - t * t) * k, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("collects", [True, False])
def test_a_recording_leaves_the_garbage_collector_as_it_was(collects):
    def fail(x):
        assert not gc.isenabled()
        raise ValueError("no")

    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        tg.compile(lambda x: x * 2.0)(np.ones(3))
        assert gc.isenabled() == collects
        with pytest.raises(ValueError, match="no"):
            tg.compile(fail)(np.ones(3))
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


def _pops(arguments):
    last = arguments.pop()
    return (arguments[0] * last).sum()


def _adds_a_key(arguments):
    arguments["c"] = arguments["a"] * arguments["b"]
    return arguments["c"].sum()


def _replaces(arguments):
    arguments["b"] = arguments["a"] * arguments["b"]
    return arguments.pop("b").sum()


@pytest.mark.parametrize("f, make, split", [
    (_pops, lambda a, b: [a, b], list), (_adds_a_key, lambda a, b: {"a": a, "b": b}, lambda g: [g["a"], g["b"]]),
    (_replaces, lambda a, b: {"a": a, "b": b}, lambda g: [g["a"], g["b"]]),
])
@pytest.mark.parametrize("how", [tg.grad, lambda f: tg.compile(tg.grad(f))])
def test_a_function_that_changes_its_containers_has_the_gradient_of_what_it_was_given(how, f, make, split):
    """Of the product of both."""
    gradient, a, b = how(f), np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for scale in (1.0, 2.0):
        given = make(a * scale, b)
        ga, gb = split(gradient(given))
        np.testing.assert_array_equal(ga, b)
        np.testing.assert_array_equal(gb, a * scale)
        assert len(given) == 2


@pytest.mark.parametrize("call", [
    lambda f: tg.compile(lambda x: (x.sum(), f()))(np.ones(2))[1],
    lambda f: tg.compile(tg.value_and_grad(lambda x: (x.sum(), f()), has_aux=True))(np.ones(2))[0][1],
])
def test_an_array_that_a_recording_returns_is_the_callers_own(call):
    kept = np.zeros(2)
    call(lambda: kept)[0] = 5.0
    np.testing.assert_array_equal(kept, [0.0, 0.0])


def test_what_a_caller_writes_into_a_returned_constant_is_not_returned_to_the_next():
    fast = tg.compile(lambda x: (x * 2, np.zeros(2)))
    fast(np.ones(2))[1][0] = 5.0
    np.testing.assert_array_equal(fast(np.ones(2))[1], [0.0, 0.0])
