#!/usr/bin/env bash
# autograd 1.9.1: what it cannot differentiate it usually says ("Gradient of ... not implemented"). Some calls give a
# gradient all the same, and it is wrong:
# - `full(shape, x)` with an array of fill values: the gradient is one number, the sum of what it should be, where x has
#   three; the caller's update `x - rate * g` broadcasts it.
# - `full_like(y, x)`: zero, as if x were a constant, with the warning that the output seems independent of the input
#   where nothing else depends on x, and without one elsewhere. (`full` of a single number is right.)
# - `x.astype(int)`: the slope is 1 through the cut-off of the decimals; `trunc`, `floor` and `round` have 0.
# - `linalg.norm(x, inf)`: 0 or NaN for each element, for a vector and along an axis, at points where nothing ties. The
#   slope is the sign of the largest element. Orders 1, -inf and 0.5 raise; 2, 3 and 4 are right.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check autograd==1.9.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import warnings
from importlib.metadata import version

import autograd.numpy as np
import numpy as onp
from autograd import grad

print("autograd", version("autograd"), "numpy", onp.__version__)
warnings.simplefilter("ignore")  # NumPy's for 0 / 0; of full_like, "Output seems independent of input."
failed, nan = [], onp.nan

def differences(function, x):
    steps = 1e-6 * onp.eye(x.size).reshape(x.size, *x.shape)
    return onp.array([(function(x + step) - function(x - step)) / 2e-6 for step in steps]).reshape(x.shape)

def look(what, function, x, expected=None):
    """`expected` is what is claimed above; None: what finite differences say."""
    x = onp.array(x)
    true = differences(function, x).round(5).tolist()
    try:
        found = onp.asarray(grad(function)(x)).round(5)
        found = (found + 0.0).tolist()  # no -0.0
    except NotImplementedError as error:
        found = f"raises: {error}"
    print(f"{what:36} {str(found):50} differences {true}")
    if str(found) != str(true if expected is None else expected):
        failed.append(f"{what}: {found}, was {expected}")

weights = onp.arange(1.0, 7.0).reshape(2, 3)
x, spread = [1.25, 2.5, -3.75], [[1.0, -5.0, 2.0], [3.0, 4.0, -1.0]]
look("full((2, 3), x)", lambda x: np.sum(weights * np.full((2, 3), x)), x, 21.0)
look("full((2, 3), x), x a number", lambda x: np.sum(weights * np.full((2, 3), x)), 2.0)
look("full_like(y, x)", lambda x: np.sum(weights * np.full_like(weights, x)), x, [0.0, 0.0, 0.0])
look("full_like(y, x), x a number", lambda x: np.sum(weights * np.full_like(weights, x)), 2.0, 0.0)
look("full_like(y, x) * x[0]", lambda x: np.sum(weights * np.full_like(weights, x) * x[0]), x, [-10.0, 0.0, 0.0])
look("x + zeros", lambda x: np.sum(weights * (x + onp.zeros((2, 3)))), x)
look("x.astype(int)", lambda x: np.sum(weights[0] * x.astype(int)), x, [1.0, 2.0, 3.0])
look("trunc(x)", lambda x: np.sum(weights[0] * np.trunc(x)), x)
look("norm(x, inf)", lambda x: np.linalg.norm(x, onp.inf), x, [nan, nan, nan])
look("norm(x, inf, axis=1)", lambda x: np.sum(np.linalg.norm(x, onp.inf, axis=1)), spread, [[0.0, nan, nan], [nan, nan, 0.0]])
look("max(abs(x))", lambda x: np.max(np.abs(x)), x)
look("norm(x, 3)", lambda x: np.linalg.norm(x, 3), x)
look("norm(x, 1)", lambda x: np.linalg.norm(x, 1), x, "raises: Gradient of norm not implemented for ord=1")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "autograd behaves as is claimed above"
