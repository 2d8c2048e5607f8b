"""The target processor of compilation: this machine's, unless numba's environment variables name another."""

from __future__ import annotations

import os

import llvmlite.binding as llvm

_CHOSEN = os.environ.get("NUMBA_CPU_NAME", "")


def _features() -> str:
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is not None:
        return chosen
    return "" if _CHOSEN.lower() == "generic" else llvm.get_host_cpu_features().flatten()


#: its family and features, as LLVM names them
NAME, FEATURES = _CHOSEN or llvm.get_host_cpu_name(), _features()
#: bytes of a vector register for register tiles: 64, of which there are 32 with masks, or 32, which may be pairs of
#: smaller ones
VECTOR = 64 if "+avx512f" in FEATURES.split(",") else 32
