"""The worked examples of the lectures on backpropagation, as functions to be explained, in the letters of the notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functions as t
from ..errors import ArgumentError
from .explanation import Explanation
from .graph import Graph
from .watching import uncollected, watched

__all__ = ["LECTURES", "Lecture", "lecture"]


@dataclass(frozen=True)
class Lecture:
    """A worked example.

    Attributes
    ----------
    title, formulas : str
    function : callable
    arguments : tuple
    paths : str
        The input whose paths the notes follow.
    """

    title: str
    formulas: str
    function: Callable
    arguments: tuple[Any, ...]
    paths: str

    def explain(self) -> Explanation:
        """The example, explained."""
        with uncollected():
            return Explanation(Graph(watched(self.function, self.arguments, {})), self.title)


def product_of_a_sum(x: Any, y: Any, z: Any) -> Any:
    q = x + y
    f = q * z
    return f


def sum_times_a_third(a: Any, b: Any, d: Any) -> Any:
    c = a + b
    e = c * d
    return e


def two_paths(a: Any, b: Any) -> Any:
    c = a + b
    d = b + 1
    e = c * d
    return e


def log_likelihood(w: Any, x: Any) -> Any:
    a = w @ x
    s = t.sigmoid(a)
    l = t.log(s)  # noqa: E741  (the letter of the notes)
    return l


def two_linear_layers(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    y = -1.0
    h = w1 * x + b1
    yhat = w2 * h + b2
    error = yhat - y
    L = error ** 2
    return L


def hidden_sigmoid_layer(x: Any, W1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    y = 0.7
    a = W1 @ x + b1
    h = t.sigmoid(a)
    yhat = w2 @ h + b2
    error = yhat - y
    L = error ** 2
    return L


def sigmoid_network(x: Any, alpha: Any, beta: Any) -> Any:
    target = 0.8
    a = alpha @ x
    z = t.sigmoid(a)
    b = beta @ z
    y = t.sigmoid(b)
    J = target * t.log(y) + (1 - target) * t.log(1 - y)
    return J


def softmax_network(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any) -> Any:
    z1 = W1 @ x + b1
    h1 = t.sigmoid(z1)
    z2 = W2 @ h1 + b2
    h2 = t.sigmoid(z2)
    z3 = W3 @ h2 + b3
    p = t.softmax(z3, axis=0)
    logp = t.log(p)
    L = -logp[1]
    return L


def deep_network(x: Any, W: Any) -> Any:
    """The local errors of D layers: a_k = W_k h_(k-1), h_k = tanh(a_k), J = |h_D - y|^2 / 2."""
    h = x
    for k, w in enumerate(W, 1):
        a = (w @ h).named(f"a{k}")
        h = t.tanh(a).named(f"h{k}")
    error = h - 0.5
    J = 0.5 * t.sum(error * error)
    return J


def deep_arguments(depth: int, width: int = 4) -> tuple[np.ndarray, list[np.ndarray]]:
    """Arguments of `deep_network`."""
    rng = np.random.default_rng(8)
    return rng.normal(size=width), [rng.normal(size=(width, width)) / np.sqrt(width) for _ in range(depth)]


def _drawn(seed: int, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) for shape in shapes)


LECTURES = (
    Lecture("1. The product of a sum", "f = (x + y) z", product_of_a_sum, (-2.0, 5.0, -4.0), "x"),
    Lecture("2. A sum times a third variable", "e = (a + b) d", sum_times_a_third, (2.0, 1.0, 5.0), "b"),
    Lecture("3. Two paths add up", "e = (a + b)(b + 1)", two_paths, (2.0, 1.0), "b"),
    Lecture("4. The log-likelihood of logistic regression", "l = ln s, s = sigma(w . x)", log_likelihood,
            (np.array([1.0, 2.0]), np.array([3.0, -1.0])), "w"),
    Lecture("5. Two linear layers", "h = w1 x + b1, yhat = w2 h + b2, L = (yhat - y)^2, y = -1", two_linear_layers,
            (0.75, 2.0, -0.5, 1.25, 0.3), "w1"),
    Lecture("6. One hidden layer of sigmoid units",
            "a = W1 x + b1, h = sigma(a), yhat = w2 . h + b2, L = (yhat - y)^2, y = 0.7", hidden_sigmoid_layer,
            (*_drawn(3, (3,), (4, 3), (4,), (4,)), 0.1), "W1"),
    Lecture("7. A sigmoid network with cross-entropy, every partial",
            "a = alpha x, z = sigma(a), b = beta . z, y = sigma(b), J = y* ln y + (1 - y*) ln(1 - y), y* = 0.8",
            sigmoid_network, _drawn(4, (3,), (2, 3), (2,)), "alpha"),
    Lecture("8. Softmax and cross-entropy in three layers",
            "z1 = W1 x + b1, h1 = sigma(z1), ..., p = softmax(z3), L = -ln p_2", softmax_network,
            _drawn(5, (3,), (4, 3), (4,), (3, 4), (3,), (2, 3), (2,)), "W1"),
    Lecture("9. Local errors through five layers", "a_k = W_k h_(k-1), h_k = tanh(a_k), J = |h_5 - y|^2 / 2, y = 1/2",
            deep_network, deep_arguments(5), "x"),
)


def lecture(number: int) -> Lecture:
    """The worked example of this number, from 1 on.

    Raises
    ------
    ArgumentError
        There is none.
    """
    if not 1 <= number <= len(LECTURES):
        raise ArgumentError(f"there are lectures 1 to {len(LECTURES)}, not {number}")
    return LECTURES[number - 1]
