#!/usr/bin/env bash
# pyarrow 26.0.1: `Array.to_numpy(zero_copy_only=False)` of plain numbers imports pandas where that is installed, also
# from an array without nulls that it then hands over without a copy: some tenths of a second and tens of megabytes in a
# process that never uses pandas (here one that has read a CSV file). `to_numpy()` (zero_copy_only=True) does so too, and
# so does `pa.array([1.5])`. The array's buffers do not:
# `np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)` is the elements, and
# `np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")`, from the offset on, is 0 where one is
# null.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cat > "$here/show.py" <<'P'
import subprocess
import sys

START = """
import sys, time
import numpy as np, pyarrow as pa, pyarrow.csv
table = pa.csv.read_csv(pa.py_buffer(b"a,b\\n0,1\\n1.5,1\\n,1\\n2.5,1\\n" if {gaps} else b"a,b\\n0,1\\n1.5,1\\n2.5,1\\n"))
array = table.column(0).chunk(0)[1:]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before, began = resident(), time.perf_counter()
{call}
print("pandas" in sys.modules, f"{{1e3 * (time.perf_counter() - began):7.1f}} ms {{(resident() - before) / 1e6:6.1f}} MB",
      found.tolist(), flush=True)
"""
BUFFERS = """
found = np.frombuffer(array.buffers()[1], np.float64, len(array), array.offset * 8)
if array.buffers()[0] is not None:
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    found = np.where(bits[array.offset:array.offset + len(array)] == 0, np.nan, found)
"""
failed = []
for what, gaps, call, expected in (
    ("to_numpy()", False, "found = array.to_numpy()", True),
    ("to_numpy(zero_copy_only=False)", False, "found = array.to_numpy(zero_copy_only=False)", True),
    ("the same, with a null", True, "found = array.to_numpy(zero_copy_only=False)", True),
    ("buffers", False, BUFFERS, False),
    ("buffers, with a null", True, BUFFERS, False),
):
    code = START.format(gaps=gaps, call=call)
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{what:32} pandas imported: {text}")
    if text.startswith("True") != expected:
        failed.append(f"{what}: pandas is {'not ' if expected else ''}imported")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "pyarrow behaves as is claimed above"
