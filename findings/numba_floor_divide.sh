#!/usr/bin/env bash
# numba 0.68.1: in a compiled function `numpy.floor_divide(x, y)` of floats is not `x // y`, though in NumPy they are the
# same: it rounds the quotient first and takes the floor then. 1.0 // 0.1 is 9 (0.1 is a little above a tenth, so ten
# do not fit), and so say NumPy's function, Python, and numba's own `//` in the same function; numba's
# numpy.floor_divide says 10, and so does the quotient of `numpy.divmod`, whose remainder is that of 9, so that
# quotient * y + remainder is off by one y. Of 1 .. 1000 over 0.1 every one is concerned, in float32 too.
# At infinity: floor_divide(inf, 1) is inf instead of NaN, and floor_divide(-1, inf) is -0 instead of -1.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import numba
import numpy as np

print("numba", numba.__version__, "numpy", np.__version__)
np.seterr(all="ignore")
failed, inf, nan = [], np.inf, np.nan

@numba.njit(error_model="numpy")
def quotients(x, y):
    return np.floor_divide(x, y), np.divmod(x, y)[0], x // y, np.divmod(x, y)[1]

def look(what, found, expected):
    found = tuple(float(value) for value in found)
    print(f"{what:36} {found}")
    if str(found) != str(tuple(expected)):
        failed.append(f"{what}: {found}, was {expected}")

print(f"{'':36} numpy.floor_divide, numpy.divmod, //")
for x, y, wrong, right in ((1.0, 0.1, 10.0, 9.0), (6.0, 0.1, 60.0, 59.0), (-1.0, 0.1, -10.0, -10.0), (7.0, 2.0, 3.0, 3.0),
                           (inf, 1.0, inf, nan), (-1.0, inf, -0.0, -1.0), (1.0, -inf, -0.0, -1.0)):
    look(f"{x} over {y}, compiled", quotients(x, y)[:3], (wrong, wrong, right))
    look("  in NumPy", quotients.py_func(np.float64(x), np.float64(y))[:3], (right, right, right))
x, y = np.array([1.0]), np.array([0.1])
look("arrays of 1.0 over 0.1, compiled", [array[0] for array in quotients(x, y)[:3]], (10.0, 10.0, 9.0))

_, quotient, _, remainder = quotients(1.0, 0.1)
look("quotient * 0.1 + remainder of divmod", [round(quotient * 0.1 + remainder, 12)], (1.1,))
for real in np.float64, np.float32:
    x = np.arange(1, 1001).astype(real)
    y = np.full_like(x, 0.1)
    found, _, operator, _ = quotients(x, y)
    differ, odd = int((found != np.floor_divide(x, y)).sum()), int((operator != np.floor_divide(x, y)).sum())
    print(f"of 1 .. 1000 over 0.1 in {real.__name__}, other than NumPy's: {differ} by floor_divide, {odd} by //")
    if differ != 1000 or odd != 0:
        failed.append(f"{real.__name__}: {differ} and {odd} of 1000 differ")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "numba behaves as is claimed above"
