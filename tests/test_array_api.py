"""The Python array API standard over tensors; the cases are in `array_standard`, their judge is array-api-strict."""

import numpy as np
import pytest

import tapegrad as tg

pytest.importorskip("array_api_strict")  # the environment `py` of tox has it

import array_standard  # noqa: E402


def test_every_name_of_the_standard_gives_what_the_reference_gives():
    assert {name: what for name, what in array_standard.examine().items() if what is not None} == {}


def test_the_cases_are_of_every_name_of_the_standard():
    assert array_standard.names_of_the_standard() <= set(array_standard.CASES)
    assert all(hasattr(array_standard.own, name) for name in array_standard.names_of_the_standard())


def test_a_difference_is_seen(monkeypatch):
    monkeypatch.setattr(array_standard.own, "exp", array_standard.own.expm1)
    monkeypatch.setattr(array_standard.own, "sum", lambda x, **how: tg.sum(x, how["axis"], how["keepdims"]) * 1.0)
    found = array_standard.examine()
    assert {name for name, what in found.items() if what is not None} == {"exp", "sum"}
    assert "float32, not int64" in found["sum"] or "float64, not int64" in found["sum"]


def test_code_written_for_the_standard_is_recorded():
    compat = pytest.importorskip("array_api_compat")

    def spread(x):
        xp = compat.array_namespace(x)
        return xp.sqrt(xp.mean((x - xp.mean(x)) ** 2)) + xp.sum(xp.linalg.vector_norm(x))

    x = np.array([1.0, 2.0, 4.0])
    want = (x - x.mean()) / (3.0 * x.std()) + x / np.linalg.norm(x)
    np.testing.assert_allclose(tg.grad(spread)(x), want, rtol=1e-12)
    np.testing.assert_allclose(tg.compile(tg.grad(spread))(x), want, rtol=1e-12)


def test_what_has_no_derivative_raises_for_tensors_with_a_history_and_is_numpys_for_others():
    xp = tg.tensor(1.0).__array_namespace__()
    following = float(np.nextafter(np.float32(1), np.float32(2)))
    assert xp.nextafter(tg.tensor([1.0]), tg.tensor([2.0])).tolist() == [following]
    with pytest.raises(TypeError, match="np.nextafter has no counterpart"):
        xp.nextafter(tg.tensor([1.0], requires_grad=True), tg.tensor([2.0]))


def test_integers_are_shifted_as_numpys():
    a, n = np.array([5, -7, 2**62, -(2**62), 1, -1]), np.array([1, 3, 63, 63, 62, 63])
    for shift in (lambda a, n: a << n, lambda a, n: a >> n):
        for left, right in ((tg.tensor(a), tg.tensor(n)), (tg.tensor(a), n), (a, tg.tensor(n))):
            np.testing.assert_array_equal(shift(left, right).numpy(), shift(a, n))
    assert (3 << tg.tensor(2)).item() == 12
    assert (tg.tensor([2**60, 3]) @ tg.tensor([1, 2**40])).item() == 2**60 + 3 * 2**40
    with pytest.raises(TypeError, match="test_array_api.py:[0-9]+: << is of integers, not float32"):
        tg.tensor([1.0]) << 1
