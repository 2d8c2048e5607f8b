"""scikit-learn's multi-layer perceptron as a module, its objective, and the compiled steps that minimise it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functions, optim
from ..engine.random import preserved
from ..nn import Linear, Module, ReLU, Sequential, Sigmoid, Tanh
from ..nn import functional as F
from ..program import TrainStep, compile
from ..tensor.tensor import Tensor
from ..transforms import stop_gradient, value_and_grad
from .adam import ScaledAdam

__all__ = ["Objective", "Trainer", "batch_objective", "perceptron"]

_ACTIVATIONS: dict[str, type[Module]] = {"logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}


def perceptron(coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], activation: str) -> Sequential:
    """The network of these weights, without the activation of its output.

    Parameters
    ----------
    coefs : list of ndarray, each (inputs, outputs)
    intercepts : list of ndarray, each (outputs,)
    activation : {"identity", "logistic", "tanh", "relu"}
    """
    layers: list[Linear] = []
    for coef, intercept in zip(coefs, intercepts):
        with preserved():  # nothing is drawn as far as others can see
            layer = Linear(coef.shape[0], coef.shape[1], dtype=coef.dtype)
        layer.weight.copy_(coef.T)
        layer.bias.copy_(intercept)  # type: ignore[union-attr]
        layers.append(layer)
    return _activated(layers, activation)


def _activated(layers: Sequence[Linear], activation: str) -> Sequential:
    """Layers with an activation between each two."""
    parts: list[Module] = []
    for layer in layers:
        if parts and activation != "identity":
            parts.append(_ACTIVATIONS[activation]())
        parts.append(layer)
    return Sequential(*parts)


class Objective(Module):
    """What scikit-learn minimises over a batch: ``mean(loss) + alpha / (2 n) sum(W^2)``.

    The mean is over rows, with their weights where there are any, and n is their number or the sum of the weights. Of a
    row's outputs the losses are summed.

    Parameters
    ----------
    network : Module
    output : {"softmax", "logistic", "identity", "exp"}
        The activation that the loss expects on the network's output.
    alpha : float
    shown_per_output : bool
        Whether the squared error that the loss shows is a mean over outputs, though it is their sum that is minimised;
        the loss curves of scikit-learn say so.
    """

    def __init__(self, network: Sequential, output: str, alpha: float, shown_per_output: bool = True) -> None:
        super().__init__()
        self.network, self.output, self.alpha = network, output, float(alpha)
        self.shown_per_output = shown_per_output

    def forward(self, x: Any, y: Any, weight: Any = None) -> Tensor:
        """The loss of rows x (n, inputs) with targets (n, outputs), or (n,) of classes for softmax."""
        layers = [layer for layer in self.network if isinstance(layer, Linear)]
        return self.loss(self.network(x), y, weight) + self.penalty([layer.weight for layer in layers], x, weight)

    def loss(self, z: Any, y: Any, weight: Any) -> Tensor:
        """The mean loss, from the network's output."""
        n = len(z) if weight is None else weight.sum()
        if self.output == "softmax":
            if weight is None:
                return F.cross_entropy(z, y)
            return (F.cross_entropy(z, y, reduction="none") * weight).sum() / n
        if self.output == "logistic":
            each = F.binary_cross_entropy_with_logits(z, y, reduction="none")
        elif self.output == "identity":
            each = 0.5 * functions.squared_error(z, y)
        else:  # half the Poisson deviance: xlogy(y, y) - y is 0 at y = 0
            each = functions.exp(z) - y * z + (y * functions.log(functions.where(y > 0.0, y, 1.0)) - y)
        mean = (each if weight is None else each * functions.reshape(weight, (-1, 1))).sum() / n
        if self.output == "identity" and self.shown_per_output and z.shape[1] > 1:
            return mean + stop_gradient(mean) * (1.0 / z.shape[1] - 1.0)
        return mean

    def penalty(self, weights: Sequence[Tensor], x: Any, weight: Any) -> Any:
        """``alpha / (2 n) sum(W^2)``."""
        if self.alpha == 0.0:
            return 0.0
        squares = sum((w * w).sum() for w in weights)
        return squares * (0.5 * self.alpha) / (len(x) if weight is None else weight.sum())


class Trainer:
    """The network of an estimator, its optimiser with its state, and their compiled step.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With its weights and hyper-parameters; nothing is kept of it.
    """

    def __init__(self, estimator: Any) -> None:
        self.network = perceptron(estimator.coefs_, estimator.intercepts_, estimator.activation)
        self.activation = estimator.activation
        self.layers = [layer for layer in self.network if isinstance(layer, Linear)]
        self.objective = Objective(self.network, estimator.out_activation_, estimator.alpha)
        parameters = list(self.network.parameters())
        if estimator.solver == "adam":
            self.optimizer: Any = ScaledAdam(parameters, estimator.learning_rate_init, estimator.beta_1,
                                             estimator.beta_2, estimator.epsilon)
        else:
            momentum = float(estimator.momentum)
            self.optimizer = optim.SGD(parameters, estimator.learning_rate_init, momentum,
                                       nesterov=bool(estimator.nesterovs_momentum) and momentum > 0)
        self.step = TrainStep(self.objective, self.optimizer)

    def activate(self, activation: str) -> None:
        """Go on with the same weights and optimiser under an activation that may be another."""
        if activation != self.activation:
            self.activation, self.network = activation, _activated(self.layers, activation)
            self.objective = Objective(self.network, self.objective.output, self.objective.alpha)
            self.step = TrainStep(self.objective, self.optimizer)

    def put(self, coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray]) -> None:
        """Set the network's weights."""
        for layer, coef, intercept in zip(self.layers, coefs, intercepts):
            layer.weight.copy_(coef.T)
            layer.bias.copy_(intercept)  # type: ignore[union-attr]

    def take(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the weights, each (inputs, outputs), and of the biases."""
        return ([np.ascontiguousarray(layer.weight.numpy().T) for layer in self.layers],
                [layer.bias.numpy() for layer in self.layers])  # type: ignore[union-attr]

    def set_rate(self, rate: float) -> None:
        """Change the learning rate. scikit-learn's velocity holds the rate of the step that made it, ours does not."""
        group = self.optimizer.param_groups[0]
        if rate == group["lr"]:
            return
        for state in self.optimizer.state.values():
            for name in state.keys() & {"momentum_buffer"}:
                state[name] *= group["lr"] / rate
        group["lr"] = rate


def batch_objective(estimator: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Any:
    """The objective over all rows and its gradient, compiled, as a function of scikit-learn's packed weights.

    Returns
    -------
    callable
        From the weights and biases in one array, to the value and an array of the gradient.
    """
    activation = {"identity": lambda z: z, "logistic": functions.sigmoid, "tanh": functions.tanh,
                  "relu": functions.relu}[estimator.activation]
    objective = Objective(Sequential(), estimator.out_activation_, estimator.alpha, shown_per_output=False)
    shapes, starts = estimator._coef_indptr, estimator._intercept_indptr
    rows, targets, scale = (None if a is None else Tensor(a, np.float64 if a.dtype.kind == "f" else a.dtype)
                            for a in (x, y, weight))

    def value(packed: Tensor) -> Tensor:
        weights = [functions.reshape(packed[first:last], shape) for first, last, shape in shapes]
        z: Any = rows
        for k, (w, (first, last)) in enumerate(zip(weights, starts)):
            z = (activation(z) if k else z) @ w + packed[first:last]
        return objective.loss(z, targets, scale) + objective.penalty(weights, rows, scale)

    return compile(value_and_grad(value))
