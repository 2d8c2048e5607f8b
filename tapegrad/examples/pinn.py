"""A network that solves a differential equation: Poisson's, on the unit square.

No solution is shown to it. The loss is what the equation asks of the network's second derivatives within the square,
and of its values on the border, after M. Raissi, P. Perdikaris, G. E. Karniadakis, Physics-informed neural networks,
Journal of Computational Physics 378, 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim

from .outcome import Outcome

INNER, BORDER, STEPS = 1024, 256, 100


def source(x: Any) -> Any:
    """The right side of ``d2u/dx2 + d2u/dy2 = source``; the solution is ``sin(pi x) sin(pi y)``, 0 on the border."""
    return -2.0 * np.pi**2 * tg.sin(np.pi * x[:, 0]) * tg.sin(np.pi * x[:, 1])


def laplacian(u: Any, x: Any) -> Any:
    """``d2u/dx2 + d2u/dy2`` at each row of x: twice along each axis, in forward mode."""
    total: Any = 0.0
    for axis in np.eye(2):
        along = np.broadcast_to(axis, x.shape)
        first = lambda x, along=along: tg.jvp(u, (x,), (along,))[1]
        total = total + tg.jvp(first, (x,), (along,))[1]
    return total


def points(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """For each step points within the unit square and on its border: (steps, INNER, 2) and (steps, BORDER, 2)."""
    border = rng.uniform(size=(steps, BORDER, 2))
    side = np.arange(BORDER)
    border[:, side, side % 2] = side // 2 % 2
    return rng.uniform(size=(steps, INNER, 2)).astype(np.float32), border.astype(np.float32)


def run(epochs: int = 30, seed: int = 0, progress: bool = False) -> Outcome:
    """Train on other points at each of 100 steps an epoch; measure against the exact solution on a grid."""
    tg.manual_seed(seed)
    inner, border = points(np.random.default_rng(seed), STEPS)
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
                          nn.Linear(64, 1))
    u = lambda x: model(x)[:, 0]

    def loss(inner: Any, border: Any) -> Any:
        residual = laplacian(u, inner[0]) - source(inner[0])
        return (residual * residual).mean() + 300.0 * (u(border[0]) ** 2).mean()

    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS * epochs, interval="step")
    step = tg.TrainStep(loss, optimizer)
    history = step.run(inner, border, batch_size=1, epochs=epochs, seed=seed, progress=progress)

    axis = np.linspace(0.0, 1.0, 101, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    with tg.no_grad():
        found = u(tg.tensor(grid.reshape(-1, 2))).numpy().reshape(101, 101)
    exact = np.sin(np.pi * grid[..., 0]) * np.sin(np.pi * grid[..., 1])
    worst, relative = float(np.abs(found - exact).max()), float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    numbers = {"largest_error": worst, "relative_error": relative, "loss": float(history.epoch_loss()[-1]),
               "steps": float(len(history)), "seconds": history.seconds}
    rows = [
        ("largest error on 101 x 101 points (the solution goes to 1)", f"{worst:.2g}"),
        ("relative error, root mean square", f"{relative:.2g}"),
        ("loss, last epoch", f"{numbers['loss']:.2g}"),
        (f"steps of {INNER:,} points within and {BORDER} on the border", f"{len(history):,}"),
        ("memory of a step", f"{step.memory().peak_bytes / 1e6:.1f} MB"),
        ("training", f"{history.seconds:.1f} s"),
    ]

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.1])
        shown = [(found, "network", "viridis", None), (exact, "exact: sin(pi x) sin(pi y)", "viridis", None),
                 (found - exact, f"difference, at most {worst:.1g}", "RdBu_r", worst)]
        for ax, (values, title, colours, most) in zip(panels, shown):
            image = ax.imshow(values.T, origin="lower", extent=(0, 1, 0, 1), cmap=colours,
                              vmin=None if most is None else -most, vmax=most)
            figure.colorbar(image, ax=ax, shrink=0.55)
            ax.set(title=title, xlabel="x", ylabel="y")
        panels[3].plot(np.arange(len(history)) / STEPS, history.loss, color="tab:blue", linewidth=0.6)
        panels[3].set(xlabel="epoch of 100 steps", ylabel="loss", yscale="log", title="Residual and border")

    return Outcome(f"Poisson's equation after {len(history):,} steps", rows, numbers, draw, inches=(15.0, 4.2))
