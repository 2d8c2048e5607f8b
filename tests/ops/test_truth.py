"""all and any, against NumPy."""

import numpy as np
import pytest

import tapegrad as tg

X = np.array([[1.0, 0.0, np.nan], [2.0, -1.0, 0.5]])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("name", ["all", "any"])
@pytest.mark.parametrize("values", [X, X > 0, np.array([[1, 0], [0, 0]]), np.zeros((0, 2)), np.zeros((2, 0))])
def test_all_and_any_are_numpys(name, axis, keepdims, values):
    expected = getattr(np, name)(values, axis=axis, keepdims=keepdims)
    t = tg.tensor(values)
    for result in (getattr(tg, name)(t, axis, keepdims), getattr(t, name)(dim=axis, keepdim=keepdims),
                   getattr(np, name)(t, axis=axis, keepdims=keepdims)):
        assert isinstance(result, tg.Tensor) and result.dtype == bool and not result.requires_grad
        np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("name", ["all", "any"])
def test_all_and_any_of_a_recordings_inputs_are_recorded(name):
    f = tg.compile(lambda x: (getattr(x > 0, name)(), getattr(x, name)(axis=1)))
    for values in (np.abs(X) + 1.0, X, np.zeros((2, 3))):
        whole, rows = f(values)
        assert bool(whole) == getattr(values > 0, name)()
        np.testing.assert_array_equal(rows.numpy(), getattr(np, name)(values, axis=1))


def test_the_message_on_truth_recommends_what_exists():
    with pytest.raises(ValueError, match=r"\.all\(\) or \.any\(\)"):
        bool(tg.tensor(X) > 0)
    assert not (tg.tensor(X) > 0).all() and (tg.tensor(X) > 0).any()


@pytest.mark.parametrize("name", ["all", "any"])
def test_all_and_any_of_each_of_a_batch_are_those_of_one(name):
    x = np.array([[[1.0, 0.0], [2.0, 3.0]], [[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(tg.vmap(lambda x: getattr(tg, name)(x > 0.5))(x), getattr(x > 0.5, name)((1, 2)))
    np.testing.assert_array_equal(tg.vmap(lambda x: getattr(tg, name)(x, 1))(x), getattr(x > 0.5, name)(2))
