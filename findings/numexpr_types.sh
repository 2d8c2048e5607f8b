#!/usr/bin/env bash
# numexpr 2.14.2: an expression evaluated with it should be NumPy's, up to rounding. What is not, without a word:
# - int64 with float32 is float32 (NumPy: float64), for arithmetic, `where` and comparisons, so 16777217 equals
#   float32(16777216) and their difference is 0.
# - `abs` and `floor` of integers go through float64 and come back as float64: digits above 2^53 are gone.
# - `min` and `max` skip NaN (`sum` has it), and of int32 both raise SystemError.
# - `sum` and `prod` of int32 stay int32 and wrap; `sum` of float32 adds one by one, so 2^24 ones and any more are 2^24.
# - uint64 is taken for int64: 2^63 turns negative.
# pandas takes numexpr for `DataFrame.eval` and `query` where it is installed, for frames of any length (the finding
# pandas_numexpr_from_a_million_rows has what it does to plain operators).
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check numexpr==2.14.2 numpy==2.4.6 pandas==3.1.1
cat > "$here/show.py" <<'P'
import numexpr
import numpy as np
import pandas as pd
from numexpr import evaluate

print("numexpr", numexpr.__version__, "numpy", np.__version__, "pandas", pd.__version__)
failed, nan = [], np.nan

def look(what, call, expected):
    try:
        found = call()
        found = (str(found.dtype), found.tolist())
    except SystemError as error:
        found = (type(error).__name__, str(error.__cause__))
    print(f"{what:46} {found}")
    if str(found) != str(expected):
        failed.append(f"{what}: {found}, was {expected}")

i, f = np.array([16777217]), np.array([16777216.0], np.float32)
look("i - f", lambda: evaluate("i - f"), ("float32", [0.0]))
look("  in NumPy", lambda: i - f, ("float64", [1.0]))
look("i == f", lambda: evaluate("i == f"), ("bool", [True]))
look("  in NumPy", lambda: i == f, ("bool", [False]))
look("where(i > 0, i, f)", lambda: evaluate("where(i > 0, i, f)"), ("float32", [16777216.0]))
look("  in NumPy", lambda: np.where(i > 0, i, f), ("float64", [16777217.0]))

k = np.array([-2**53 - 1])
look("abs(k)", lambda: evaluate("abs(k)"), ("float64", [2.0**53]))
look("  in NumPy", lambda: np.abs(k), ("int64", [2**53 + 1]))
look("floor(k)", lambda: evaluate("floor(k)"), ("float64", [-2.0**53]))
look("  in NumPy", lambda: np.floor(k), ("int64", [-2**53 - 1]))

for values in [nan, 1.0, 2.0], [1.0, nan, 2.0], [1.0, 2.0, nan]:
    a = np.array(values)
    look(f"max({values})", lambda: evaluate("max(a)"), ("float64", 2.0))
    look(f"min({values})", lambda: evaluate("min(a)"), ("float64", 1.0))
    look(f"sum({values})", lambda: evaluate("sum(a)"), ("float64", nan))
    look("  max in NumPy", lambda: np.max(a), ("float64", nan))

n = np.array([2**31 - 1, 1], np.int32)
look("sum(n), int32", lambda: evaluate("sum(n)"), ("int32", -2**31))
look("  in NumPy", lambda: np.sum(n), ("int64", 2**31))
look("max(n), int32", lambda: evaluate("max(n)"),
     ("SystemError", "Python integer -9223372036854775808 out of bounds for int32"))
ones = np.ones(2**24 + 1000, np.float32)
look("sum of 2^24 + 1000 ones, float32", lambda: evaluate("sum(ones)"), ("float32", 2.0**24))
look("  in NumPy", lambda: np.sum(ones), ("float32", 2.0**24 + 1000))
u = np.array([2**63], np.uint64)
look("u, uint64", lambda: evaluate("u"), ("int64", [-2**63]))

frame = pd.DataFrame({"k": k, "i": i, "f": f})
for engine, distance, equal in ((None, ("float64", [2.0**53]), ("bool", [True])),
                                ("python", ("int64", [2**53 + 1]), ("bool", [False]))):
    look(f"frame.eval('abs(k)'), engine {engine}", lambda: frame.eval("abs(k)", engine=engine), distance)
    look(f"frame.eval('i == f'), engine {engine}", lambda: frame.eval("i == f", engine=engine), equal)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "numexpr behaves as is claimed above"
