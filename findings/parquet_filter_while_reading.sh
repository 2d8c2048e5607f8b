#!/usr/bin/env bash
# pyarrow 26.0.1: a filter given to `read_table` (or `pandas.read_parquet`, or a dataset) should give the rows that the
# same filter gives on the table when it has been read. It skips row groups by their least and greatest value, and two
# things go wrong there:
# - NaN is in neither of the two. A row group whose numbers are all equal counts as constant, and its NaN rows are gone
#   for `!=`, and for `is_nan()` itself; so are, in any row group that lies within the bound, NaN rows for `~(x >= 1)`
#   and `is_null(nan_is_null=True)`, which are true of NaN. A second row group makes it half an answer.
# - Of a row group that holds only 0.0 the least value is written as -0.0, which `isin` does not take for 0.0: filters
#   [("x", "in", [0.0])] finds none of the zeros, where "=" finds them all. Integers are not concerned.
# write_statistics=False, a Feather file, and polars reading the same file give the right rows.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0 pandas==3.1.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "polars", pl.__version__, "pandas", pd.__version__)
folder, failed = sys.argv[1], []
path, nan, x, column = folder + "/x.parquet", float("nan"), pc.field("x"), pl.col("x")

def look(what, found, expected):
    print(f"{what:78} {found}")
    if str(found) != str(expected):
        failed.append(f"{what}: {found}, was {expected}")

def rows(table):
    return table["x"].to_pylist()

def compare(values, filters, while_reading, after, real=pa.float64(), **keywords):
    table = pa.table({"x": pa.array(values, real)})
    pq.write_table(table, path, **keywords)
    expression = filters if isinstance(filters, pc.Expression) else pq.filters_to_expression(filters)
    what = f"{values} {' '.join(str(expression).split()).split(', null_matching')[0]}"
    look(what + ", while reading", rows(pq.read_table(path, filters=filters)), while_reading)
    look(what + ", after", rows(table.filter(expression)), after)

equal, other = [nan, 1.0, 1.0], [nan, 1.0, 2.0]
compare(equal, [("x", "!=", 1.0)], [], [nan])
compare(equal, x.is_nan(), [], [nan])
compare(equal, ~x.isin([1.0]), [], [nan])
compare(other, [("x", "!=", 1.0)], [nan, 2.0], [nan, 2.0])
compare(other, x.is_nan(), [nan], [nan])
compare(other, ~(x >= 1.0), [], [nan])
compare(other, x.is_null(nan_is_null=True), [], [nan])
compare([nan, 1.0, 1.0, 2.0, 3.0, nan], x.is_nan(), [nan], [nan, nan], row_group_size=3)
look("the same with pandas", pd.read_parquet(path, filters=x.is_nan())["x"].tolist(), [nan])
look("the same as a dataset", rows(ds.dataset(path).to_table(filter=x.is_nan())), [nan])
look("the same with polars", pl.scan_parquet(path).filter(column.is_nan()).collect()["x"].to_list(), [nan, nan])
compare(equal, x.is_nan(), [nan], [nan], write_statistics=False)
feather.write_feather(pa.table({"x": equal}), folder + "/x.feather")
look("from Feather", rows(ds.dataset(folder + "/x.feather", format="feather").to_table(filter=x.is_nan())), [nan])

zeros = [0.0, 0.0]
for real in pa.float64(), pa.float32():
    compare(zeros, [("x", "in", [0.0])], [], zeros, real)
    compare(zeros, [("x", "in", [0.0, 5.0])], [], zeros, real)
    look("the same with pandas", pd.read_parquet(path, filters=[("x", "in", [0.0, 5.0])])["x"].tolist(), [])
    look("the same with polars", pl.scan_parquet(path).filter(column.is_in([0.0, 5.0])).collect()["x"].to_list(), zeros)
    compare(zeros, [("x", "=", 0.0)], zeros, zeros, real)
    least = pq.ParquetFile(path).metadata.row_group(0).column(0).statistics.min
    look("the least value that the file states", least, -0.0)
compare([0.0, 1.0], [("x", "in", [0.0])], [0.0], [0.0])
compare([0, 0], [("x", "in", [0])], [0, 0], [0, 0], pa.int64())
compare(zeros, [("x", "in", [0.0])], zeros, zeros, write_statistics=False)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py" "$here"
echo "pyarrow behaves as is claimed above"
