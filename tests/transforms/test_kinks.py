"""Gradients where there is no derivative, as the docstrings state them; the numbers are those of PyTorch 2.13."""

import warnings

import numpy as np
import pytest
from record_kinks import ROWS, of_jax, of_torch, shown
from scipy.optimize import minimize

import tapegrad as tg
import tapegrad.nn.functional as F

INF, NAN = np.inf, np.nan

KINKS = {
    "abs": (tg.abs, [0.0], [0.0]),
    "relu": (tg.relu, [0.0], [0.0]),
    "leaky_relu": (tg.leaky_relu, [0.0], [0.01]),
    "leaky_relu folded": (lambda x: tg.leaky_relu(x, -0.5), [0.0], [-0.5]),
    "elu": (lambda x: tg.elu(x, 2.0), [0.0], [2.0]),
    "selu": (tg.selu, [0.0], [1.7580993408473766]),
    "relu6": (F.relu6, [0.0, 6.0], [0.0, 0.0]),
    "hardtanh": (tg.hardtanh, [-1.0, 1.0], [0.0, 0.0]),
    "clip by numbers": (lambda x: tg.clip(x, -1.0, 1.0), [-1.0, 1.0], [1.0, 1.0]),
    "sqrt": (tg.sqrt, [0.0], [INF]),
    "power 0.5": (lambda x: x ** 0.5, [0.0], [INF]),
    "max": (tg.max, [1.0, 1.0, 0.0], [0.5, 0.5, 0.0]),
    "min": (tg.min, [1.0, 1.0, 2.0], [0.5, 0.5, 0.0]),
    "maximum": (lambda x: tg.maximum(x, np.ones(1)), [1.0], [0.5]),
    "minimum": (lambda x: tg.minimum(x, np.ones(1)), [1.0], [0.5]),
    "max_pool1d": (lambda x: F.max_pool1d(tg.reshape(x, (1, 1, 2)), 2), [1.0, 1.0], [1.0, 0.0]),
    "norm": (tg.norm, [0.0, 0.0], [0.0, 0.0]),
    "norm 1": (lambda x: tg.norm(x, 1), [0.0, 0.0], [0.0, 0.0]),
    "norm 3": (lambda x: tg.norm(x, 3), [0.0, 0.0], [0.0, 0.0]),
    "norm inf": (lambda x: tg.norm(x, INF), [1.0, -1.0], [0.5, -0.5]),
    "root of squares": (lambda x: tg.sqrt(tg.sum(x * x)), [0.0, 0.0], [NAN, NAN]),
    "where sqrt": (lambda x: tg.where(x > 0, tg.sqrt(x), 0.0), [0.0, -1.0, 4.0], [NAN, NAN, 0.25]),
    "where log": (lambda x: tg.where(x > 0, tg.log(x), 0.0), [0.0, -1.0, 4.0], [NAN, 0.0, 0.25]),
    "where twice": (lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0), [0.0, -1.0, 4.0],
                    [0.0, 0.0, 0.25]),
}


@pytest.mark.parametrize("recorded", [False, True], ids=["define by run", "recorded"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KINKS)
def test_the_gradient_at_a_kink_is_that_of_pytorch(name, dtype, recorded):
    f, x, expected = KINKS[name]
    gradient = tg.grad(lambda x: tg.sum(f(x)))
    found = (tg.compile(gradient) if recorded else gradient)(np.array(x, dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# ------------------------------------------------------------------ the table of second derivatives


def table(column):
    """A column of the table in `tg.grad`'s docstring, by row."""
    lines = [line.strip() for line in tg.grad.__doc__.splitlines()]
    first, _, last = (k for k, line in enumerate(lines) if line.startswith("==="))
    ends = np.cumsum([len(rule) + 1 for rule in lines[first].split()])
    begin = ([0, *ends])[column]
    return {line[:ends[0]].strip(): line[begin:ends[column]].strip() for line in lines[first + 3:last]}


def found(name, recorded=False, dtype=np.float64):
    point, text = np.array(ROWS[name][0], dtype), ROWS[name][1]

    def f(x):
        return tg.sum(eval(text, {"tg": tg, "F": F, "np": np}, {"x": x}))

    made = tg.grad(f), tg.hessian(f)
    return shown(*[(tg.compile(m) if recorded else m)(point) for m in made])


@pytest.mark.parametrize("recorded", [False, True], ids=["define by run", "recorded"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_second_derivatives_at_kinks_are_those_of_the_docstring(name, dtype, recorded):
    assert found(name, recorded, dtype) == table(1)[name]


@pytest.mark.parametrize("library, column, of", [("jax", 2, of_jax), ("torch", 3, of_torch)])
def test_the_docstring_says_what_the_installed_peer_gives(library, column, of):
    pytest.importorskip(library)
    assert table(column) == {name: "-" if row[column] is None else shown(*of(row[column], np.array(row[0])))
                             for name, row in ROWS.items()}


# ------------------------------------------------------------------ SciPy's minimisers, which keep the start's dtype

METHODS = ["CG", "BFGS", "L-BFGS-B", "Newton-CG", "TNC", "SLSQP"]
MINIMUM = np.arange(1.0, 6.0)
bowl = tg.compile(tg.value_and_grad(lambda x: tg.sum((x - MINIMUM) ** 2)))


def in_float32(x):
    """The remedy of the docstring: float32 within, float64 outside."""
    value, gradient = bowl(x.astype(np.float32))
    assert value.dtype == gradient.dtype == np.float32
    return float(value), gradient.astype(np.float64)


@pytest.mark.parametrize("method", METHODS)
def test_a_float64_start_comes_to_the_minimum(method):
    found = minimize(bowl, np.zeros(5), jac=True, method=method)
    np.testing.assert_allclose(found.x, MINIMUM, atol=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "Newton-CG"])
def test_a_function_that_computes_in_float32_within_comes_to_the_minimum(method):
    found = minimize(in_float32, np.zeros(5), jac=True, method=method)
    np.testing.assert_allclose(found.x, MINIMUM, atol=1e-5)


@pytest.mark.grid  # one environment runs it: of the present SciPy
def test_a_float32_start_does_with_scipy_what_the_docstring_says():
    """If this fails with a newer SciPy, the docstring of `value_and_grad` has to be told."""
    start = np.zeros(5, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stopped = minimize(bowl, start, jac=True, method="Newton-CG")
    assert abs(stopped.x - MINIMUM).max() > 1.0
    for method in ("TNC", "SLSQP"):
        with pytest.raises(Exception, match="dtype|type numpy.float64"):
            minimize(bowl, start, jac=True, method=method)
    assert "Newton-CG" in tg.value_and_grad.__doc__ and "float64" in tg.value_and_grad.__doc__


def test_the_docstrings_state_the_slopes_at_kinks():
    for function, words in ((tg.abs, "slope 0 at 0"), (tg.relu, "slope 0 at 0"), (tg.sqrt, "slope inf at 0"),
                            (tg.where, "NaN"), (tg.clip, "on a bound the slope is 1"), (tg.max, "Ties share"),
                            (tg.maximum, "tie shares"), (tg.hardtanh, "slope is 0"), (tg.grad, "subgradients")):
        assert words in function.__doc__, function.__name__
