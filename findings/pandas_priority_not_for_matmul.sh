#!/usr/bin/env bash
# pandas 3.1.1: next to a DataFrame or a Series, a class with a high `__pandas_priority__` computes the result though
# it stands on the right: pandas answers NotImplemented and Python calls the class's reflected method. That holds for
# every arithmetic, bitwise and comparison operator but `@`, which does not ask. `frame @ obj` and `series @ obj`
# never come to `obj.__rmatmul__`: pandas reads the object as an array, and the result is a plain pandas one from
# which what the class keeps track of (units, gradients) is gone, without a word; what is no array raises.
# `divmod(frame, obj)` does not ask either (`divmod(series, obj)` does): it calls `//`, `*` and `-` one after the
# other. An Index has no `@` of its own, so there the class is asked. NumPy's arrays give way in all of them, by
# `__array_ufunc__ = None`.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check pandas==3.1.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import operator

import numpy as np
import pandas as pd

print("pandas", pd.__version__, "numpy", np.__version__)
failed = []
reflected = {name: f"__r{name.strip('_')}__" for name in
             ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")}
swapped = {"lt": "__gt__", "gt": "__lt__", "le": "__ge__", "ge": "__le__", "eq": "__eq__", "ne": "__ne__"}

class Tracked:
    """Two ones, as an array, of a class that wants to compute for itself; its methods give their names."""

    __pandas_priority__ = 1_000_000
    __array_ufunc__ = None
    shape = (2,)

    def __array__(self, dtype=None, copy=None):
        return np.ones(2)

    def __len__(self):
        return 2

for method in [*reflected.values(), *swapped.values(), "__rdivmod__"]:
    setattr(Tracked, method, lambda self, other, method=method: method)

class Opaque:
    __pandas_priority__ = 1_000_000

    def __rmatmul__(self, other):
        return "__rmatmul__"

def shown(call):
    try:
        found = call()
    except Exception as error:
        return "raises", f"{type(error).__name__}: {error}"
    return (found, found) if isinstance(found, str) else (type(found).__name__, repr(found).replace("\n", " | "))

def look(what, call, expected):
    kind, text = shown(call)
    print(f"{what:30} {kind:14} {text}")
    if kind != expected:
        failed.append(f"{what}: {kind}, was {expected}")

tracked = Tracked()
sides = {"frame": pd.DataFrame([[1.0, 2.0], [3.0, 4.0]]), "series": pd.Series([1.0, 2.0]),
         "index": pd.Index([1.0, 2.0]), "array": np.array([1.0, 2.0])}
plain = {("frame", "matmul"): "Series", ("series", "matmul"): "float64"}
for side, left in sides.items():
    for name, method in {**reflected, **swapped}.items():
        call = getattr(operator, name)
        look(f"{name}({side}, tracked)", lambda: call(left, tracked), plain.get((side, name), method))
    if side != "frame":
        look(f"divmod({side}, tracked)", lambda: divmod(left, tracked), "__rdivmod__")
    if side in ("frame", "series"):
        look(f"matmul({side}, opaque)", lambda: left @ Opaque(), "raises")
kind, text = shown(lambda: divmod(sides["frame"], tracked))
print(f"{'divmod(frame, tracked)':30} {kind:14} {text}")
if kind == "__rdivmod__":
    failed.append("divmod(frame, tracked) now asks the class")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "pandas behaves as is claimed above"
