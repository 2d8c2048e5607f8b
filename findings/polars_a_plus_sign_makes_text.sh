#!/usr/bin/env bash
# polars 2.1.0: a CSV column of numbers is read as numbers, one would think, if it can be read as numbers. The reader
# guesses by a narrower notion than the one by which it reads: one "+5", "nan", "INF", "Infinity" or " 1.5" among the
# rows that it looks at (the first 100) makes the whole column String, though with the dtype given it reads each of them to
# its number. "NaN", "inf" and "+inf" are numbers to both. "1.5 ", with the blank behind, is read by neither. pandas takes all
# of these for floats. The dtype has to be given, or the columns to be checked: a String column is no error, and what
# makes categories of strings goes on with as many categories as there are numbers.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check polars==2.1.0 pandas==3.1.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import io

import pandas as pd
import polars as pl

print("polars", pl.__version__, "pandas", pd.__version__)
failed, nan, inf = [], float("nan"), float("inf")

def read(text, **keywords):
    try:
        column = pl.read_csv(f"x,y\n1.25,a\n{text},b\n".encode(), **keywords)["x"]
    except pl.exceptions.ComputeError as error:
        return type(error).__name__, str(error).split("\n")[0][:60]
    return str(column.dtype), column[1]

for text, number, guessed, given in (("5", 5.0, "Float64", "Float64"), ("-5", -5.0, "Float64", "Float64"),
                                     ("+5", 5.0, "String", "Float64"),
                                     ("NaN", nan, "Float64", "Float64"), ("nan", nan, "String", "Float64"),
                                     ("inf", inf, "Float64", "Float64"), ("+inf", inf, "Float64", "Float64"),
                                     ("INF", inf, "String", "Float64"), ("Infinity", inf, "String", "Float64"),
                                     (" 1.5", 1.5, "String", "Float64"), ("1.5 ", 1.5, "String", "ComputeError")):
    by_guess, by_dtype = read(text), read(text, schema_overrides={"x": pl.Float64})
    by_pandas = pd.read_csv(io.StringIO(f"x,y\n1.25,a\n{text},b\n"))["x"]
    print(f"{text!r:10} guessed {str(by_guess):28} dtype given {str(by_dtype):80} pandas {by_pandas.dtype} {by_pandas[1]}")
    if (by_guess[0], by_dtype[0]) != (guessed, given):
        failed.append(f"{text!r}: {by_guess[0]} and {by_dtype[0]}, was {guessed} and {given}")
    if given == "Float64" and str(by_dtype[1]) != str(number):
        failed.append(f"{text!r} is read as {by_dtype[1]}, was {number}")
    if str(float(by_pandas[1])) != str(number):
        failed.append(f"{text!r} is {by_pandas[1]} to pandas")

late = "x\n" + "1.5\n" * 150
for text, kind in (late, "Float64"), ("x\n" + "1.5\n" * 50 + "+5\n" + "1.5\n" * 50, "String"), (late + "+5\n", "Float64"):
    column = pl.read_csv(text.encode())["x"]
    places = [row for row, line in enumerate(text.split()) if line == "+5"]
    print(f"a column of {len(column)}, '+5' in row {places}: {column.dtype}")
    if str(column.dtype) != kind:
        failed.append(f"a column of {len(column)}: {column.dtype}, was {kind}")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "polars behaves as is claimed above"
