#!/usr/bin/env bash
# pandas 3.1.1: `read_csv` reads floats to the last bit; one would think that it goes on to do so whatever else is asked.
# - thousands="," (or a decimal comma with thousands=".") changes the numbers in which there is no such mark at all:
#   of random ones with 15 decimals or 18 digits a sixth is off by a unit in the last place, in silence, with
#   float_precision="round_trip" and "high" alike. Up to 12 digits, and with engine="python", all are right.
# - `to_numeric` of the strings "inf" and "" gives infinity and NaN, but "nan" and "NaN" raise ValueError, where float,
#   `astype(float)` and `read_csv` take them. Of "" it is `astype` that raises. errors="coerce", the usual way out,
#   makes NaN of what cannot be read too.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check pandas==3.1.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import io
import warnings

import numpy as np
import pandas as pd

print("pandas", pd.__version__, "numpy", np.__version__)
warnings.simplefilter("ignore", FutureWarning)
warnings.simplefilter("ignore", DeprecationWarning)  # float_precision is on its way out
failed = []

def look(what, found, expected):
    print(f"{what:66} {found}")
    if str(found) != str(expected):
        failed.append(f"{what}: {found}, was {expected}")

def column(numbers, mark=".", **keywords):
    text = "x\n" + "\n".join(numbers).replace(".", mark) + "\n"
    return pd.read_csv(io.StringIO(text), **keywords)["x"]

one = ["978212965548.441001"]
look("one number", column(one)[0], 978212965548.441)
for keywords in {}, {"float_precision": "high"}, {"float_precision": "round_trip"}:
    look(f"thousands=',', {keywords}", column(one, thousands=",", **keywords)[0], 978212965548.4409)
look("thousands='.', decimal=','", column(one, ",", sep=";", thousands=".", decimal=",")[0], 978212965548.4409)
look("decimal=',' alone", column(one, ",", sep=";", decimal=",")[0], 978212965548.441)
look("thousands=',', engine='python'", column(one, thousands=",", engine="python")[0], 978212965548.441)

rng = np.random.default_rng(0)
for form, lost in (".12f", False), (".15f", True), (".17e", True):
    numbers = [format(number, form) for number in rng.uniform(0.0, 1000.0 if form != ".12f" else 1.0, 5000)]
    true = np.array([float(number) for number in numbers])
    for keywords in {}, {"thousands": ","}, {"thousands": ",", "float_precision": "round_trip"}:
        found = column(numbers, **keywords).to_numpy()
        wrong = int((found != true).sum())
        units = int(np.abs(found.view(np.int64) - true.view(np.int64)).max())
        print(f"{'of 5000 as ' + form + ', ' + str(keywords):66} {wrong} wrong, by up to {units} units in the last place")
        if (wrong > 500) != (lost and bool(keywords)) or (wrong > 0) != (wrong > 500):
            failed.append(f"{form} with {keywords}: {wrong} of 5000 are wrong")

def outcome(call):
    try:
        return float(call())
    except ValueError as error:
        return type(error).__name__

for text, by_to_numeric, by_astype in (("inf", np.inf, np.inf), ("", np.nan, "ValueError"), ("nan", "ValueError", np.nan),
                                       ("NaN", "ValueError", np.nan), ("word", "ValueError", "ValueError")):
    series = pd.Series([text, "1.5"])
    look(f"to_numeric of {text!r} and '1.5'", outcome(lambda: pd.to_numeric(series)[0]), by_to_numeric)
    look(f"to_numeric of {text!r} and '1.5', errors='coerce'", outcome(lambda: pd.to_numeric(series, errors="coerce")[0]),
         np.inf if text == "inf" else np.nan)
    look(f"astype(float) of {text!r} and '1.5'", outcome(lambda: series.astype(float)[0]), by_astype)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "pandas behaves as is claimed above"
