"""Discrete Fourier transforms, against NumPy's."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.errors import ArgumentError, DtypeError, ShapeError

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives


def complexes(pairs):
    return pairs[..., 0] + 1j * pairs[..., 1]


def pairs(complexes):
    return np.stack([complexes.real, complexes.imag], -1)


def reference(name):
    """NumPy's function, of pairs where it is of complex numbers."""
    of_numpy, real = getattr(np.fft, name), name.startswith(("rfft", "ihfft"))

    def function(x, **options):
        y = of_numpy(x if real else complexes(x), **options)
        return y if name.startswith(("irfft", "hfft")) else pairs(y)

    return function


def _case(name, shape, **options):
    return Case(f"{name} {shape} {options}", lambda x: getattr(tg.fft, name)(x, **options),
                lambda x: reference(name)(x, **options), (uniform(shape, -1, 1, 1),))


class TestFourier(OpContract, Derivatives):
    cases = [
        _case("fft", (2, 6, 2)),
        _case("ifft", (3, 2, 2), axis=0, norm="ortho"),
        _case("rfft", (2, 8)),
        _case("rfft", (5, 3), axis=0, norm="forward"),
        _case("irfft", (2, 4, 2)),
        _case("irfft", (4, 2), n=5, norm="ortho"),
        _case("hfft", (3, 2), n=5),
        _case("rfftn", (2, 3, 4), axes=(0, 2), s=(3, 5)),
        _case("irfftn", (2, 3, 3, 2), s=(3, 4), axes=(-2, -1)),
    ]


LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 22, 25, 31, 37, 49, 64, 74, 97, 120, 210, 256, 331]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 21])
def test_every_length_is_as_exact_as_in_numpy(rows, dtype):
    rng = np.random.default_rng(rows)
    for n in LENGTHS if rows > 1 else [*LENGTHS, 1000, 1331, 2 * 499]:
        x = rng.normal(size=(rows, n, 2)).astype(dtype)
        exact = complexes(x.astype(np.longdouble))
        if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps:
            turns = np.outer(np.arange(n), np.arange(n)) % n * (2 * np.arccos(np.longdouble(-1)) / n)
            matrix = np.cos(turns) - 1j * np.sin(turns)
            whole, real = exact @ matrix, exact.real @ matrix
            back = exact[:, : n // 2 + 1].copy()
            back[:, 0] = back[:, 0].real
            twice = np.where((np.arange(n // 2 + 1) * 2) % n == 0, 1, 2)
            back = (back * twice @ matrix.conj()[: n // 2 + 1]).real
        else:
            whole, real, back = (np.fft.fft(exact), np.fft.fft(exact.real), np.fft.irfft(exact[:, : n // 2 + 1], n) * n)
        half = slice(0, n // 2 + 1)
        for found, expected in (
            (complexes(tg.fft.fft(x).numpy().astype(np.float64)), whole),
            (complexes(tg.fft.ifft(x, norm="forward").numpy().astype(np.float64)), np.roll(whole[:, ::-1], 1, 1)),
            (complexes(tg.fft.rfft(x[..., 0]).numpy().astype(np.float64)), real[:, half]),
            (tg.fft.irfft(x[:, half], n, norm="forward").numpy(), back),
        ):  # fmt: skip
            error = np.abs(found - expected).max() / np.abs(expected).max()
            assert error < 6 * np.finfo(dtype).eps, (n, error)


def test_long_and_prime_lengths_have_gradients_too():
    rng = np.random.default_rng(2)
    for n in (37, 74, 1024):
        x, g = rng.normal(size=(5, n)), rng.normal(size=(5, n // 2 + 1, 2))
        y, pull = tg.vjp(tg.fft.rfft, x)
        d = rng.normal(size=x.shape)
        np.testing.assert_allclose((pull(g) * d).sum(), (pairs(np.fft.rfft(d)) * g).sum(), rtol=1e-11)
        y, pull = tg.vjp(lambda p, n=n: tg.fft.irfft(p, n), g)
        e = rng.normal(size=g.shape)
        np.testing.assert_allclose((pull(x) * e).sum(), (np.fft.irfft(complexes(e), n) * x).sum(), rtol=1e-11)


def test_a_transform_of_many_rows_is_that_of_each():
    x = np.random.default_rng(0).normal(size=(300, 96)).astype(np.float32)
    whole = tg.fft.rfft(x).numpy()
    np.testing.assert_allclose(complexes(whole), np.fft.rfft(x.astype(np.float64)), atol=1e-5)
    x[7] = np.nan  # to none of its neighbours
    spoilt = tg.fft.rfft(x).numpy()
    assert np.isnan(spoilt[7, :, 0]).all()
    np.testing.assert_array_equal(np.delete(spoilt, 7, 0), np.delete(whole, 7, 0))


def test_a_filter_is_trained_through_its_spectrum():
    rng = np.random.default_rng(1)
    x, wanted = rng.normal(size=(40, 30)), np.array([0.5, -1.0, 2.0])
    y = np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(wanted, 30), 30)
    h = tg.tensor(np.zeros(3), requires_grad=True)

    def loss(x, y):
        made = tg.fft.irfft(tg.fft.multiply(tg.fft.rfft(x), tg.fft.rfft(h, n=30)), n=30)
        return ((made - y) ** 2).mean()

    tg.TrainStep(loss, optim.SGD([h], lr=0.3)).run(x, y, batch_size=20, epochs=40)
    np.testing.assert_allclose(h.numpy(), wanted, atol=1e-6)


def test_complex_arrays_are_taken_as_pairs():
    z = (np.arange(6) + 1j).reshape(2, 3).astype(np.complex64)
    assert tg.fft.fft(z).dtype == np.float32
    np.testing.assert_allclose(complexes(tg.fft.ifft(z, axis=0).numpy()), np.fft.ifft(z, axis=0), rtol=1e-6)
    np.testing.assert_allclose(complexes(tg.fft.multiply(z, tg.fft.conj(z)).numpy()), z * z.conj(), rtol=1e-6)


def test_frequencies_and_their_order():
    for n in (1, 4, 5):
        np.testing.assert_allclose(tg.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
        np.testing.assert_allclose(tg.fft.rfftfreq(n).numpy(), np.fft.rfftfreq(n), rtol=1e-6)
    x = np.arange(15.0).reshape(3, 5)
    for axes in (None, 0, (1,), (0, -1)):
        np.testing.assert_array_equal(tg.fft.fftshift(x, axes).numpy(), np.fft.fftshift(x, axes))
        np.testing.assert_array_equal(tg.fft.ifftshift(x, axes).numpy(), np.fft.ifftshift(x, axes))
        np.testing.assert_array_equal(np.fft.fftshift(tg.tensor(x), axes).numpy(), np.fft.fftshift(x, axes))


def test_wrong_arguments_are_named():
    x = np.ones((3, 4))
    with pytest.raises(ShapeError, match=r"fft: an input of shape \[3, 4\]; complex numbers are pairs .* is rfft"):
        tg.fft.fft(x)
    with pytest.raises(DtypeError, match="rfft is of real numbers, not of complex128"):
        tg.fft.rfft(x + 1j)
    for empty in (lambda: tg.fft.rfft(np.ones((2, 0))), lambda: tg.fft.rfft(x, n=0), lambda: tg.fft.irfft(x + 1j, -1),
                  lambda: tg.fft.irfft(np.ones((2, 1, 2)))):  # fmt: skip
        with pytest.raises(ArgumentError, match="points; there must be at least 1"):
            empty()
    with pytest.raises(ShapeError, match="rfft: axis 2 of an array of 2 axes"):
        tg.fft.rfft(x, axis=2)
    with pytest.raises(ArgumentError, match="norm 'both'; it is 'backward', 'ortho' or 'forward'"):
        tg.fft.rfft(x, norm="both")
    with pytest.raises(ArgumentError, match="2 numbers of points for 1 axes"):
        tg.fft.rfftn(x, s=(2, 2), axes=(0,))
    assert tg.fft.rfft(np.ones((0, 4))).shape == (0, 3, 2)


@pytest.mark.parametrize("name", ["fft", "rfft", "irfftn", "ihfft"])
def test_numpys_transforms_of_a_tensor_name_those_of_pairs(name):
    """Pairs in the place of complex numbers would be other numbers to ``np.abs`` and to products."""
    with pytest.raises(TypeError, match=rf"np\.fft\.{name} .* complex .* tg\.fft\.{name}"):
        getattr(np.fft, name)(tg.tensor(np.ones((4, 2))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_points_of_the_last_axis_are_numpys_or_of_dim_pytorchs(dtype):
    x = np.random.default_rng(3).normal(size=(4, 5, 2)).astype(dtype)
    for of_numpys, arguments in ((5, {"axes": (-2, -1)}), (8, {"dim": (-2, -1)})):
        expected = np.fft.irfft2(complexes(x), (3, of_numpys))
        for function in (lambda x: tg.fft.irfft2(x, (3, -1), **arguments),  # noqa: B023
                         lambda x: tg.fft.irfftn(x, (3, -1), **arguments)):  # noqa: B023
            for found in (function(x), tg.compile(function)(x)):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)
