#!/usr/bin/env bash
# numba 0.68.1: what a negative power gives in `@njit` depends on how the exponent is written, and not on what
# `error_model` promises for division.
# - `x ** -1` and `x ** n` (n an integer) raise ZeroDivisionError for x = 0.0 with error_model="numpy" too, where
#   `1.0 / x` is inf; `x ** -1.0`, and `numpy.power(x, -1)` in the same function, are inf. With error_model="python" it
#   is as odd: `1.0 / x` raises and `x ** -1.0` is inf, where Python raises for both.
# - Arrays follow: `array ** -1` raises for an array with a zero in it, `array ** -1.0` does not.
# - `2 ** -1` of integers is the integer 0: Python gives 0.5 and NumPy raises ValueError. It is 0 for arrays of integers
#   too, silently.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import sys

import numba
import numpy as np

model, failed = sys.argv[1], []
print("numba", numba.__version__, "numpy", np.__version__, "error_model", model)
np.seterr(all="ignore")
njit = numba.njit(error_model=model)

@njit
def over(x):
    return 1.0 / x

@njit
def whole(x):
    return x ** -1

@njit
def real(x):
    return x ** -1.0

@njit
def power(x, n):
    return x ** n

@njit
def function(x):
    return np.power(x, -1)

def look(what, call, expected):
    try:
        found = call()
        found = found.tolist() if isinstance(found, np.ndarray) else found
    except (ZeroDivisionError, ValueError) as error:
        found = type(error).__name__
    print(f"{what:48} {found!r}")
    if found != expected or type(found) is not type(expected):
        failed.append(f"{what}: {found!r}, was {expected!r}")

inf = float("inf")
zeros = np.array([0.0, 2.0])
look("1.0 / 0.0", lambda: over(0.0), inf if model == "numpy" else "ZeroDivisionError")
look("0.0 ** -1", lambda: whole(0.0), "ZeroDivisionError")
look("0.0 ** n, n = -1", lambda: power(0.0, -1), "ZeroDivisionError")
look("0.0 ** -1.0", lambda: real(0.0), inf)
look("  the same in Python", lambda: real.py_func(0.0), "ZeroDivisionError")
look("0.0 ** n, n = -1.0", lambda: power(0.0, -1.0), inf)
look("numpy.power(0.0, -1), compiled", lambda: function(0.0), inf)
look("array([0., 2.]) ** -1", lambda: whole(zeros), "ZeroDivisionError")
look("array([0., 2.]) ** n, n = -1", lambda: power(zeros, -1), "ZeroDivisionError")
look("array([0., 2.]) ** -1.0", lambda: real(zeros), [inf, 0.5])
look("  the same in NumPy with -1", lambda: zeros ** -1, [inf, 0.5])
look("2 ** -1", lambda: whole(2), 0)
look("2 ** n, n = -1", lambda: power(2, -1), 0)
look("array([1, 2, 3]) ** -1", lambda: whole(np.array([1, 2, 3])), [1, 0, 0])
look("  the same in Python", lambda: whole.py_func(2), 0.5)
look("  the same in NumPy", lambda: whole.py_func(np.array([1, 2, 3])), "ValueError")
raise SystemExit("\n".join(failed) or None)
P
for model in numpy python; do "$here/env/bin/python" "$here/show.py" "$model"; done
echo "numba behaves as is claimed above"
