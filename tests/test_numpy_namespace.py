"""``import tapegrad.numpy as np``: programs written for HIPS autograd, and every name of NumPy's.

The programs' numbers were computed by autograd 1.8 on NumPy 2.4.
"""

import subprocess
import sys

import numpy
import pytest

import tapegrad as tg
import tapegrad.numpy as np
from tapegrad.functions import protocol

SHAPES = [(6, 2), (2, 8), (8, 3)]


def tanh(np, grad):
    def f(x):
        y = np.exp(-2.0 * x)
        return (1.0 - y) / (1.0 + y)

    x = np.linspace(-2.0, 2.0, 5)
    each = grad(lambda x: np.sum(f(x)))
    return np.concatenate([f(x), each(x), [grad(grad(grad(f)))(0.5)]])


def logistic_regression(np, grad):
    inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]])
    targets = np.array([True, True, False, True])

    def loss(weights):
        predicted = 0.5 * (np.tanh(np.dot(inputs, weights)) + 1)
        probabilities = predicted * targets + (1 - predicted) * (1 - targets)
        return -np.sum(np.log(probabilities))

    weights = np.zeros(3)
    gradient = grad(loss)
    for _ in range(100):
        weights -= gradient(weights) * 0.01
    return np.append(weights, loss(weights))


def network(np, grad):
    random = np.random.RandomState(0)
    params = [(random.randn(m, n) * 0.5, random.randn(n) * 0.5) for m, n in SHAPES]
    x, t = random.randn(10, 6), np.eye(3)[random.randint(3, size=10)]

    def logsumexp(z, axis, keepdims):
        top = np.max(z, axis=axis, keepdims=True)
        return top + np.log(np.sum(np.exp(z - top), axis=axis, keepdims=keepdims))

    def loss(params):
        h = x
        for W, b in params:
            outputs = np.dot(h, W) + b
            h = np.tanh(outputs)
        prior = sum(np.dot(W.ravel(), W.ravel()) + np.dot(b, b) for W, b in params)
        return -np.einsum("ij,ij->", outputs - logsumexp(outputs, 1, True), t) + 0.1 * prior

    gradients = grad(loss)(params)
    return np.array([loss(params), *(np.sum(np.abs(g)) for pair in gradients for g in pair)])


def lists_of_numbers(np, grad):
    def f(x):
        c, s = np.cos(x[0]), np.sin(x[0])
        turned = np.dot(np.array([[c, -s], [s, c]]), x[1:])
        whole = np.stack([turned, np.full(2, x[0])])
        positive = np.where(whole > 0, whole, 0.0)
        return np.sum([np.max(whole), x[1], np.prod(turned)]) + np.linalg.norm(whole) + positive[0, 0]

    return grad(f)(np.array([0.4, 1.5, 0.2]))


PROGRAMS = {
    tanh: [-0.9640275800758169, -0.7615941559557649, 0.0, 0.7615941559557649, 0.9640275800758168, 0.07065082485316435,
           0.4199743416140259, 1.0, 0.419974341614026, 0.07065082485316446, -0.5652092882597706],
    logistic_regression: [0.5741406286515991, -0.22256610227238924, 1.1360435086226586, 0.38900754315581143],
    network: [12.873596654707281, 11.386422980686799, 1.9917609196277037, 9.272868168616851, 6.290077316293225,
              15.12470889024209, 4.9368214963276245],
    lists_of_numbers: [0.06781631706255453, 4.985974157109746, 0.24654905334157723],
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_a_program_written_for_autograd_gives_autograds_numbers(program):
    result = program(np, tg.grad)
    assert type(result) is numpy.ndarray
    numpy.testing.assert_allclose(result, PROGRAMS[program], rtol=1e-10, atol=1e-12)


def test_all_names_of_numpy_are_there():
    for namespace, own in ((numpy, np), (numpy.linalg, np.linalg), (numpy.fft, np.fft), (numpy.random, np.random)):
        for name in namespace.__all__:
            assert hasattr(own, name), name
        assert {name for name in namespace.__all__ if not name.startswith("_")} <= set(dir(own))
    assert np.float64 is numpy.float64 and np.pi == numpy.pi and np.newaxis is None
    with pytest.raises(AttributeError, match="float_|nowhere"):
        np.nowhere  # noqa: B018


def test_every_function_of_numpys_that_tensors_know_is_in_the_namespace():
    known = {f.__name__: f for f in protocol._counterparts if getattr(numpy, f.__name__, None) is f}
    assert len(known) > 150
    for name, function in known.items():
        own = getattr(np, name)
        assert own is function or own.__wrapped__ is function


def test_submodules_are_imported_by_name():
    import tapegrad.numpy.linalg as linalg
    import tapegrad.numpy.random as random
    from tapegrad.numpy import fft, pi, sin
    from tapegrad.numpy.linalg import norm

    assert np.linalg is linalg and np.random is random and np.fft is fft
    assert sin is numpy.sin and pi == numpy.pi
    assert norm(numpy.array([3.0, 4.0])) == 5.0


def test_of_plain_arrays_everything_is_numpys():
    for made in (np.array([1, 2.5]), np.asarray([1.0]), np.zeros(3), np.full((2, 2), 7), np.exp(np.arange(3)),
                 np.sum([[1, 2], [3, 4]], axis=0), np.array([[1]], dtype=np.int8, ndmin=3), np.linspace(0, 1, 3),
                 np.ascontiguousarray([1]), np.vstack([[1, 2], [3, 4]]), np.linalg.inv(np.eye(2))):
        assert type(made) is numpy.ndarray
    assert np.array([1], dtype="c16").dtype == np.complex128 and np.full(2, 7).dtype == np.int64


def test_arrays_made_of_tensors_keep_their_history():
    x = numpy.array([0.5, 2.0])
    for f in (lambda x: np.array([x[0], 1.0, 3.0 * x[1]]).sum(),
              lambda x: np.array([[x], [2.0 * x]])[:, 0, 1].sum() + x[0],
              lambda x: np.full((2, 2), x)[:, 1].sum() * 1.5 + x[0],
              lambda x: np.asarray(x)[0] + np.asarray([x[1]]).sum() * 3.0,
              lambda x: np.array(x, ndmin=3)[0, 0, 0] + 3.0 * np.ascontiguousarray(x.T)[1]):
        numpy.testing.assert_allclose(tg.grad(f)(x), [1.0, 3.0])
    t = tg.tensor(x)
    copy, same = np.array(t), np.asarray(t)
    t.fill_(7.0)
    assert copy.tolist() == [0.5, 2.0] and same is t
    assert np.asarray(tg.tensor(x), dtype=np.float32).dtype == numpy.float32


def test_importing_tapegrad_does_not_import_its_namespaces():
    code = "import sys, tapegrad; print([n for n in ('tapegrad.numpy', 'tapegrad.scipy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert tg.numpy is np
