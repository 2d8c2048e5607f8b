"""Thirty-two networks trained at once, whose disagreement says how sure they are.

Each sees its own sample of the data, drawn with replacement (the bootstrap), and begins elsewhere; `vmap` makes one
loss of all of theirs, and one compiled step. After B. Lakshminarayanan, A. Pritzel, C. Blundell, Simple and scalable
predictive uncertainty estimation using deep ensembles, NeurIPS 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim

from .outcome import Outcome, titled

MEMBERS, SAMPLES, WIDTH = 32, 160, 32


def wave(x: np.ndarray) -> np.ndarray:
    """What the data are drawn from."""
    return np.sin(3.0 * x) + 0.3 * x


def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy values of `wave` with a gap in the middle, (SAMPLES, 1) each."""
    x = np.concatenate([rng.uniform(-2.0, -0.4, SAMPLES // 2), rng.uniform(0.7, 2.0, SAMPLES // 2)])[:, None]
    return x.astype(np.float32), (wave(x) + rng.normal(0.0, 0.1, x.shape)).astype(np.float32)


def members(rng: np.random.Generator) -> dict[str, nn.Parameter]:
    """Weights and biases of all networks 1-32-32-1, stacked along a first axis."""
    found = {}
    for k, (n, m) in enumerate(((1, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))):
        bound = 1.0 / np.sqrt(n)
        for name, shape in ((f"w{k}", (MEMBERS, m, n)), (f"b{k}", (MEMBERS, m))):
            found[name] = nn.Parameter(rng.uniform(-bound, bound, shape).astype(np.float32))
    return found


def predict(p: dict[str, Any], x: Any) -> Any:
    """One network."""
    x = tg.tanh(tg.linear(x, p["w0"], p["b0"]))
    x = tg.tanh(tg.linear(x, p["w1"], p["b1"]))
    return tg.linear(x, p["w2"], p["b2"])


def run(epochs: int = 60, seed: int = 0, progress: bool = False) -> Outcome:
    """Train all on bootstrap samples; test on new data, and draw the band that they span."""
    rng = np.random.default_rng(seed)
    x, y = data(rng)
    p = members(rng)
    chosen = rng.integers(SAMPLES, size=(20 * 32, MEMBERS)).astype(np.int64)  # 20 batches of 32, for each its own

    def one(p: Any, rows: Any) -> Any:
        return ((predict(p, tg.take(x, rows, axis=0)) - tg.take(y, rows, axis=0)) ** 2).mean()

    every = tg.vmap(one, in_axes=(0, 1))
    step = tg.TrainStep(lambda rows: every(p, rows).sum(), optim.Adam(list(p.values()), lr=5e-3))
    history = step.run(chosen, batch_size=32, epochs=epochs, seed=seed, progress=progress)

    grid = np.linspace(-3.0, 3.0, 241, dtype=np.float32)[:, None]
    together = tg.vmap(predict, in_axes=(0, None))

    def predictions(at: np.ndarray) -> np.ndarray:
        with tg.no_grad():
            return together({name: t.detach() for name, t in p.items()}, tg.tensor(at))[..., 0]

    band = np.asarray(predictions(grid))
    mean, spread = band.mean(axis=0), band.std(axis=0)
    seen = (np.abs(grid[:, 0] + 1.2) < 0.8) | (np.abs(grid[:, 0] - 1.35) < 0.65)
    error = float(np.sqrt(np.mean((mean - wave(grid)[:, 0])[seen] ** 2)))
    numbers = {"error": error, "spread_seen": float(spread[seen].mean()), "spread_unseen": float(spread[~seen].mean()),
               "loss": float(history.epoch_loss()[-1]) / MEMBERS, "steps": float(len(history)),
               "seconds": history.seconds}
    rows = [
        ("error of the mean where there are data (the noise is 0.1)", f"{error:.3f}"),
        ("spread of the networks where there are data", f"{numbers['spread_seen']:.3f}"),
        ("... and where there are none", f"{numbers['spread_unseen']:.3f}"),
        ("loss of a network, last epoch", f"{numbers['loss']:.4f}"),
        (f"steps of all {MEMBERS}", f"{len(history):,}"),
        ("training", f"{history.seconds:.1f} s"),
    ]

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        for k in (2.0, 1.0):
            ax.fill_between(grid[:, 0], mean - k * spread, mean + k * spread, color="tab:blue", alpha=0.18, linewidth=0,
                            label=f"{k:g} standard deviation{'s' if k > 1 else ''} of the networks")
        ax.plot(grid[:, 0], band.T, color="0.6", linewidth=0.3)
        ax.plot(grid[:, 0], mean, color="tab:blue", label=f"mean of {MEMBERS} networks")
        ax.plot(grid[:, 0], wave(grid)[:, 0], "--", color="0.2", linewidth=1.0, label="what the data are drawn from")
        ax.plot(x[:, 0], y[:, 0], ".", color="tab:red", markersize=4, label="data")
        ax.set(xlabel="x", ylabel="y", xlim=(-3.0, 3.0), ylim=(-3.0, 3.0), title="Sure where there are data")
        ax.legend(frameon=False, loc="upper left")

    return Outcome(titled(f"{MEMBERS} networks at once", epochs), rows, numbers, draw)
