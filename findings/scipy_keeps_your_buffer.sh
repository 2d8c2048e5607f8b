#!/usr/bin/env bash
# scipy 1.17.1: a gradient that is computed into one array again and again (numpy's out=, a preallocated buffer, a
# compiled kernel's output) is a usual way to spare allocations. SciPy keeps the array that it is given instead of a
# copy, so that "the gradient before" turns into "the gradient now", in some methods and not in others, unsaid:
# - minimize: Newton-CG stops at its start and reports success; CG, BFGS, trust-constr and trust-krylov crawl or fail;
#   L-BFGS-B, TNC, SLSQP are right, and trust-ncg, trust-exact, dogleg with jac=, while with jac=True the last one fails.
# - least_squares with differences, and root(method="lm"), whose residuals come in one array: the start is the answer,
#   and success is True, for each sees no change. A Jacobian in one array does no harm, root(method="hybr") neither.
# - approx_fprime: zeros.
# - solve_ivp: Radau needs 200 times the calls, and BDF answers with an error of 0.1 at rtol=1e-8, success=True; RK45 and
#   DOP853 lose digits or time, RK23 and LSODA are right.
# `return buffer.copy()` is the remedy.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import warnings

import numpy as np
import scipy
from scipy.integrate import solve_ivp
from scipy.optimize import approx_fprime, least_squares, minimize, rosen, rosen_der, rosen_hess, root

print("scipy", scipy.__version__, "numpy", np.__version__)
warnings.simplefilter("ignore")  # that a step makes no progress
failed = []

def look(what, found, expected, note=""):
    print(f"{what:46} {found:34} {note}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

def fresh(function):
    return function

def reused(function):
    """The same function, with its results always in one array."""
    buffer = []

    def computed(*arguments):
        result = function(*arguments)
        if not buffer:
            buffer.append(np.empty_like(result))
        buffer[0][...] = result
        return buffer[0]

    return computed

def outcome(result, solution):
    found = np.abs(result.x - solution).max() < 1e-3
    where = "solution" if found else "start" if result.x.tolist() == start else "elsewhere"
    return f"{where}, {'success' if result.success else 'failure'}"

start, good = [-1.2, 1.0], "solution, success"
wrong = {"CG": "elsewhere, failure", "BFGS": "elsewhere, failure", "trust-constr": "elsewhere, failure",
         "Newton-CG": "start, success", "trust-krylov": "elsewhere, failure"}
for method in (*wrong, "L-BFGS-B", "TNC", "SLSQP", "trust-ncg", "trust-exact", "dogleg"):
    hessian = {"hess": rosen_hess} if method in ("trust-krylov", "trust-ncg", "trust-exact", "dogleg") else {}
    for kind in fresh, reused:
        slope = kind(rosen_der)
        for joint in False, True:
            function, jac = ((lambda x: (rosen(x), slope(x))), True) if joint else (rosen, slope)
            result = minimize(function, start, jac=jac, method=method, **hessian)
            expected = good if kind is fresh else wrong.get(method, good)
            if kind is reused and method == "dogleg" and joint:
                expected = "elsewhere, failure"
            what = f"{method}, {kind.__name__}" + (", value and slope together" if joint else "")
            look(what, outcome(result, 1.0), expected, f"x {result.x}")

start = [1.0, 3.0]

def residuals(x):
    return x * x - 2.0

def jacobian(x):
    return np.diag(2.0 * x)

for kind in fresh, reused:
    stays = good if kind is fresh else "start, success"
    for method in "trf", "dogbox", "lm":
        without = least_squares(kind(residuals), start, method=method)
        look(f"least_squares {method}, {kind.__name__}", outcome(without, np.sqrt(2.0)), stays)
        both = least_squares(kind(residuals), start, jac=kind(jacobian), method=method)
        look(f"least_squares {method}, {kind.__name__}, with jac", outcome(both, np.sqrt(2.0)), good)
    look(f"root lm, {kind.__name__}", outcome(root(kind(residuals), start, method="lm"), np.sqrt(2.0)), stays)
    look(f"root hybr, {kind.__name__}", outcome(root(kind(residuals), start, method="hybr"), np.sqrt(2.0)), good)
    slopes = approx_fprime(np.array([1.0, 2.0]), kind(lambda x: x * x)).round(4) + 0.0
    expected = [[2.0, 0.0], [0.0, 4.0]] if kind is fresh else [[0.0, 0.0], [0.0, 0.0]]
    look(f"approx_fprime of x * x at (1, 2), {kind.__name__}", str(slopes.tolist()), str(expected))

def rotation(t, y):
    return np.array([y[1], -y[0]])

for method in "RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA":
    calls = {}
    for kind in fresh, reused:
        result = solve_ivp(kind(rotation), (0.0, 3.0), [1.0, 0.0], method=method, rtol=1e-8, atol=1e-10)
        error, calls[kind] = abs(result.y[0, -1] - np.cos(3.0)), result.nfev
        found = ("error above 0.01" if error > 1e-2 else "near") + (", success" if result.success else ", failure")
        expected = "error above 0.01, success" if (method, kind) == ("BDF", reused) else "near, success"
        look(f"solve_ivp {method}, {kind.__name__}", found, expected, f"error {error:.1e}, {result.nfev} calls")
    if method == "Radau" and calls[reused] < 20 * calls[fresh]:
        failed.append(f"Radau takes only {calls[reused]} calls")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "scipy behaves as is claimed above"
