#!/usr/bin/env bash
# casadi 3.8.2: a formula is simplified while it is written down, so what is evaluated is not what was written, and
# `SX` and `MX`, which should be two speeds of one thing, are not always one function:
# - sqrt(x)**2 becomes x: -1 for x = -1, where sqrt(x) alone is NaN. A bound that NaN was to guard is silently passed.
# - x / x becomes 1 and 0 * x a structural 0, also at 0, infinity and NaN: the Jacobian has no entry for that x.
# - the greatest of (x, 2x, 0) at the tie x = 0 has the slope 0.75 in SX, which compares two at a time, and 1.0 in MX,
#   which takes the mean over all that tie.
# - norm_2 of a single number is abs in SX, with the slope 0 at 0, and NaN in MX.
# - fmax(x, 0) of NaN is 0, and its slope is NaN: the value says that all is well, the gradient that nothing is.
# - 0**x has the slope NaN at x = 1, around which it is 0 throughout.
# if_else, of which one is told that both branches are evaluated, lets no NaN through from the branch not taken.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check casadi==3.8.2 numpy==2.4.6
cat > "$here/show.py" <<'P'
import math

import casadi
from casadi import MX, SX

print("casadi", casadi.__version__)
failed, nan = [], math.nan

def value_and_slope(kind, formula, at):
    x = kind.sym("x")
    y = formula(x)
    value, slope = casadi.Function("f", [x], [y, casadi.jacobian(y, x)])(at)
    return float(value), float(slope)

def look(what, formula, at, sx, mx=None):
    for kind, expected in (SX, sx), (MX, sx if mx is None else mx):
        found = value_and_slope(kind, formula, at)
        print(f"{kind.__name__} {what:26} at {at:5}: value {found[0]:5}, slope {found[1]}")
        if str(found) != str(tuple(map(float, expected))):
            failed.append(f"{kind.__name__} {what} at {at}: {found}, was {expected}")

look("sqrt(x)", casadi.sqrt, -1.0, (nan, nan))
look("sqrt(x)**2", lambda x: casadi.sqrt(x) ** 2, -1.0, (-1, 1))
look("x / x", lambda x: x / x, 0.0, (1, 0))
look("x / x", lambda x: x / x, math.inf, (1, 0))
look("0 * x", lambda x: 0 * x, nan, (0, 0))
look("mmax of (x, 2 x, 0)", lambda x: casadi.mmax(casadi.vertcat(x, 2 * x, 0)), 0.0, (0, 0.75), (0, 1))
look("norm_2(x)", casadi.norm_2, 0.0, (0, 0), (0, nan))
look("norm_2(x)", casadi.norm_2, -1.0, (1, -1))
look("fmax(x, 0)", lambda x: casadi.fmax(x, 0), nan, (0, nan))
look("fmax(x, 0)", lambda x: casadi.fmax(x, 0), 0.0, (0, 0.5))
look("0**x", lambda x: 0**x, 1.0, (0, nan))
look("if_else(x > 0, x, log(x))", lambda x: casadi.if_else(x > 0, x, casadi.log(-x)), 1.0, (1, 1))
for kind in SX, MX:
    x = kind.sym("x", 3)
    entries = [casadi.jacobian(y, x).nnz() for y in (0 * x, x / x, casadi.sign(x))]
    print(kind.__name__, "entries of the Jacobians of 0 * x, x / x and sign(x):", entries)
    if entries[0] != 0:
        failed.append(f"{kind.__name__}: the Jacobian of 0 * x has {entries[0]} entries")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "casadi behaves as is claimed above"
