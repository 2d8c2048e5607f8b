"""What lies in other ones' bytes: every operand of an op may be a leaf, an input, a constant or computed, in any place.

Expectations are central differences of the same formula in NumPy.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

KINDS = ["leaf", "input", "constant", "computed", "of_leaf"]
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "squared_error": lambda a, b: (a - b) ** 2,
    "absolute_error": lambda a, b: np.abs(a - b),
}


def central_difference(f, x, step=1e-5):
    """The gradient of a number in every element of `x`."""
    gradient = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[k] += step
        behind[k] -= step
        gradient[k] = (f(ahead) - f(behind)) / (2 * step)
    return gradient


def trained(loss, values, *inputs):
    """Gradients of parameters of these values after one recorded step of `loss(parameters, *inputs)`."""
    parameters = [nn.Parameter(value, dtype="float64") for value in values]
    step = tg.TrainStep(lambda *given: loss(parameters, *given), optim.SGD(parameters, lr=1.0))
    step(*inputs)
    return [value - parameter.numpy() for value, parameter in zip(values, parameters)]


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, repeat=2)), ids="-".join)
def test_both_operands_of_every_binary_op_may_be_anything_in_a_recorded_step(kinds):
    # The adjoint of the last operand may take the place of the result's, but only where it lies in the arena.
    rng = np.random.default_rng(5)
    first, second, given = (rng.uniform(0.3, 0.9, 6) for _ in range(3))
    constants = rng.uniform(0.3, 0.9, (2, 6))

    def operand(kind, k, space, leaf, x):
        return {"leaf": leaf, "input": x, "constant": constants[k], "computed": space.tanh(x * x),
                "of_leaf": space.tanh(leaf)}[kind]

    for name, f in BINARY.items():
        def loss(space, op, leaves, x):
            a, b = (operand(kind, k, space, leaf, x) for k, (kind, leaf) in enumerate(zip(kinds, leaves)))
            return leaves[1].sum() + (x * (op(a, b) + leaves[0])).sum()  # the reverse comes to `op` first

        found = trained(lambda leaves, x, name=name: loss(tg, getattr(tg, name), leaves, x), [first, second], given)
        for k, gradient in enumerate(found):
            def moved(value, k=k, f=f):
                return loss(np, f, [value if j == k else leaf for j, leaf in enumerate((first, second))], given)

            np.testing.assert_allclose(gradient, central_difference(moved, (first, second)[k]), rtol=1e-6, atol=1e-4,
                                       err_msg=name)


def test_an_affine_layer_in_a_batch_of_one_trains_its_weight():
    # y = tanh(x) w + b of one row, whose parameters have the result's size: dL/dw = z tanh(x), dL/db = z
    x, w, b = np.array([0.5, -0.3, 0.8]), np.array([1.0, 2.0, -1.5]), np.array([0.1, 0.2, 0.3])
    z = np.array([[1.0, 10.0, 100.0]])
    dw, db, dx = trained(lambda p, z: (z * (tg.tanh(p[2]).reshape(1, 3) * p[0] + p[1])).sum(), [w, b, x], z)
    np.testing.assert_allclose(dw, z[0] * np.tanh(x), rtol=1e-12)
    np.testing.assert_allclose(db, z[0], rtol=1e-12)
    np.testing.assert_allclose(dx, z[0] * w * (1 - np.tanh(x) ** 2), rtol=1e-12)

