#!/usr/bin/env bash
# numpy 2.4.6: when an object is put into a float array, an error from its `__float__` usually arrives as it was
# raised. Where the class also has `__getitem__` (nothing else of a sequence is asked for, and it is never called),
# NumPy replaces any error by ValueError "setting an array element with a sequence.": an error type of one's own,
# MemoryError, and KeyboardInterrupt too, so `except ValueError` around an assignment swallows Ctrl-C. The true one is
# left as `__cause__`. `float(obj)` and `math.sqrt(obj)` raise it unchanged, and where nothing is raised the very same
# object is taken as a number: it is no sequence to NumPy until it fails.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check numpy==2.4.6
cat > "$here/show.py" <<'P'
import math
import signal

import numpy as np

print("numpy", np.__version__)
failed, asked = [], []
signal.signal(signal.SIGINT, signal.default_int_handler)

class Own(Exception):
    """An error type of one's own, which says what to do."""

def fails():
    raise Own("detach it first")

def fills():
    raise MemoryError

def stops():
    signal.raise_signal(signal.SIGINT)  # Ctrl-C while __float__ runs

class Number:
    def __init__(self, compute):
        self.compute = compute

    def __float__(self):
        self.compute()
        return 5.0

class Indexed(Number):
    def __getitem__(self, index):
        asked.append(index)
        raise TypeError("has no elements")

def look(what, call, expected):
    try:
        found = (call(), None)
    except BaseException as error:
        found = (type(error).__name__, error.__cause__ and type(error.__cause__).__name__)
        print(f"{what:52} {type(error).__name__}: {error} (cause: {error.__cause__!r})")
    else:
        print(f"{what:52} {found[0]!r}")
    if found != expected:
        failed.append(f"{what}: {found!r}, was {expected!r}")

def put(obj):
    array = np.zeros(2)
    array[0] = obj
    return array.tolist()

def fill(obj):
    array = np.zeros(2)
    array.fill(obj)
    return array.tolist()

look("array[0] = number", lambda: put(Number(fails)), ("Own", None))
look("array[0] = number with __getitem__", lambda: put(Indexed(fails)), ("ValueError", "Own"))
look("array.fill(number with __getitem__)", lambda: fill(Indexed(fails)), ("ValueError", "Own"))
look("numpy.float64(number with __getitem__)", lambda: np.float64(Indexed(fails)), ("ValueError", "Own"))
look("float(number with __getitem__)", lambda: float(Indexed(fails)), ("Own", None))
look("math.sqrt(number with __getitem__)", lambda: math.sqrt(Indexed(fails)), ("Own", None))
look("array[0] = number, memory gone", lambda: put(Number(fills)), ("MemoryError", None))
look("array[0] = number with __getitem__, memory gone", lambda: put(Indexed(fills)), ("ValueError", "MemoryError"))
look("array[0] = number, Ctrl-C", lambda: put(Number(stops)), ("KeyboardInterrupt", None))
look("array[0] = number with __getitem__, Ctrl-C", lambda: put(Indexed(stops)), ("ValueError", "KeyboardInterrupt"))
look("array[0] = number with __getitem__, nothing raised", lambda: put(Indexed(lambda: None)), ([5.0, 0.0], None))
look("calls of __getitem__ in all this", lambda: asked, ([], None))
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "numpy behaves as is claimed above"
