"""Where a value that depends on what is differentiated leaves the tape: right, or an error that the user hears."""

import copy
import math
import pickle
import threading

import naive
import numpy as np
import pytest
import scipy.sparse
import scipy.special

import tapegrad as tg
from tapegrad import nn, optim

A = np.array([[1.0, 2.0], [3.0, 4.0]])
X = np.array([0.5, 2.0])


def leaf(values=X):
    return tg.tensor(np.asarray(values, np.float64), requires_grad=True)


def set_item(target, value, index=slice(None)):
    target[index] = value
    return target


# ------------------------------------------------------------------
# sequences of tensors


SEQUENCES = {
    "sum": (lambda x: tg.sum([x[0] * 2, x[1] * 3]), [2, 3]),
    "mean": (lambda x: tg.mean((x[0], 3 * x[1])), [0.5, 1.5]),
    "tensor": (lambda x: tg.tensor([x[0] * 2, x[1] * 3]).sum(), [2, 3]),
    "nested": (lambda x: tg.sum([[x[0], x[1]], (x[1] * 3, 4.0)]), [1, 4]),
    "of vectors": (lambda x: (tg.tensor([x, 2 * x]) * A).sum(), [1 + 2 * 3, 2 + 2 * 4]),
    "with arrays": (lambda x: (tg.tensor([x, A[0]]) * A).sum(), [1, 2]),
    "views": (lambda x: (tg.tensor([x[::-1], x]) * A).sum(), [2 + 3, 1 + 4]),
    "method": (lambda x: (x * [x[0], 1.0]).sum(), [2 * X[0], 1]),
    "left of an operator": (lambda x: ([x[1], 1.0] * x).sum(), [X[1], X[0] + 1]),
    "matmul": (lambda x: ([[x[0], x[1]], [x[1], x[0]]] @ x).sum(), [2 * X.sum(), 2 * X.sum()]),
    "where": (lambda x: tg.where([True, False], [x[0], 1.0], 2 * x).sum(), [1, 2]),
    "condition": (lambda x: tg.where([x[0] > 0, x[1] > 9], x, 2 * x).sum(), [1, 2]),
    "stack": (lambda x: tg.stack([[x[0], x[1]], [2 * x[0], x[1]]]).sum(), [3, 2]),
    "concatenate": (lambda x: tg.concatenate([[x[0]], x * 2]).sum(), [3, 2]),
    "einsum": (lambda x: tg.einsum("i,i", [x[0], 1.0], x), [2 * X[0], 1]),
    "at": (lambda x: tg.tensor(np.zeros(2)).at[:].set([x[1], x[0]]).sum(), [1, 1]),
    "a tensor": (lambda x: (tg.tensor(x) * x).sum(), 2 * X),
    "pad": (lambda x: tg.pad([x[0], 2 * x[1]], 1).sum(), [1, 2]),
    "many": (lambda x: tg.sum([x[k % 2] * k for k in range(100)]), [sum(range(0, 100, 2)), sum(range(1, 100, 2))]),
    "clip": (lambda x: tg.clip(x, [x[0], x[0]], None).sum(), [1, 1]),
    "np.stack": (lambda x: np.stack([x, 2 * x]).sum(), [3, 3]),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_a_sequence_of_tensors_is_stacked_on_the_tape(case):
    function, expected = SEQUENCES[case]
    np.testing.assert_allclose(tg.grad(function)(X), expected, rtol=1e-12)
    x = leaf()
    function(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("case", SEQUENCES)
def test_a_sequence_of_tensors_is_stacked_in_a_recording(case):
    if case == "condition":
        return
    function, expected = SEQUENCES[case]
    np.testing.assert_allclose(tg.compile(tg.grad(function))(X), expected, rtol=1e-12)


def test_a_sequence_of_tensors_has_their_dtype():
    assert tg.tensor([tg.tensor(np.float64(0.1)), 0.2]).dtype == np.float64
    assert tg.tensor([tg.tensor(np.float64(0.1))]).numpy()[0] == 0.1
    assert tg.sum([leaf()[0], 0.1]).dtype == np.float64
    assert tg.tensor([tg.tensor(1), 2]).dtype == np.int64
    assert tg.tensor([tg.tensor(True), False]).dtype == bool
    assert tg.tensor([tg.tensor(1.0), np.float64(2.0)]).dtype == np.float32
    with pytest.raises(TypeError, match="float32.*float64"):
        tg.sum([tg.tensor(1.0, requires_grad=True), leaf()[0]])


@pytest.mark.parametrize("ragged", [lambda x: [x, x[0]], lambda x: [[x[0]], x[0]], lambda x: [[x[0]], [x[0], x[1]]]])
def test_a_ragged_sequence_of_tensors_is_an_error(ragged):
    with pytest.raises(ValueError, match="rectangular"):
        tg.sum(ragged(leaf()))


def test_a_leaf_made_of_tensors_is_asked_for_explicitly():
    x = leaf()
    t = tg.tensor([x[0], x[1]], requires_grad=True)
    assert t.is_leaf and t.requires_grad
    with pytest.raises(tg.GradientError, match="detach"):
        tg.grad(lambda x: (tg.tensor([x[0], x[1]], requires_grad=True) * x).sum())(X)


# ------------------------------------------------------------------
# conversions inside a function that is being differentiated


CONVERSIONS = {
    "float": lambda x: x[0] * float(x[0]),
    "int": lambda x: x[0] * int(x[0]),
    "complex": lambda x: x[0] * complex(x[0]).real,
    "item": lambda x: x[0] * x[0].item(),
    "numpy": lambda x: (x * x.numpy()).sum(),
    "tolist": lambda x: (x * x.tolist()).sum(),
    "asarray": lambda x: (x * np.asarray(x)).sum(),
    "np.array of a list": lambda x: (x * np.array([x[0], x[1]])).sum(),
    "np.array of objects": lambda x: (x * np.array([x[0], x[1]], dtype=object)).sum(),
    "np.float64": lambda x: x[0] * np.float64(x[0]),
    "np.mean of a list": lambda x: x[0] * np.mean([x[0], 2 * x[0]]),
    "np.r_": lambda x: (np.r_[x, x] * np.ones(4)).sum(),
    "np.full": lambda x: (np.full(2, x[0]) * x).sum(),
    "np.vectorize": lambda x: (np.vectorize(lambda v: v)(x) * x).sum(),
    "np.random": lambda x: np.random.default_rng(0).normal(x[0], 1.0) * x[0],
    "method of an array": lambda x: (x * A.dot(x)).sum(),
    "rows of an array": lambda x: (set_item(np.zeros(2), x * 2) * x).sum(),
    "slice of an array": lambda x: (set_item(np.zeros(2), x[0], slice(1)) * x).sum(),
    "math.exp": lambda x: x[0] * math.exp(x[0]),
    "math.fsum": lambda x: x[0] * math.fsum(x),
    "math.floor": lambda x: x[0] * math.floor(x[0]),
    "scipy's function": lambda x: x[0] * scipy.special.logsumexp(x),
    "scipy's matrix": lambda x: (x * (scipy.sparse.csr_array(A) @ x)).sum(),
    "an array-like": lambda x: (x * np.polynomial.Polynomial([1.0, 2.0])(x[0])).sum(),
    "a tensor's element": lambda x: (set_item(tg.tensor(np.zeros(2)), x[0], 0) * x).sum(),
    "copy_": lambda x: (tg.tensor(np.zeros(2)).copy_(x) * x).sum(),
    "tg.Tensor": lambda x: (tg.Tensor([x[0], x[1]]) * x).sum(),
    "Parameter": lambda x: (nn.Parameter(x) * x).sum(),
    "an op's number": lambda x: tg.functions.softplus(x, beta=x[0]).sum(),
    "another op's number": lambda x: nn.functional.elu(x, alpha=x[0]).sum(),
    "backward": lambda x: ((x * x).sum().backward(), x[0] * x.grad[1])[1],
    "a gradient given to backward": lambda x: ((w := leaf()), (w * 2.0).backward(x), (w.grad * x).sum())[2],
    "a gradient that is set": lambda x: ((w := leaf()), setattr(w, "grad", x), (w.grad * x).sum())[2],
    "copy.copy": lambda x: (copy.copy(x) * x).sum(),
    "copy.deepcopy": lambda x: (copy.deepcopy(x) * x).sum(),
    "pickle": lambda x: (pickle.loads(pickle.dumps(x)) * x).sum(),
    "a recorded step": lambda x: x[0] * step()(x),
}


def step():
    p = nn.Parameter(np.ones(2), dtype=np.float64)
    return tg.TrainStep(lambda x: (p * x).sum(), optim.SGD([p], lr=0.1))


@pytest.mark.parametrize("case", CONVERSIONS)
def test_a_conversion_inside_a_differentiated_function_raises_with_the_line_and_the_remedy(case):
    function = CONVERSIONS[case]
    with pytest.raises(tg.GradientError) as caught:
        tg.grad(function)(X)
    assert f"{__file__}:" in str(caught.value) and "detach()" in str(caught.value)
    if case != "copy.copy":  # of what was computed it has the same history
        with pytest.raises(tg.GradientError):
            tg.value_and_grad(lambda y: function(y * 2.0 + 1.0))(X)


@pytest.mark.parametrize(
    "put",
    [
        lambda x: set_item(np.zeros(2), x[0] * 2, 0),
        lambda x: (lambda a: (a.fill(x[0]), a)[1])(np.zeros(2)),
        lambda x: np.fromiter(x, float),
    ],
)
def test_elements_of_an_array_cannot_be_set_either(put):
    # NumPy (2.4) turns whatever float() raises for an object that can be indexed into its own ValueError
    with pytest.raises((tg.GradientError, ValueError)) as caught:
        tg.grad(lambda x: (put(x) * x).sum())(X)
    cause = caught.value if isinstance(caught.value, tg.GradientError) else caught.value.__cause__
    assert isinstance(cause, tg.GradientError) and "detach()" in str(cause)


def test_a_nested_call_names_the_line_of_the_innermost_user():
    def inner(x):
        return x * float(x)

    first = inner.__code__.co_firstlineno
    with pytest.raises(tg.GradientError, match=f":{first + 1}: "):
        tg.grad(inner)(3.0)


def test_detach_says_that_it_is_meant():
    assert tg.grad(lambda x: x * float(x.detach()))(3.0) == 3.0
    assert tg.grad(lambda x: x * np.mean([x.detach(), 2 * x.detach()]))(3.0) == 4.5


def test_comparisons_indices_and_text_are_no_loss():
    def f(x):
        text = f"{x[0]:.3f} {x}"
        order = np.asarray(tg.argsort(x))
        assert "0.500" in text and order.tolist() == [0, 1] and np.asarray(x > 1).tolist() == [False, True]
        return x[order[1]] * 3.0 if x[0] > 0 and x[1] else x.sum()

    np.testing.assert_array_equal(tg.grad(f)(X), [0, 3])


def test_what_does_not_depend_on_the_arguments_may_be_converted():
    w = leaf()

    def f(x):
        assert float((w * w).sum()) == X @ X and (w * 2).numpy().tolist() == (2 * X).tolist() and w[0].item() == X[0]
        return (x * w).sum()

    np.testing.assert_array_equal(tg.grad(f)(X), X)
    with pytest.raises(tg.GradientError):
        tg.grad(lambda x: (x * w).sum() + float((w * x).sum()))(X)


def test_after_the_function_has_returned_everything_may_be_converted_again():
    kept = []
    tg.grad(lambda x: (kept.append(x), (x * x).sum())[1])(X)
    assert float(kept[0][0]) == X[0]
    with pytest.raises(ZeroDivisionError):
        tg.grad(lambda x: (kept.append(x), 1 / 0)[1])(X)
    assert kept[1].numpy().tolist() == X.tolist()


def test_another_thread_hears_it_too():
    heard = []

    def f(x):
        def other():
            try:
                heard.append(float(x[0]))
            except tg.GradientError as error:
                heard.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return x.sum()

    tg.grad(f)(X)
    assert isinstance(heard[0], tg.GradientError)


def test_a_training_loop_inside_a_differentiated_function_may_log():
    def f(x):
        w = leaf()
        opt = optim.SGD([w], lr=0.1)
        losses = []
        for _ in range(3):
            opt.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            opt.step()
            losses.append(float(loss))
        return (x * w.detach()).sum() * losses[0]

    np.testing.assert_allclose(tg.grad(f)(X), X * 0.8**3 * (X @ X), rtol=1e-12)


# ------------------------------------------------------------------
# outside


def test_outside_of_transformations_an_explicit_conversion_is_silent():
    x = leaf()
    loss = (x * x).sum()
    assert float(loss) == loss.item() == float(loss.numpy()) == X @ X
    assert int(loss) == 4 and f"{loss:.3f}" == "4.250" and x.tolist() == X.tolist()


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray, np.array, np.asanyarray, lambda t: np.array([t, t]), lambda t: np.mean([t, t]), lambda t: A.dot(t),
        lambda t: np.r_[t, t], lambda t: set_item(np.zeros(2), t), lambda t: scipy.sparse.csr_array(A) @ t,
        lambda t: set_item(tg.tensor(np.zeros(2)), t), np.linalg.eigvals, np.unwrap,
        lambda t: np.exp(t, out=np.zeros(2)), lambda t: np.copyto(np.zeros(2), t),
        lambda t: tg.functions.softplus(X, beta=t[0]), lambda t: tg.Tensor([t, t]), np.emath.sqrt,
    ],
)
def test_outside_of_transformations_an_implicit_conversion_raises(convert):
    for t in (leaf(), leaf() * 2.0):
        with pytest.raises((tg.GradientError, tg.errors.DtypeError), match="detach"):
            convert(t)
    with tg.no_grad(), pytest.raises((tg.GradientError, tg.errors.DtypeError), match="detach"):
        convert(leaf())


def test_what_requires_no_gradient_is_converted_freely():
    x = leaf()
    for t in (x.detach(), tg.tensor(X)):
        np.testing.assert_array_equal(np.asarray(t), X)
        np.testing.assert_array_equal(np.array([t, t]), [X, X])
        np.testing.assert_array_equal(A.dot(t), A @ X)
    with tg.no_grad():
        np.testing.assert_array_equal(np.asarray(x * 2.0), 2 * X)


def test_names_of_other_functions_are_not_mistaken_for_numpys():
    from numba import vectorize

    @vectorize(["float64(float64, float64)"])
    def add(a, b):
        return a - b

    with pytest.raises(TypeError):
        add(leaf(), leaf())
    with pytest.raises(TypeError, match="has no counterpart"):
        np.frompyfunc(lambda v: -v, 1, 1)(leaf())
    np.testing.assert_allclose(tg.grad(lambda x: scipy.special.erf(x).sum())(X), 2 / np.sqrt(np.pi) * np.exp(-X * X))
    np.testing.assert_allclose(tg.grad(lambda x: scipy.special.expit(x).sum())(X),
                               scipy.special.expit(X) * scipy.special.expit(-X))


# ------------------------------------------------------------------
# transformations within transformations


def test_an_inner_derivative_that_depends_on_an_outer_argument_is_right():
    outer = tg.value_and_grad(lambda y: y * tg.grad(lambda x: x * x * y)(3.0))
    assert outer(2.0) == (24.0, 24.0)
    assert tg.grad(lambda y: y * tg.grad(lambda x: x * x)(y))(2.0) == 8.0
    assert tg.grad(lambda y: y * tg.grad(lambda x: x * x)(y * 2.0))(2.0) == 16.0
    assert tg.grad(lambda y: y * tg.grad(lambda x: (x * x, y * 3.0), has_aux=True)(3.0)[1])(2.0) == 12.0


def test_an_inner_derivative_that_does_not_depend_on_an_outer_argument_is_right():
    value, gradient = tg.value_and_grad(lambda y: y * tg.value_and_grad(lambda x: x * x)(3.0)[1])(2.0)
    assert (value, gradient) == (12.0, 6.0)
    assert tg.grad(lambda y: y * tg.value_and_grad(lambda x: x * x)(3.0)[0])(2.0) == 9.0
    assert tg.grad(lambda y: y * tg.grad(lambda x: (x * x, x * 3.0), has_aux=True)(3.0)[1])(2.0) == 9.0
    assert tg.grad(lambda y: y * tg.grad(lambda x: x * x * y.detach())(3.0))(2.0) == 12.0


def test_a_derivative_within_a_recording_is_right():
    for y in (2.0, 3.0):  # the second is a replay
        assert float(tg.compile(lambda y: y * tg.grad(lambda x: x * x * y)(3.0))(y)) == 6.0 * y * y
        value, gradient = tg.compile(tg.value_and_grad(lambda y: y * tg.value_and_grad(lambda x: x * x * y)(3.0)[1]))(y)
        assert (float(value), float(gradient)) == (6.0 * y * y, 12.0 * y)


def test_the_derivative_of_a_compiled_function_is_that_of_the_function():
    f = lambda x: (tg.sin(x) * x * x).sum()
    fast = tg.compile(f)
    fast(X)
    for _ in range(2):
        value, gradient = tg.value_and_grad(fast)(X)
        np.testing.assert_allclose(value, np.sum(np.sin(X) * X * X), rtol=1e-12)
        np.testing.assert_allclose(gradient, np.cos(X) * X * X + 2 * X * np.sin(X), rtol=1e-12)
    assert tg.grad(lambda y: y * tg.compile(lambda x: x * x * y)(3.0))(2.0) == 36.0
    assert tg.grad(lambda y: fast(np.ones(2)) * y)(2.0) == pytest.approx(2 * np.sin(1.0))
    assert tg.grad(lambda y: y * tg.compile(tg.grad(lambda x: x * x * y))(3.0))(2.0) == 24.0


def test_the_derivative_of_a_compiled_function_takes_arrays_as_its_recording_does():
    fast = tg.compile(lambda x, w: (x * w.sum(dim=0)).sum())
    np.testing.assert_array_equal(tg.grad(fast)(X, A), A.sum(axis=0))


def test_a_step_that_reads_what_is_differentiated_raises():
    p = nn.Parameter(np.ones(2), dtype=np.float64)

    def f(y):
        train = tg.TrainStep(lambda x: (p * x * y).sum(), optim.SGD([p], lr=0.1))
        return y.sum() * train(X)

    with pytest.raises(tg.CaptureError, match="detach"):
        tg.grad(f)(X)


def test_gradcheck_sees_through_stacked_lists():
    assert tg.gradcheck(lambda x: tg.tensor([x[0] * x[1], tg.sin(x[0])]), X)
    f = lambda x: tg.sum([x[0] * x[1], x[0] ** 2])
    np.testing.assert_allclose(tg.grad(f)(X), naive.derivative(f, [X], 0), rtol=1e-7)

