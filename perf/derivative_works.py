"""The works of derivatives.py: derivatives of higher order, dense and sparse, and many models at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """What is to be computed.

    Attributes
    ----------
    name : str
    kind : str
        Which function of a library makes it ready.
    sizes : tuple of int
    small : tuple of int
        Sizes to try the script with.
    dtype : str
    """

    name: str
    kind: str
    sizes: tuple[int, ...]
    small: tuple[int, ...]
    dtype: str = "float64"

    def rng(self) -> np.random.Generator:
        """The same numbers for every library."""
        return np.random.default_rng(0)


WORKS = {work.name: work for work in (
    Work("Hessian, logistic regression 1,000 x 50", "logistic", (1000, 50), (50, 5)),
    Work("Hessian-vector product, MLP 64-128-64-10, 64, float32", "hvp", (64, 64, 128, 64, 10), (4, 6, 5, 4, 3),
         "float32"),
    Work("Jacobian, MLP 50-100-100-100, one point", "jacobian", (50, 100, 100, 100), (5, 6, 7, 8)),
    Work("sparse Hessian, Rosenbrock in 10,000", "rosenbrock", (10_000,), (50,)),
    Work("sparse Jacobian, reaction-diffusion 100 x 100", "reaction", (100,), (10,)),
    Work("PINN, Poisson 2-64-64-64-1, 1,024 points, Adam", "pinn", (1024, 2, 64, 64, 64, 1), (20, 2, 5, 5, 5, 1)),
    Work("ensemble of 32 MLPs 8-32-32-1, 32, SGD", "ensemble", (32, 32, 8, 32, 32, 1), (3, 4, 2, 5, 5, 1)),
)}


def adjusted(work: Work, quick: bool) -> Work:
    """Smaller, to try the script."""
    return replace(work, sizes=work.small) if quick else work


# ------------------------------------------------------------------ data


def weights(work: Work, widths: tuple[int, ...], copies: int = 0) -> dict[str, np.ndarray]:
    """Weights and biases of a perceptron, or of as many stacked."""
    rng, found = work.rng(), {}
    for k, (n, m) in enumerate(zip(widths, widths[1:])):
        lead = (copies,) if copies else ()
        found[f"w{k}"] = (rng.normal(size=(*lead, m, n)) / np.sqrt(n)).astype(work.dtype)
        found[f"b{k}"] = (0.1 * rng.normal(size=(*lead, m))).astype(work.dtype)
    return found


def logistic(work: Work) -> tuple[np.ndarray, ...]:
    """Rows, labels -1 and 1, weights."""
    rng, (n, m) = work.rng(), work.sizes
    return rng.normal(size=(n, m)), np.where(rng.uniform(size=n) < 0.5, -1.0, 1.0), 0.1 * rng.normal(size=m)


def batch(work: Work, rows: int, columns: int, *more: int) -> np.ndarray:
    """Rows of standard normal numbers."""
    return np.random.default_rng(1).normal(size=(*more, rows, columns)).astype(work.dtype)


def labels(work: Work, rows: int, classes: int) -> np.ndarray:
    return np.random.default_rng(2).integers(classes, size=rows)


def points(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Points within the unit square and on its border."""
    rng = np.random.default_rng(3)
    inner, along = rng.uniform(size=(work.sizes[0], 2)), rng.uniform(size=work.sizes[0] // 8)
    side = np.arange(len(along)) % 4
    border = np.stack([np.where(side == 0, 0.0, np.where(side == 1, 1.0, along)),
                       np.where(side == 2, 0.0, np.where(side == 3, 1.0, along))], axis=1)
    return inner.astype(work.dtype), border.astype(work.dtype)


def shown(value: Any) -> float:
    """A number that stands for a result, for the comparison of all libraries."""
    return float(np.abs(np.asarray(value)).sum())
