"""gradcheck: derivatives of any order, in both directions, against central differences."""

import numpy as np
import pytest

import tapegrad as tg

A = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.5]])
B = np.array([0.5, -1.0, 2.0])
BOTH = ("fwd", "rev")


def test_gradcheck_accepts_right_gradients_of_several_inputs():
    assert tg.gradcheck(lambda a, b: tg.tanh(a * b) + tg.exp(a), A, B)


def test_gradcheck_takes_float32_inputs_in_float64():
    assert tg.gradcheck(lambda a: tg.sin(a) * a, A.astype(np.float32))


def test_gradcheck_leaves_integers_and_masks_alone():
    assert tg.gradcheck(lambda a, k: a[:, np.asarray(k)], A, np.array([0, 2, 2]))


def test_gradcheck_reports_the_worst_element_of_a_wrong_gradient():
    only = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    # detach() hides a path of the element [1, 1] = 3, whose adjoint 1 stands against the slope 1 + 2 * 3
    with pytest.raises(AssertionError) as caught:
        tg.gradcheck(lambda a: (a + a.detach() * a.detach() * only).sum(), A)
    assert isinstance(caught.value, tg.TapegradError)
    assert "1, 1" in str(caught.value)
    assert not tg.gradcheck(lambda a: a + a.detach() * only, A, raise_exception=False)


def test_gradcheck_catches_a_wrong_adjoint_of_a_custom_op_and_passes_the_right_one():
    def cube(x, y):
        for k in range(x.size):
            y[k] = x[k] ** 3

    def right(g, x, dx):
        for k in range(x.size):
            dx[k] += 3.0 * g[k] * x[k] * x[k]

    def wrong(g, x, dx):
        for k in range(x.size):
            dx[k] += 2.0 * g[k] * x[k] * x[k]

    assert tg.gradcheck(tg.custom_op(cube, right), B)
    with pytest.raises(AssertionError, match="argument 0"):
        tg.gradcheck(tg.custom_op(cube, wrong), B)


def test_gradcheck_works_on_empty_and_scalar_inputs():
    assert tg.gradcheck(lambda a: a * 2.0, np.zeros((0, 3)))
    assert tg.gradcheck(lambda a: a * a, np.float64(1.5))


def test_gradcheck_of_higher_orders_in_both_directions():
    assert tg.gradcheck(lambda a: tg.sin(a) * a[0], B, order=3, modes=BOTH)
    assert tg.gradcheck(lambda a, b: {"x": tg.tanh(a) * b, "y": [(a * b).sum(), None]}, A, B, order=2, modes=BOTH)


@pytest.mark.parametrize("f, x", [(lambda a: a, 2.0), (lambda a: a * 2.0, np.zeros((0, 2))),
                                  (lambda a: tg.tensor(np.ones(2)), B), (lambda a: a[::-1], B[::-1])])
def test_functions_whose_second_derivative_is_zero(f, x):
    assert tg.gradcheck(f, x, order=2, modes=BOTH)


def test_a_wrong_second_derivative_is_found_at_order_two():
    @tg.custom_vjp
    def cube(x):
        return x ** 3

    cube.defvjp(lambda x: (cube(x), x.detach()), lambda kept, g: (3.0 * g * kept * kept,))
    assert tg.gradcheck(cube, B)
    assert not tg.gradcheck(cube, B, order=2, raise_exception=False)


def test_a_wrong_forward_derivative_is_found_and_named():
    @tg.custom_jvp
    def cube(x):
        return x ** 3

    cube.defjvp(lambda primals, tangents: (cube(*primals), 2.0 * tangents[0] * primals[0] ** 2))
    with pytest.raises(tg.GradcheckError, match=r"argument 0 at \[2\]: forward derivative 9\.09"):
        tg.gradcheck(lambda x: cube(x)[2:] / 1.0, B.astype(np.float32) * [0.0, 0.0, 1.0], modes=("fwd",))


@pytest.mark.parametrize("options", [{"modes": ()}, {"modes": ("up",)}, {"modes": "rev"}, {"order": 0}, {"order": 1.5}])
def test_options_that_are_none(options):
    with pytest.raises(tg.ArgumentError, match="gradcheck: " + next(iter(options))):
        tg.gradcheck(lambda a: a * a, B, **options)


def test_arguments_without_floats_are_refused():
    with pytest.raises(TypeError, match="no argument is a float array"):
        tg.gradcheck(lambda k: k * 2, np.arange(3))
