"""Numbers from outside: what width, byte order and library do to them, and what is refused by name."""

import array
import fractions

import numpy as np
import pytest

import tapegrad as tg

VALUES = [0.1, -2.0, 1e-3]


@pytest.mark.parametrize(
    "given, dtype",
    [
        (np.array(VALUES, ">f8"), np.float64),
        (np.array(VALUES, "<f8"), np.float64),
        (np.array(VALUES, np.longdouble), np.float64),
        (np.longdouble(0.1), np.float64),
        (np.array(VALUES, ">f4"), np.float32),
        (np.array(VALUES, np.float16), np.float32),
        (array.array("d", VALUES), np.float64),
        (array.array("f", VALUES), np.float32),
        ([np.float64(0.1), 2.0], np.float64),
        ([[np.float64(0.1)], [2.0]], np.float64),
        ([np.array(VALUES), VALUES], np.float64),
        ([np.float32(0.1), np.float32(2.0)], np.float32),
        (VALUES, np.float32),
        ((0.5, 1), np.float32),
        (np.array([1, 2], ">i4"), np.int64),
        (np.array([1, 2], np.uint64), np.int64),
        (np.array([1, 2], np.uint8), np.int64),
    ],
    ids=repr,
)
def test_foreign_numbers_keep_their_width(given, dtype):
    t = tg.tensor(given)
    assert t.dtype == dtype
    np.testing.assert_array_equal(t.numpy(), np.asarray(given, dtype))
    product = tg.multiply(given, 1.0)
    assert product.dtype == (dtype if dtype != np.int64 else np.float32)


def test_foreign_arguments_of_recorded_and_differentiated_functions_keep_their_width():
    x = np.array([0.1, 0.2], ">f8")
    f = lambda x: (x * x).sum()
    for g in (tg.grad(f), tg.compile(tg.grad(f))):
        gradient = g(x)
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(gradient, 2 * np.array([0.1, 0.2]), rtol=1e-15)
    assert tg.compile(lambda x: x * 2.0)(x).numpy().tolist() == [0.2, 0.4]


def test_a_list_given_to_a_float64_op_is_not_rounded_on_the_way():
    assert (tg.tensor(np.ones(1)) * [0.1]).numpy()[0] == 0.1


@pytest.mark.parametrize(
    "given",
    [
        np.array([1, 2**63], np.uint64), 2**63, [2**64 - 1],
        pytest.param(np.array([np.finfo(np.longdouble).max]), marks=pytest.mark.skipif(
            np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no wider float on this machine")),
    ],
)
def test_a_number_that_no_dtype_holds_is_refused(given):
    for make in (tg.tensor, lambda v: tg.tensor(v, dtype=np.int64), tg.compile(lambda x: x)):
        with pytest.raises((ValueError, TypeError)) as caught:
            make(given)
        assert isinstance(caught.value, tg.TapegradError)


def test_numbers_beyond_int64_may_become_floats_when_that_is_said():
    assert tg.tensor(np.array([2**63], np.uint64), dtype=np.float64).numpy()[0] == 2.0**63


@pytest.mark.parametrize(
    "given, name",
    [
        (np.array([object()]), "object"),
        (np.array([fractions.Fraction(1, 2)]), "object"),
        (np.zeros(2, [("left", "f4"), ("right", "f8")]), "structured.*left, right"),
        (np.array(["a"]), "U1"),
        (np.array([1j]), "complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
    ],
)
def test_what_is_no_number_is_refused_by_name(given, name):
    for make in (tg.tensor, lambda v: tg.tensor(v, dtype=np.float64), tg.exp, lambda v: tg.tensor([1.0]) * v,
                 lambda v: tg.tensor(np.ones(len(v))).copy_(v)):
        with pytest.raises(TypeError, match=name) as caught:
            make(given)
        assert isinstance(caught.value, tg.TapegradError)


@pytest.mark.parametrize(
    "function",
    [lambda m, w: m * w, lambda m, w: w * m, lambda m, w: np.multiply(m, w), lambda m, w: tg.tensor(m),
     lambda m, w: tg.tensor([m, m]), lambda m, w: tg.compile(lambda x: x)(m)],
)
def test_masked_elements_are_refused_with_a_remedy(function):
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    with pytest.raises(ValueError, match=r"filled"):
        function(masked, tg.tensor(np.ones(3), requires_grad=True))
