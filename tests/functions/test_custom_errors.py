"""What `custom_op` refuses, and what an exception in a user's function becomes."""

import numpy as np
import pytest
from custom_ops import bent, logistic, make_bend, make_distances, make_logistic, picked

import tapegrad as tg
from tapegrad.engine.language import enabled

needs_compiler = pytest.mark.skipif(not enabled(), reason="nothing is compiled with the JIT disabled")


@pytest.mark.parametrize("forward, adjoint, words", [
    (lambda x, out: None, None, ["'y'", "x, out"]),
    (lambda y: None, None, ["input", "'y'"]),
    (bent, lambda g, x, dz: None, ["'g'", "dz"]),
    (bent, lambda x, dx: None, ["'g'"]),
    (logistic, lambda g, slope, dx: None, ["slope"]),
], ids=["no-output", "no-input", "unknown-parameter", "no-cotangent", "unknown-scalar"])
def test_parameter_names_that_do_not_fit_are_an_error_that_says_which(forward, adjoint, words):
    with pytest.raises(ValueError) as caught:
        tg.custom_op(forward, adjoint)
    assert isinstance(caught.value, tg.TapegradError)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("arguments", [("bent",), (bent, 3)], ids=["forward", "adjoint"])
def test_what_is_not_a_function_is_an_error(arguments):
    with pytest.raises(tg.TapegradError, match="function"):
        tg.custom_op(*arguments)


@pytest.mark.parametrize("call, words", [
    (lambda: make_bend()([1.0], [2.0]), ["bent", "1 input", "got 2"]),
    (lambda: make_distances()(np.ones((2, 2))), ["squared_distances", "2 inputs", "got 1"]),
    (lambda: make_logistic()(np.ones((2, 2))), ["logistic", "rate"]),
    (lambda: make_logistic()(np.ones((2, 2)), rate=1.0, slope=2.0), ["logistic", "slope"]),
], ids=["too-many", "too-few", "scalar-missing", "scalar-unknown"])
def test_a_call_that_does_not_fit_is_an_error_that_names_the_op(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert isinstance(caught.value, tg.TapegradError)
    assert all(word in str(caught.value) for word in words)


def test_a_shape_rule_that_gives_a_negative_extent_is_a_shape_error():
    op = tg.custom_op(bent, shape=lambda x: (x[0] - 5,))
    with pytest.raises(tg.ShapeError, match=r"bent.*\[-2\]"):
        op([1.0, 2.0, 3.0])


def test_an_adjoint_of_an_integer_input_is_a_dtype_error_that_names_the_input():
    op = tg.custom_op(picked, lambda g, dtable, dindex: None, shape=lambda table, index: (index[0], table[1]))
    with pytest.raises(tg.DtypeError, match="index"):
        op(np.ones((2, 2)), np.array([0, 1]))


def test_a_boolean_tensor_is_a_dtype_error():
    with pytest.raises(tg.DtypeError, match="bent"):
        make_bend()(tg.tensor([True, False]))


@needs_compiler
def test_a_function_that_numba_cannot_compile_is_an_error_that_names_the_op():
    def unheard_of(x, y):
        y[0] = x.no_such_attribute

    with pytest.raises(tg.errors.CompileError, match="unheard_of") as caught:
        tg.custom_op(unheard_of)([1.0])
    assert isinstance(caught.value, TypeError) and "no_such_attribute" in str(caught.value)


@needs_compiler
def test_an_adjoint_that_numba_cannot_compile_is_an_error_that_names_the_op():
    def unheard_of(g, x, dx):
        dx[0] += x.no_such_attribute

    op = tg.custom_op(bent, unheard_of)
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(tg.errors.CompileError, match="bent"):
        op(x).sum().backward()


def refusing(x, y):
    if x[0] > 0.0:
        raise ValueError("positive")
    y[0] = x[0]


def test_an_exception_in_forward_is_an_error_and_not_a_wrong_number():
    op = tg.custom_op(refusing, lambda g, dx: None)
    assert op([-1.0]).item() == -1.0
    with pytest.raises((tg.TapegradError, ValueError)):
        op([1.0])


def test_an_exception_in_forward_is_an_error_in_a_recording_too():
    fast = tg.compile(tg.custom_op(refusing))
    assert fast(np.array([-1.0])).item() == -1.0
    with pytest.raises((tg.TapegradError, ValueError)):
        fast(np.array([1.0]))


def test_an_exception_in_the_adjoint_is_an_error():
    def refusing_adjoint(g, x, dx):
        if x[0] > 0.0:
            raise ValueError("positive")
        dx[0] += g[0]

    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises((tg.TapegradError, ValueError)):
        tg.custom_op(bent, refusing_adjoint)(x).sum().backward()
