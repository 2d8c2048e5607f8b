"""How nervous the price of oil is, day by day: GARCH(1,1), whose likelihood is a loop that is differentiated.

Each day's variance follows from the day before, s_t = omega + alpha e_{t-1}^2 + beta s_{t-1}; the parameters are those
under which the returns are most likely, found by L-BFGS with the gradient that `tg.njit` derives from the loop, and
their standard errors come from its Hessian. After T. Bollerslev, Generalized autoregressive conditional
heteroskedasticity, Journal of Econometrics 31, 1986.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from scipy.optimize import minimize

import tapegrad as tg
from tapegrad.datasets import load_oil

from .outcome import Outcome

NAMES = ("mu", "omega", "alpha", "beta")
START = np.array([0.0, 0.1, 0.1, 0.8])
BOUNDS = ((None, None), (1e-6, None), (0.0, 1.0), (0.0, 1.0))
TRADING_DAYS = 252  # a year


@tg.njit
def loss(p, y, first):  # type: ignore[no-untyped-def]  # plain Python, as for numba
    """Negative log-likelihood of returns y, a day; `first` is the variance of the first."""
    s, total = first, 0.0
    for t in range(len(y)):
        e = y[t] - p[0]
        total += math.log(2.0 * math.pi * s) + e * e / s
        s = p[1] + p[2] * e * e + p[3] * s
    return 0.5 * total / len(y)


@tg.njit
def variances(p, y, first):  # type: ignore[no-untyped-def]
    """The variance of each day, given those before it."""
    found = np.empty(len(y))
    s = first
    for t in range(len(y)):
        found[t] = s
        e = y[t] - p[0]
        s = p[1] + p[2] * e * e + p[3] * s
    return found


def run(epochs: int = 100, seed: int = 0, progress: bool = False) -> Outcome:
    """Fit to daily returns of crude oil by at most `epochs` iterations of L-BFGS; draw the fitted volatility."""
    days, price = load_oil()
    days, y = days[1:], 100.0 * np.diff(np.log(price))  # per cent
    first = float(y.var())
    start = START * np.random.default_rng(seed).uniform(0.9, 1.1, START.shape)
    began = time.perf_counter()
    gradient = tg.value_and_grad(loss)
    fit = minimize(gradient, start, args=(y, first), jac=True, method="L-BFGS-B", bounds=BOUNDS,
                   options={"maxiter": epochs, "ftol": 1e-12, "gtol": 1e-7})
    seconds = time.perf_counter() - began
    p = fit.x
    _, slope = gradient(p, y, first)
    errors = np.sqrt(np.diag(np.linalg.pinv(len(y) * np.asarray(tg.hessian(loss)(p, y, first)))))
    constant = 0.5 * (math.log(2.0 * math.pi * first) + 1.0)  # the loss of one variance for all days
    deviation = np.sqrt(variances(p, y, first))
    a_year = deviation * math.sqrt(TRADING_DAYS)
    persistence = float(p[2] + p[3])
    beyond = float(np.mean(np.abs(y - p[0]) > 1.96 * deviation))
    numbers = {**dict(zip(NAMES, map(float, p))),
               **{f"error_{name}": float(error) for name, error in zip(NAMES, errors)}, "loss": float(fit.fun),
               "loss_constant": constant, "persistence": persistence, "beyond": beyond,
               "slope": float(np.abs(slope).max()), "iterations": float(fit.nit), "calls": float(fit.nfev),
               "seconds": seconds}
    rows = [(f"{name} and its standard error", f"{value:.4f} ± {error:.4f}")
            for name, value, error in zip(NAMES, p, errors)]
    rows += [
        ("alpha + beta", f"{persistence:.4f}"),
        ("log-likelihood gained over one volatility for all days", f"{len(y) * (constant - fit.fun):,.0f}"),
        ("days beyond 1.96 standard deviations (5% if returns were normal)", f"{100.0 * beyond:.1f}%"),
        ("quietest and wildest day, per cent a year", f"{a_year.min():.0f} and {a_year.max():.0f}"),
        ("values and gradients", f"{fit.nfev}"),
        ("fit", f"{seconds:.2f} s"),
    ]

    def draw(figure: Any) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True)
        top.plot(days, y, color="0.35", linewidth=0.5, label="daily returns of crude oil")
        top.fill_between(days, p[0] - 1.96 * deviation, p[0] + 1.96 * deviation, color="tab:blue", alpha=0.25,
                         linewidth=0, label="95% of returns, by GARCH(1,1) from the days before")
        top.set(ylabel="per cent", ylim=(-1.05 * np.abs(y).max(), 1.35 * np.abs(y).max()), xlim=(days[0], days[-1]))
        top.legend(frameon=False, loc="upper right", ncols=2)
        bottom.plot(days, a_year, color="tab:blue", linewidth=1.0, label="fitted volatility")
        bottom.axhline(math.sqrt(TRADING_DAYS * first), color="0.4", linestyle="--", linewidth=1.0,
                       label="one volatility for all days")
        bottom.set(ylabel="volatility, per cent a year", ylim=(0.0, None))
        bottom.legend(frameon=False, loc="upper right")

    return Outcome(f"GARCH(1,1) of {len(y):,} days after {fit.nit} iteration{'' if fit.nit == 1 else 's'}", rows,
                   numbers, draw)
