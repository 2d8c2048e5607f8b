"""The graph of scalars as a flat tape in C (scalar_tape.c), compiled here for this processor."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from worker import Way, load_works

works = load_works()
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def begin(threads: int) -> str:
    """The compiler's name and version."""
    if COMPILER is None:
        raise ImportError("no C compiler is found")
    said = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0]


def library(dtype: str) -> Any:
    """The compiled file for float32 or float64."""
    assert COMPILER is not None
    suffix, real = ("f", "float") if dtype == "float32" else ("", "double")
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "scalar_tape.so"
        names = [f"-D{name}={function}{suffix}" for name, function in
                 (("EXP", "exp"), ("LOG1P", "log1p"), ("FABS", "fabs"))]
        subprocess.run([COMPILER, "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", f"-DREAL={real}", *names,
                        str(Path(__file__).with_suffix(".c")), "-o", str(to), "-lm"], check=True)
        found = ctypes.CDLL(str(to))
    function = found.value_and_gradient
    function.restype = ctypes.c_float if dtype == "float32" else ctypes.c_double
    function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return function


def tape(work: Any) -> Way:
    """Value and gradient, again and again."""
    import numpy as np

    plan, made = work.plan(), work.inputs
    rows = np.zeros((len(plan), 6), np.int32)
    for k, (kind, places) in enumerate(plan):
        rows[k, :2] = kind, made
        rows[k, 2:2 + len(places)] = places
        made += 4 if works.KINDS[kind] == "softmax" else 1
    values, gradients = np.zeros(made, work.dtype), np.zeros(made, work.dtype)
    values[:work.inputs] = work.data()
    function = library(work.dtype)
    given = (rows.ctypes.data, len(rows), values.ctypes.data, gradients.ctypes.data, made, work.window)

    def run(steps: int) -> float:
        for _ in range(steps):
            value = function(*given)
        return value

    value = run(1)
    run.keeps = rows, values, gradients  # type: ignore[attr-defined]
    return Way([value], {"0": gradients[:work.inputs].copy()}, run)


WAYS = {"C": (lambda work: isinstance(work, works.Scalars), tape)}
