#!/usr/bin/env bash
# pandas 3.1.1: one would think that `+` and `**` of columns depend on the columns' dtypes and not on how many rows they
# have, and not on which packages are installed. Where numexpr is installed, pandas hands it operators on more than
# 1,000,000 elements, and numexpr's rules are others than NumPy's:
# - an int64 column with a float32 column gives float32 instead of float64, for + - * / and **:
#   16777217 + 2 is 16777218.
# - integers to a negative integer power give 0 where a shorter column raises ValueError.
# - int32 ** 2 is int64 instead of int32, and powers that overflow are -2^63 instead of wrapping.
# So a row more changes dtypes and digits, and an error that the tests met on small data never comes on large data.
# The option compute.use_numexpr=False gives the short columns' answers throughout; so does numexpr uninstalled.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check pandas==3.1.1 numpy==2.4.6 numexpr==2.14.2
cat > "$here/show.py" <<'P'
import numexpr
import numpy as np
import pandas as pd

print("pandas", pd.__version__, "numpy", np.__version__, "numexpr", numexpr.__version__)
failed = []

def look(what, call, expected):
    try:
        found = call()
        found = (str(found.dtype), found[0].item())
    except ValueError as error:
        found = (type(error).__name__, str(error))
    print(f"{what:42} {found}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

refused = ("ValueError", "Integers to negative integer powers are not allowed.")
for rows, by_numexpr in (1_000_000, True), (1_000_001, True), (1_000_001, False):
    pd.set_option("compute.use_numexpr", by_numexpr)
    long = rows > 1_000_000 and by_numexpr
    print(f"{rows} rows, compute.use_numexpr {by_numexpr}")
    i, three = pd.Series(np.full(rows, 16777217)), pd.Series(np.full(rows, 3))
    f, small = pd.Series(np.full(rows, 2.0, np.float32)), three.astype(np.int32)
    look("16777217 + float32(2)", lambda: i + f, ("float32", 16777218.0) if long else ("float64", 16777219.0))
    look("16777217 - float32(2)", lambda: i - f, ("float32", 16777214.0) if long else ("float64", 16777215.0))
    look("16777217 * float32(2)", lambda: i * f, ("float32", 33554432.0) if long else ("float64", 33554434.0))
    look("16777217 / float32(2)", lambda: i / f, ("float32", 8388608.0) if long else ("float64", 8388608.5))
    look("16777217 ** float32(2)", lambda: i ** f,
         ("float32", 281474976710656.0) if long else ("float64", 281475010265089.0))
    look("3 ** -2", lambda: three ** -2, ("int64", 0) if long else refused)
    look("3 ** -2 in a frame", lambda: (pd.DataFrame({"a": three}) ** -2)["a"], ("int64", 0) if long else refused)
    look("int32(3) ** 2", lambda: small ** 2, ("int64", 9) if long else ("int32", 9))
    look("16777217 ** 3", lambda: i ** three, ("int64", -2**63 if long else 844424980463617))
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
"$here/env/bin/pip" uninstall -q -y numexpr
"$here/env/bin/python" - <<'P'
import numpy as np
import pandas as pd

found = (pd.Series(np.full(1_000_001, 16777217)) + pd.Series(np.full(1_000_001, 2.0, np.float32))).iloc[0]
print(f"{'16777217 + float32(2) without numexpr':42} {found!r}")
raise SystemExit(None if found == 16777219.0 else "without numexpr the sum is no longer exact")
P
echo "pandas behaves as is claimed above"
