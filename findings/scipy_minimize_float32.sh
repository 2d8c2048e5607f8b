#!/usr/bin/env bash
# scipy 1.17.1: one would think that `minimize` turns a float32 start or a float32 gradient into float64, or loses some
# digits by it. It depends on the method:
# - CG, BFGS, L-BFGS-B and trust-constr find the minimum.
# - Newton-CG, where neither `hess` nor `hessp` is given, stops where it started, or on the way, and reports success: it
#   differences gradients over a step of 1.5e-8, which is below float32's spacing, sees no curvature, and takes a step
#   of nothing for convergence. Either of the two in float32 is enough. `hess`, `hessp` or options={"eps": 1e-3} help.
# - TNC raises for a float32 start, and takes float32 gradients. SLSQP raises for either.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import warnings

import numpy as np
import scipy
from scipy.optimize import minimize

print("scipy", scipy.__version__, "numpy", np.__version__)
warnings.simplefilter("ignore", RuntimeWarning)  # casts to float32 that overflow, in CG's line search
failed = []
scales = np.array([1.0, 10.0])

def value(x):
    """A convex quadratic function; its minimum is at (3, 3)."""
    return float(np.sum(scales * (np.asarray(x, np.float64) - 3.0) ** 2))

def slope(x):
    return 2.0 * scales * (np.asarray(x, np.float64) - 3.0)

def slope32(x):
    return slope(x).astype(np.float32)

def outcome(start, jac, method, **keywords):
    try:
        result = minimize(value, np.zeros(2, start), jac=jac, method=method, **keywords)
    except Exception as error:
        return "raises", f"{type(error).__name__}: {error}"
    there = np.abs(result.x - 3.0).max() < 1e-3
    says = "reports success" if result.success else "reports failure"
    return ("minimum" if there else "elsewhere") + ", " + says, f"x {result.x}, gradient there {slope(result.x)}"

def look(what, found, expected):
    print(f"{what:52} {found[0]:28} {found[1]}")
    if found[0] != expected:
        failed.append(f"{what}: {found[0]}, was {expected}")

good, lost, raises = "minimum, reports success", "elsewhere, reports success", "raises"
for method in "CG", "BFGS", "L-BFGS-B", "trust-constr", "Newton-CG", "TNC", "SLSQP":
    for start in np.float64, np.float32:
        for jac, type_ in (slope, "float64"), (slope32, "float32"):
            if method == "Newton-CG" and start is np.float64 and jac is slope32:
                continue  # below, where it does not depend on rounding
            expected = good
            if method == "Newton-CG" and start is np.float32:
                expected = lost
            if (method, start) == ("TNC", np.float32) or (method == "SLSQP" and (start is np.float32 or type_ == "float32")):
                expected = raises
            look(f"{method}, start {start.__name__}, gradients {type_}", outcome(start, jac, method), expected)

look("Newton-CG in float32 with hess", outcome(np.float32, slope32, "Newton-CG", hess=lambda x: np.diag(2.0 * scales)), good)
look("Newton-CG in float32 with hessp", outcome(np.float32, slope32, "Newton-CG", hessp=lambda x, p: 2.0 * scales * p), good)
look("Newton-CG in float32 with eps of 1e-3", outcome(np.float32, slope32, "Newton-CG", options={"eps": 1e-3}), good)

# the same with one scale: not a step is taken
scales = np.ones(2)
for start in np.float32, np.float64:
    result = minimize(value, np.zeros(2, start), jac=slope32, method="Newton-CG")
    what = f"Newton-CG, one scale, start {start.__name__}, gradients float32"
    print(what, "x", result.x, "gradient", result.jac, "success", result.success, result.message)
    if not (result.success and result.x.tolist() == [0.0, 0.0] and result.jac.tolist() == [-6.0, -6.0]):
        failed.append(f"{what} no longer succeeds at its start")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "scipy behaves as is claimed above"
