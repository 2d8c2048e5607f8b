"""The grid of calls that are held against PyTorch: what to call, with which arrays and options.

Both `record_pytorch.py`, which needs PyTorch, and `test_parity.py`, which does not, read it. The arrays come
from NumPy's legacy generator, whose stream never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

REDUCTIONS = ("mean", "sum", "none")


@dataclass
class Case:
    """A call of ``nn.functional``: float arrays are differentiated unless they are options.

    `peer` is PyTorch's path to the function if it is another (``"cumprod"`` for ``torch.cumprod``). With `module`, the
    arguments of its constructor, `function` is a class of ``nn`` and its parameters are those of `parameter_values`.
    """

    name: str
    function: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)  # arrays here are not differentiated
    gradients: bool = True
    peer: str = ""
    module: dict[str, Any] | None = None


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """What a result of `shape` is weighted with before its gradients are taken."""
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)


def parameter_values(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """What the parameters of a module are set to, by name."""
    return {name: 0.4 * _draw(len(name) + k, *shapes[name]) for k, name in enumerate(sorted(shapes))}


def _draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape)


def _options(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _label(options: dict[str, Any]) -> str:
    parts = (f"{k}={'given' if isinstance(v, np.ndarray) else v}" for k, v in options.items())
    return "(" + ", ".join(parts) + ")"


def _case(
    function: str, arrays: dict[str, np.ndarray], options: dict[str, Any], note: str = "", **kw: Any
) -> Case:
    shape = "x".join(map(str, next(iter(arrays.values())).shape))
    return Case(f"{function}[{shape}]{_label(options)}{note}", function, arrays, options, **kw)


def regression() -> list[Case]:
    """mse, l1, huber, smooth l1."""
    arrays = {"input": 2 * _draw(1, 4, 3), "target": _draw(2, 4, 3)}
    weight = np.abs(_draw(3, 4, 3)) + 0.1
    cases = []
    for reduction, w in product(REDUCTIONS, (None, weight)):
        common = _options(reduction=reduction, weight=w)
        cases += [_case("mse_loss", arrays, common), _case("l1_loss", arrays, common)]
        cases += [_case("huber_loss", arrays, {**common, "delta": delta}) for delta in (0.5, 1.0, 3.0)]
    for reduction, beta in product(REDUCTIONS, (0.0, 0.5, 1.0, 3.0)):
        cases.append(_case("smooth_l1_loss", arrays, {"reduction": reduction, "beta": beta}))
    return cases


def classification() -> list[Case]:
    """Cross-entropy and negative log-likelihood over the grid of their options."""
    classes, cases = 4, []
    weight = np.array([0.5, 1.0, 2.0, 0.25])
    targets = {(): np.array(2), (5,): np.array([0, 3, 1, 1, 2]), (2, 3): np.array([[0, 1, 3], [2, 1, 0]]),
               (2, 3, 2): np.random.RandomState(7).randint(0, classes, (2, 3, 2))}  # fmt: skip
    for (row_shape, target), w, ignore, reduction in product(
        targets.items(), (None, weight), (None, 1), REDUCTIONS
    ):
        shape = (*row_shape[:1], classes, *row_shape[1:])
        scores = _draw(11 + len(shape), *shape)
        options = _options(weight=w, ignore_index=ignore, reduction=reduction)
        arrays = {"input": scores, "target": target}
        cases.append(_case("nll_loss", arrays, options))
        for smoothing in (0.0, 0.1, 1.0):
            cases.append(_case("cross_entropy", arrays, {**options, "label_smoothing": smoothing}))
    for row_shape, w, smoothing, reduction in product(targets, (None, weight), (0.0, 0.2), REDUCTIONS):
        shape = (*row_shape[:1], classes, *row_shape[1:])
        share = np.abs(_draw(31 + len(shape), *shape))
        share /= share.sum(axis=1 if row_shape else 0, keepdims=True)
        options = _options(weight=w, label_smoothing=smoothing, reduction=reduction)
        arrays = {"input": _draw(21 + len(shape), *shape), "target": share}
        cases.append(_case("cross_entropy", arrays, options, " probabilities"))
    ignored = {"input": _draw(41, 3, classes), "target": np.array([-100, -100, -100])}
    far = {"input": np.array([[1e3, -1e3, 0.0, 5.0], [-1e3, 0.0, 1e3, 1e3]]), "target": np.array([0, 1])}
    for function, reduction in product(("cross_entropy", "nll_loss"), REDUCTIONS):
        cases.append(_case(function, ignored, {"reduction": reduction}, " all ignored"))
        cases.append(_case(function, far, {"reduction": reduction}, " far apart"))
    return cases


def probabilities() -> list[Case]:
    """Binary cross-entropy with and without logits, Kullback-Leibler divergence."""
    cases = []
    chance, target = np.random.RandomState(51).uniform(0.01, 0.99, (2, 5, 3))
    logits = 3 * _draw(52, 5, 3)
    weight, pos_weight = np.abs(_draw(53, 5, 3)), np.array([0.5, 1.0, 3.0])
    for w, reduction in product((None, weight), REDUCTIONS):
        options = _options(weight=w, reduction=reduction)
        cases.append(_case("binary_cross_entropy", {"input": chance, "target": target}, options))
        for p in (None, pos_weight):
            cases.append(
                _case("binary_cross_entropy_with_logits", {"input": logits, "target": target},
                      {**options, **_options(pos_weight=p)})
            )  # fmt: skip
    edges = {"input": np.array([0.0, 0.0, 1.0, 1.0, 1e-50]), "target": np.array([0.0, 1.0, 0.0, 1.0, 0.5])}
    cases.append(_case("binary_cross_entropy", edges, {"reduction": "none"}, " edges", gradients=False))
    far = {"input": np.array([-1e3, -50.0, 0.0, 50.0, 1e3]), "target": np.array([0.0, 1.0, 0.5, 0.25, 1.0])}
    cases.append(_case("binary_cross_entropy_with_logits", far, {"reduction": "none"}, " far apart"))
    logs = np.log(np.random.RandomState(54).dirichlet(np.ones(3), 5))
    share = np.random.RandomState(55).dirichlet(np.ones(3), 5)
    for reduction in (*REDUCTIONS, "batchmean"):
        options = {"reduction": reduction}
        cases.append(_case("kl_div", {"input": logs, "target": share}, options))
        cases.append(
            _case("kl_div", {"input": logs, "target": np.log(share)}, {**options, "log_target": True})
        )
    zeros = {"input": logs[:2], "target": np.eye(3)[:2]}
    cases.append(_case("kl_div", zeros, {"reduction": "sum"}, " zeros", gradients=False))
    return cases


def activations() -> list[Case]:
    """Every activation over negative, small, large and zero arguments."""
    x = np.concatenate([np.linspace(-6, 6, 25), [-100.0, -30.0, -1e-3, 1e-3, 19.0, 21.0, 30.0, 100.0]])
    grid: dict[str, list[dict[str, Any]]] = {
        "relu": [{}],
        "relu6": [{}],
        "leaky_relu": [{}, {"negative_slope": 0.3}],
        "elu": [{}, {"alpha": 0.5}],
        "selu": [{}],
        "silu": [{}],
        "gelu": [{}, {"approximate": "tanh"}],
        "tanh": [{}],
        "sigmoid": [{}],
        "logsigmoid": [{}],
        "softplus": [{}, {"beta": 2.0}, {"beta": 0.5, "threshold": 5.0}],
        "hardtanh": [{}, {"min_val": -2.5, "max_val": 0.25}],
        "softsign": [{}],
    }
    cases = [_case(function, {"input": x}, options) for function, many in grid.items() for options in many]
    y = 3 * _draw(61, 3, 4, 2)
    for function, dim in product(("softmax", "log_softmax"), (0, 1, -1)):
        cases.append(_case(function, {"input": y}, {"dim": dim}))
    return cases


def layers() -> list[Case]:
    """Linear, bilinear, normalize, cosine similarity."""
    cases = []
    weight, bias = _draw(71, 4, 3), _draw(72, 4)
    for shape in ((3,), (5, 3), (2, 5, 3)):
        x = _draw(73, *shape)
        cases.append(_case("linear", {"input": x, "weight": weight}, {}))
        cases.append(_case("linear", {"input": x, "weight": weight, "bias": bias}, {}, " bias"))
    cubes = _draw(74, 4, 3, 2)
    for shape in ((), (5,), (2, 5)):
        arrays = {"input1": _draw(75, *shape, 3), "input2": _draw(76, *shape, 2), "weight": cubes}
        cases.append(_case("bilinear", arrays, {}))
        cases.append(_case("bilinear", {**arrays, "bias": bias}, {}, " bias"))
    x, y = _draw(77, 3, 4, 2), _draw(78, 3, 4, 2)
    for p, dim in product((1.0, 2.0, 3.0, float("inf")), (0, 1, -1)):
        cases.append(_case("normalize", {"input": x}, {"p": p, "dim": dim}))
    for dim in (0, 1, -1):
        cases.append(_case("cosine_similarity", {"x1": x, "x2": y}, {"dim": dim}))
    return cases


CASES = [*regression(), *classification(), *probabilities(), *activations(), *layers()]
