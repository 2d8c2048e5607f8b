#!/usr/bin/env bash
# jax 0.10.2: where the value of a function in `jax.scipy.special` is right, one would take its slope for right too, or
# for NaN at worst. Three smooth functions give wrong slopes at ordinary points, the same in float32 and float64, in
# both directions and under jit:
# - `i0` at 0 has the slope 1 (it is even, so 0), and 1.5 for its second derivative (0.5). A start at zero is enough to
#   meet it. `i0(x)` a hair beside 0, and `i0e` and `i1` at 0, are right.
# - `spence` has the slope 0 at 1 (it is -1) and NaN from there up to 2 and in it; above 2, and below 1, it is right.
# - `digamma`, and by it the second derivative of `gammaln`, is off from -8 downwards: for -9.5 it gives -2.9e12 for
#   9.77, for -20.5 a negative number for one that is positive everywhere. `polygamma(1, x)` gives the same. Above -8
#   it is right to 7 digits.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1 mpmath==1.4.1
cat > "$here/show.py" <<'P'
import jax
import mpmath
import numpy as np
from jax.scipy.special import digamma, gammaln, i0, i0e, i1, polygamma, spence

print("jax", jax.__version__)
failed = []

def slope(function):
    return jax.grad(function)

def forward(function):
    return lambda x: jax.jvp(function, (x,), (np.ones_like(x),))[1]

def curvature(function):
    return jax.grad(jax.grad(function))

def look(what, found, true, wrong=None):
    """`wrong` is what is claimed above, None where it is claimed to be right."""
    found, true = float(found), float(true)
    print(f"{what:44} {found:<24.9g} true {true:.9g}")
    expected, digits = (true, 2e-4) if wrong is None else (wrong, 1e-2)
    if not np.isclose(found, expected, rtol=digits, atol=1e-6, equal_nan=True):
        failed.append(f"{what}: {found!r}, was {expected!r}")

trigamma = {x: mpmath.psi(1, x) for x in (-2.3, -7.3, -8.5, -9.5, -20.5)}
for wide in False, True:
    jax.config.update("jax_enable_x64", wide)
    real = np.float64 if wide else np.float32
    print(real.__name__)
    zero = real(0.0)
    look("i0(0)", i0(zero), 1.0)
    look("slope of i0 at 0", slope(i0)(zero), 0.0, 1.0)
    look("slope of i0 at 0, forward", forward(i0)(zero), 0.0, 1.0)
    look("slope of i0 at 0, compiled", jax.jit(slope(i0))(zero), 0.0, 1.0)
    look("slope of i0 at 1e-3", slope(i0)(real(1e-3)), mpmath.besseli(1, 1e-3))
    look("curvature of i0 at 0", curvature(i0)(zero), 0.5, 1.5)
    look("slope of i0e at 0", slope(i0e)(zero), 0.0)
    look("slope of i1 at 0", slope(i1)(zero), 0.5)
    for x, wrong in (0.5, None), (1.0, 0.0), (1.5, np.nan), (2.0, np.nan), (3.0, None):
        true = mpmath.log(x) / (1 - x) if x != 1.0 else -1.0
        look(f"spence({x})", spence(real(x)), mpmath.polylog(2, 1 - x).real)
        look(f"slope of spence at {x}", slope(spence)(real(x)), true, wrong)
    for x, wrong in (-2.3, None), (-7.3, None), (-8.5, 6.795), (-9.5, -2.854e12), (-20.5, -0.04761):
        look(f"digamma({x})", digamma(real(x)), mpmath.digamma(x))
        look(f"slope of digamma at {x}", slope(digamma)(real(x)), trigamma[x], wrong)
        look(f"curvature of gammaln at {x}", curvature(gammaln)(real(x)), trigamma[x], wrong)
        look(f"polygamma(1, {x})", polygamma(1, real(x)), trigamma[x], wrong)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "jax behaves as is claimed above"
