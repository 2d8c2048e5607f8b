"""Benchmark workloads, equal for every library: networks, a chain of elementwise functions, a graph of scalars.

This module imports NumPy only, and nothing of the package, so that an interpreter with another library can load it by
its path; and NumPy only when data are made, so that its number of threads can be set before. Models are written once,
over the names that tapegrad shares with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NETWORKS", "WORKS", "Chain", "Network", "Scalars", "adjusted"]


# ------------------------------------------------------------------ networks


@dataclass(frozen=True)
class Network:
    """A model and its training; float32.

    Attributes
    ----------
    name : str
    family : {"multilayer", "lenet", "transformer"}
    widths : tuple of int
        Of a multilayer perceptron, inputs first.
    activation : {"tanh", "relu"}
    batch : int
    batches : int
        Number of batches in the data.
    optimizer : {"SGD", "Adam", "AdamW"}
    lr : float
    """

    name: str
    family: str
    batch: int
    batches: int
    optimizer: str
    lr: float
    widths: tuple[int, ...] = ()
    activation: str = ""

    @property
    def classes(self) -> bool:
        """Whether the loss is cross-entropy; else the mean squared error."""
        return self.family != "multilayer" or self.widths[-1] > 1

    def parameters(self) -> dict[str, np.ndarray]:
        """Values by PyTorch's names, in PyTorch's layout; the same at every call."""
        import numpy as np

        rng = np.random.default_rng(1)
        found = {}
        for name, shape in _SHAPES[self.family](self):
            if "norm" in name:
                found[name] = np.full(shape, float(name.endswith("weight")), np.float32)
                continue
            bound = int(np.prod(shape[1:]) if len(shape) > 1 else shape[0]) ** -0.5
            found[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
        return found

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of all batches; the same at every call."""
        import numpy as np

        rng = np.random.default_rng(2)
        rows = self.batch * self.batches
        if self.family == "transformer":
            text = rng.integers(0, VOCABULARY, (rows, CONTEXT + 1))
            return text[:, :-1].copy(), text[:, 1:].copy()
        shape = (1, 28, 28) if self.family == "lenet" else self.widths[:1]
        X = rng.standard_normal((rows, *shape)).astype(np.float32)
        if self.classes:
            return X, rng.integers(0, 10, rows)
        return X, rng.standard_normal((rows, 1)).astype(np.float32)

    def build(self, nn: Any, positions: Any = None, mask: Any = None) -> Any:
        """The model, from the modules of `nn`; a transformer with its positions, and its mask if it needs one."""
        if self.family == "multilayer":
            layers: list[Any] = []
            for fan_in, fan_out in zip(self.widths, self.widths[1:]):
                layers += [nn.Linear(fan_in, fan_out), nn.Tanh() if self.activation == "tanh" else nn.ReLU()]
            return nn.Sequential(*layers[:-1])
        if self.family == "lenet":
            return nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                nn.Linear(84, 10))
        return _transformer(nn, positions, mask)

    def loss(self, F: Any, model: Any, x: Any, y: Any) -> Any:
        """The loss of a batch, with the functions of `F`."""
        if self.family == "transformer":
            return F.cross_entropy(model(x).reshape(-1, VOCABULARY), y.reshape(-1))
        return F.cross_entropy(model(x), y) if self.classes else F.mse_loss(model(x), y)


VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 65, 64, 64, 4, 2


def _transformer(nn: Any, positions: Any, mask: Any) -> Any:
    class CharTransformer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.characters = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.Embedding(CONTEXT, WIDTH)
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, dim_feedforward=4 * WIDTH, dropout=0.0,
                                               activation="gelu", batch_first=True, norm_first=True)
            options = {} if mask is None else {"enable_nested_tensor": False}
            self.layers = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), **options)
            self.scores = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, text: Any) -> Any:
            x = self.characters(text) + self.positions(positions)
            options = {} if mask is None else {"mask": mask}
            return self.scores(self.layers(x, is_causal=True, **options))

    return CharTransformer()


def _multilayer_shapes(network: Network) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []
    for k, (fan_in, fan_out) in enumerate(zip(network.widths, network.widths[1:])):
        found += [(f"{2 * k}.weight", (fan_out, fan_in)), (f"{2 * k}.bias", (fan_out,))]
    return found


def _lenet_shapes(network: Network) -> list[tuple[str, tuple[int, ...]]]:
    weights = {0: (6, 1, 5, 5), 3: (16, 6, 5, 5), 7: (120, 400), 9: (84, 120), 11: (10, 84)}
    return [(f"{k}.{kind}", shape if kind == "weight" else shape[:1])
            for k, shape in weights.items() for kind in ("weight", "bias")]


def _transformer_shapes(network: Network) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = [("characters.weight", (VOCABULARY, WIDTH)),
                                                ("positions.weight", (CONTEXT, WIDTH))]
    for k in range(LAYERS):
        for name, rows, columns in (("self_attn.in_proj_", 3 * WIDTH, WIDTH), ("self_attn.out_proj.", WIDTH, WIDTH),
                                    ("linear1.", 4 * WIDTH, WIDTH), ("linear2.", WIDTH, 4 * WIDTH)):
            at = f"layers.layers.{k}.{name}"
            found += [(f"{at}weight", (rows, columns)), (f"{at}bias", (rows,))]
        found += [(f"layers.layers.{k}.norm{n}.{kind}", (WIDTH,)) for n in (1, 2) for kind in ("weight", "bias")]
    return [*found, ("layers.norm.weight", (WIDTH,)), ("layers.norm.bias", (WIDTH,)),
            ("scores.weight", (VOCABULARY, WIDTH)), ("scores.bias", (VOCABULARY,))]


_SHAPES: dict[str, Callable[[Network], list[tuple[str, tuple[int, ...]]]]] = {
    "multilayer": _multilayer_shapes, "lenet": _lenet_shapes, "transformer": _transformer_shapes,
}

NETWORKS = {n.name: n for n in (
    Network("8-32-32-1 tanh, 32, SGD", "multilayer", 32, 256, "SGD", 1e-2, (8, 32, 32, 1), "tanh"),
    Network("64-128-64-10 relu, 64, Adam", "multilayer", 64, 64, "Adam", 1e-3, (64, 128, 64, 10), "relu"),
    Network("784-512-256-10 relu, 128, Adam", "multilayer", 128, 16, "Adam", 1e-3, (784, 512, 256, 10), "relu"),
    Network("1024-1024-1024-10 relu, 256, SGD", "multilayer", 256, 8, "SGD", 1e-2, (1024, 1024, 1024, 10), "relu"),
    Network("64-[64]x30-10 tanh, 64, SGD", "multilayer", 64, 32, "SGD", 1e-2, (64, *[64] * 30, 10), "tanh"),
    Network("LeNet, 64, SGD", "lenet", 64, 8, "SGD", 1e-2),
    Network("character transformer, 16 x 64, AdamW", "transformer", 16, 8, "AdamW", 1e-3),
)}


# ------------------------------------------------------------------ a chain of elementwise functions


@dataclass(frozen=True)
class Chain:
    """The Black-Scholes price of a call, with the logistic function instead of the normal distribution's.

    Value and gradient with respect to spot and volatility, summed over all options; float32.
    """

    name: str
    options: int

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Spots, volatilities, strikes and years to expiry."""
        import numpy as np

        rng = np.random.default_rng(3)
        return tuple(rng.uniform(low, high, self.options).astype(np.float32)  # type: ignore[return-value]
                     for low, high in ((80, 120), (0.1, 0.5), (80, 120), (0.2, 2.0)))

    @staticmethod
    def value(library: Any, sigmoid: Callable, spot: Any, volatility: Any, strike: Any, years: Any) -> Any:
        """The mean price at an interest of 2 per cent; N(d) is taken as sigmoid(1.702 d)."""
        spread = volatility * library.sqrt(years)
        above = (library.log(spot / strike) + (0.02 + 0.5 * volatility * volatility) * years) / spread
        price = spot * sigmoid(1.702 * above) - strike * library.exp(-0.02 * years) * sigmoid(1.702 * (above - spread))
        return price.mean()


# ------------------------------------------------------------------ a graph of scalars


KINDS = ("softplus", "sum", "product", "softmax")
COUNTS = (1, 4, 2, 4)  # of operands


@dataclass(frozen=True)
class Scalars:
    """A random graph of scalar ops, with value and gradient with respect to its inputs.

    Softplus of one earlier value, mean of four, product of two, softmax of four (which gives four values), in equal
    shares, from the most recent values; the result is the mean of the last values.
    """

    name: str
    ops: int
    dtype: str
    inputs: int = 16
    window: int = 64

    def plan(self) -> list[tuple[int, list[int]]]:
        """Kind and operands of each op; values are numbered in order, inputs first."""
        return _drawn(self.ops, self.inputs, self.window)

    def data(self) -> np.ndarray:
        """The inputs."""
        import numpy as np

        return np.random.default_rng(1).standard_normal(self.inputs).astype(self.dtype)

    def value(self, x: Sequence[Any], softplus: Callable[[Any], Any], softmax: Callable[[list[Any]], Sequence[Any]],
              mean: Callable[[list[Any]], Any]) -> Any:
        """The graph over single values."""
        values = list(x)
        for kind, places in self.plan():
            given = [values[k] for k in places]
            if kind == 0:
                values.append(softplus(given[0]))
            elif kind == 1:
                values.append(0.25 * (given[0] + given[1] + given[2] + given[3]))
            elif kind == 2:
                values.append(given[0] * given[1])
            else:
                values.extend(softmax(given))
        return mean(values[-self.window:])

    def function(self, tg: Any) -> Callable[[Any], Any]:
        """The graph as a function of one array, with the functions of tapegrad."""

        def softmax(four: list[Any]) -> list[Any]:
            shares = tg.softmax(tg.stack(four), axis=0)
            return [shares[k] for k in range(4)]

        return lambda x: self.value([x[k] for k in range(self.inputs)], tg.softplus, softmax,
                                    lambda last: tg.stack(last).mean())


@cache  # drawing it would take a good part of an op-by-op run
def _drawn(ops: int, inputs: int, window: int) -> list[tuple[int, list[int]]]:
    import numpy as np

    rng = np.random.default_rng(0)
    made, result = inputs, []
    for kind in rng.integers(0, len(KINDS), ops).tolist():
        back = rng.integers(0, min(made, window), COUNTS[kind]).tolist()
        result.append((kind, [made - 1 - k for k in back]))
        made += 4 if KINDS[kind] == "softmax" else 1
    return result


WORKS: dict[str, Network | Chain | Scalars] = {
    **NETWORKS,
    **{w.name: w for w in (
        Chain("Black-Scholes, 1e6 options", 1_000_000),
        Scalars("10,000 scalar ops, float32", 10_000, "float32"),
        Scalars("10,000 scalar ops, float64", 10_000, "float64"),
    )},
}


def adjusted(work: Network | Chain | Scalars, quick: bool) -> Network | Chain | Scalars:
    """The same workload, or if `quick` a smaller one of the same shape."""
    if not quick or isinstance(work, Network):
        return work
    return replace(work, options=10_000) if isinstance(work, Chain) else replace(work, ops=300)
