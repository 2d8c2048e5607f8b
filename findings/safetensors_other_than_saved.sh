#!/usr/bin/env bash
# safetensors 0.8.0: that `safetensors.numpy.save` raises nothing does not mean that `load` gives the same back.
# 1. An array in Fortran's order (a transposed matrix, say) is written as it lies in memory and read as if it lay in
#    C's order: shape and dtype are right and the numbers are permuted, without a word. It is contiguous and dense,
#    which is all that the docstring asks for. `numpy.ascontiguousarray` before saving helps.
# 2. An array named `__metadata__` is saved, alone or among others; what was written cannot be read, not even the others.
# 3. The order of names is not kept: it goes by dtype, wider elements first, and then by name ("layer.10" before
#    "layer.2"); `safe_open(...).keys()` is by name alone. Who pairs arrays by position pairs the wrong ones.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save, save_file

print("safetensors", safetensors.__version__, "numpy", np.__version__)
path, failed = sys.argv[1], []

def look(what, found, expected):
    print(f"{what:58} {found!r}")
    if found != expected:
        failed.append(f"{what}: {found!r}, was {expected!r}")

def loaded(arrays):
    """What comes back, or the name of the error."""
    written = save(arrays)
    try:
        return {name: array.tolist() for name, array in load(written).items()}
    except safetensors.SafetensorError as error:
        return type(error).__name__

rows = np.arange(6.0).reshape(2, 3)
look("rows", loaded({"w": rows}), {"w": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]})
turned, fortran = rows.T, np.asfortranarray(rows)
look("rows.T, which is [[0, 3], [1, 4], [2, 5]]", loaded({"w": turned}), {"w": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]})
look("asfortranarray(rows), which equals rows", loaded({"w": fortran}), {"w": [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]})
look("ascontiguousarray(rows.T)", loaded({"w": np.ascontiguousarray(turned)}), {"w": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]})

one = np.ones(1)
look("an array named metadata", loaded({"metadata": one}), {"metadata": [1.0]})
look("an array named __metadata__", loaded({"__metadata__": one}), "SafetensorError")
look("w beside it", loaded({"__metadata__": one, "w": one}), "SafetensorError")

narrow = one.astype(np.float32)
names = {"scale": narrow, "layer.2": one, "layer.10": one, "bias": narrow}
save_file(names, path)
look("saved in the order", list(names), ["scale", "layer.2", "layer.10", "bias"])
look("load_file gives", list(load_file(path)), ["layer.10", "layer.2", "bias", "scale"])
with safetensors.safe_open(path, "np") as file:
    look("keys() of safe_open gives", list(file.keys()), ["bias", "layer.10", "layer.2", "scale"])
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py" "$here/names.safetensors"
echo "safetensors behaves as is claimed above"
