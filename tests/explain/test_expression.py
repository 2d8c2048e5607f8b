"""Expressions that users type: what is in the language, and that nothing else is evaluated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.explain.expression import Expression


def value(text, **variables):
    return tg.explain(text, **variables).graph.output.value


@pytest.mark.parametrize("text, variables, expected", [
    ("(x + y) * z", {"x": -2, "y": 5, "z": -4}, -12),
    ("-x ** 2 + +y", {"x": 3.0, "y": 1}, -8),
    ("2 - x / 4 - 1e-3", {"x": 2}, 1.499),
    ("w @ x", {"w": [1, 2], "x": [3, -1]}, 1),
    ("sum(W @ W.T)", {"W": [[1, 2], [3, 4]]}, 52),
    ("where(x > 0, x, 0.1 * x)", {"x": [-1, 2]}, [-0.1, 2]),
    ("where(x >= 1, 1, 0) + 0 * x", {"x": 1}, 1),
    ("log(sigmoid(x))", {"x": 0.5}, math.log(1 / (1 + math.exp(-0.5)))),
    ("x[0] * x[-1] + sum(x[1:3]) + sum(x[::2])", {"x": [1, 2, 3, 4]}, 13),
    ("sum(W[:, 1])", {"W": [[1, 2], [3, 4]]}, 6),
    ("sum(x * [1, 2, 3])", {"x": [1, 1, 1]}, 6),
    ("sum([x, y, 2 * x] * [1, 2, 3])", {"x": 1, "y": 2}, 11),
    ("mean(W, axis=0)", {"W": [[1, 2], [3, 4]]}, [2, 3]),
    ("sum(softmax(x, axis=0))", {"x": [1, 2]}, 1),
    ("sum(x, axis=(0, 1), keepdims=True)", {"x": [[1, 2], [3, 4]]}, [[10]]),
    ("x", {"x": 4}, 4),
    ("  x + 1  ", {"x": 4}, 5),
])
def test_values(text, variables, expected):
    np.testing.assert_allclose(value(text, **variables), expected, rtol=1e-12)


def test_gradients_are_those_of_the_function():
    e = tg.explain("sum(tanh(W @ x + b) ** 2)", W=[[1, 2], [3, 4]], x=[0.1, 0.2], b=[0.3, 0.4])

    def f(W, x, b):
        return tg.sum(tg.tanh(W @ x + b) ** 2)

    expected = tg.grad(f, argnums=(0, 1, 2))(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.1, 0.2]),
                                             np.array([0.3, 0.4]))
    for name, g in zip("Wxb", expected):
        np.testing.assert_allclose(e[name].adjoint, g, rtol=1e-12)


@pytest.mark.parametrize("text, names", [
    ("(x + y) * z", ["q", "f"]), ("(a + b) * (b + 1)", ["c", "d", "e"]), ("tanh(sin(cos(x)))", ["q", "r", "f"]),
    ("f * q + 1", ["r", "s"]),
])
def test_results_have_the_letters_of_the_lectures(text, names):
    variables = {name: 0.5 for name in Expression(text).variables}
    assert [node.name for node in tg.explain(text, **variables).graph.ops] == names


@pytest.mark.parametrize("text, column, reason", [
    ("x +", 3, "invalid syntax"), ("foo(x)", 0, "no function foo"), ("1 + softmx(x)", 4, "there is softmax"),
    ("x + y.real", 4, "not part"), ("__import__('os')", 0, "no function __import__"), ("x if x else y", 0, "not part"),
    ("x ** 'a'", 5, "'a' is no number"), ("x[y]", 2, "integers and slices"),
    ("x[True]", 2, "integers and slices"),
    ("(lambda: 1)()", 0, "not part"), ("x % 2", 2, "no derivative here"), ("x // 2", 2, "no derivative here"),
    ("[x for x in y]", 0, "not part"), ("x and y", 0, "not part"), ("x < y < 1", 0, "not part"),
    ("f'{x}'", 0, "not part"),
    ("True", 0, "no number"), ("None", 0, "no number"), ("1j", 0, "no number"), ("x := 3", 2, "invalid syntax"),
    ("sum(x, axis=y)", 12, "option axis"), ("sum(**x)", 6, "option"), ("sum(*x)", 4, "not part"),
    ("x; y", 1, "invalid syntax"), ("", 0, "invalid syntax"), ("x.T.T.real", 0, "not part"),
    ("exp.__self__", 0, "not part"),
    ("tg.exp(x)", 0, "not part"), ("x.sum()", 0, "not part"), ("not x", 0, "not part"), ("~x", 0, "not part"),
    ("-" * 300 + "x", None, "100 levels"), ("x" * 20000, None, "20,000 characters"),
])
def test_what_is_not_in_the_language_is_refused_with_its_place(text, column, reason):
    with pytest.raises(tg.ExpressionError, match=reason) as caught:
        Expression(text)
    _, caret = caught.value.place.split("\n")
    assert caret == " " * (len(caret) - 1) + "^"
    if column is not None:
        assert len(caret) - 1 == column


@pytest.mark.parametrize("text, variables, column, reason", [
    ("a @ b", {"a": [1, 2, 3], "b": [1, 2]}, 2, "shapes \\[3\\] and \\[2\\]"),
    ("1 + x[5]", {"x": [1, 2]}, 4, "out of"), ("x + split(x, 2)", {"x": [1.0, 2.0]}, 4, "several results"),
    ("9.0 ** 9.0 ** 9.0 * x", {"x": 1}, 4, "out of range"), ("x + 1 / 0", {"x": 1}, 6, "division"),
    ("sum(x, axis=3)", {"x": [1, 2]}, 0, "axis 3"), ("exp(x, y)", {"x": 1, "y": 2}, 0, "argument"),
])
def test_what_cannot_be_computed_is_told_with_its_place(text, variables, column, reason):
    with pytest.raises(tg.ExpressionError, match=reason) as caught:
        tg.explain(text, **variables)
    assert len(caught.value.place.split("\n")[1]) - 1 == column


@pytest.mark.parametrize("variables, reason", [
    ({"x": 1}, "no value is given for y"), ({"x": 1, "y": 2, "z": 3}, "no variable z; it has x, y"),
    ({"x": "a", "y": 2}, "x is to be a number"), ({"x": [[1], [1, 2]], "y": 2}, "all of one length"),
])
def test_variables_are_checked(variables, reason):
    with pytest.raises(tg.TapegradError, match=reason):
        tg.explain("x + y", **variables)


def test_division_by_zero_in_the_values_is_infinite_and_told():
    e = tg.explain("y + 1 / x", x=0.0, y=1.0)
    assert e.graph.output.value == math.inf and e["x"].adjoint == -math.inf
    births = e.local_errors().births
    assert [(birth.walk, birth.node.mathematics, birth.what) for birth in births] == [
        ("forward", "q = 1 / x", "infinity"), ("reverse", "q = 1 / x", "infinity")]


@settings(deadline=None)
@given(st.text(alphabet="xy+-*/@()[],.:=<> 01eT'\"_#!{}%exp", max_size=25))
def test_any_text_is_a_value_or_an_error_with_a_place(text):
    try:
        result = tg.explain(text, x=0.5, y=[1.0, 2.0])
    except tg.ArgumentError as error:
        assert not isinstance(error, tg.ExpressionError) or error.place.endswith("^")
    else:
        assert result.graph.output.value.dtype == np.float64
