"""The incomplete gamma and beta functions, differentiable by the bound of the integral."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, wide
from ..engine.mathematics.incomplete import beta_slope, gamma_slope, incomplete_beta, incomplete_gamma
from ..engine.row import Input, Output, Row, contiguous, fixed
from .reduction import accumulate
from .table import Op


class Gamma(Row):
    y: Output
    a: Input = contiguous | fixed
    x: Input = contiguous
    elements: int
    upper: float  # 1 for the complement


def gamma_forward(op: Gamma, f: Any, i: Any, b: Any) -> int:
    """y = P(a, x), or 1 - P(a, x)."""
    for k in range(op.elements):
        f[op.y + k] = cast(incomplete_gamma(wide(f[op.a + k]), wide(f[op.x + k]), wide(cast(op.upper, f))), f)
    return 0


def gamma_adjoint(op: Gamma, f: Any, i: Any, b: Any) -> int:
    """dx += g x^(a - 1) e^-x / gamma(a), with the other sign for the complement."""
    sign = 1.0 - 2.0 * wide(cast(op.upper, f))
    for k in range(op.elements):
        slope = sign * gamma_slope(wide(f[op.a + k]), wide(f[op.x + k]))
        accumulate(f, op.d.x + k, cast(wide(f[op.g + k]) * slope, f), op.stores.x)
    return 0


def gamma_to_x(r: Any, g: Any, t: Any) -> Any:
    return g * (1.0 - 2.0 * r.upper) * t.exp(t.xlogy(r.a - 1.0, r.x) - r.x - t.lgamma(r.a))


GAMMA = Op("incomplete_gamma", gamma_forward, gamma_adjoint, row=Gamma, saves={"x": "a x"}, stores=True,
           doc="regularised incomplete gamma function", batching="rows", composition={"x": gamma_to_x})


class Beta(Row):
    y: Output
    a: Input = contiguous | fixed
    b: Input = contiguous | fixed
    x: Input = contiguous
    elements: int


def beta_forward(op: Beta, f: Any, i: Any, b: Any) -> int:
    """y = I_x(a, b)."""
    for k in range(op.elements):
        f[op.y + k] = cast(incomplete_beta(wide(f[op.a + k]), wide(f[op.b + k]), wide(f[op.x + k])), f)
    return 0


def beta_adjoint(op: Beta, f: Any, i: Any, b: Any) -> int:
    """dx += g x^(a - 1) (1 - x)^(b - 1) / B(a, b)."""
    for k in range(op.elements):
        slope = beta_slope(wide(f[op.a + k]), wide(f[op.b + k]), wide(f[op.x + k]))
        accumulate(f, op.d.x + k, cast(wide(f[op.g + k]) * slope, f), op.stores.x)
    return 0


def beta_to_x(r: Any, g: Any, t: Any) -> Any:
    return g * t.exp(t.xlogy(r.a - 1.0, r.x) + t.xlog1py(r.b - 1.0, -r.x) - t.betaln(r.a, r.b))


BETA = Op("incomplete_beta", beta_forward, beta_adjoint, row=Beta, saves={"x": "a b x"}, stores=True,
          doc="regularised incomplete beta function", batching="rows", composition={"x": beta_to_x})
