"""With ``TAPEGRAD_DEBUG=1``: dead bytes are poisoned with NaN, and every buffer is followed by a canary.

A read of a value or an adjoint outside of its live range then gives NaN rather than a plausible number, and a write
beyond a buffer is detected. Without the variable nothing here runs.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

ENABLED = os.environ.get("TAPEGRAD_DEBUG", "0") not in ("", "0")

#: bytes of the canary (red zone) behind a buffer
GAP = 64 if ENABLED else 0
#: NaN as float64 and as two of float32, and as int64 far outside of any index
POISON = -0x0008_0000_0008_0001
CANARY = 0x5AFE_5AFE_5AFE_5AFE

broken: list[str] = []  # overwritten canaries, found where nothing can be raised


def fill(address: int, nbytes: int, word: int = POISON) -> None:
    """Fill bytes, in whole words of 8."""
    words_at(address, nbytes)[:] = word


def words_at(address: int, nbytes: int) -> np.ndarray:
    """Bytes at an address as words."""
    return np.frombuffer(memoryview((ctypes.c_char * nbytes).from_address(address)), np.int64)


def set_canary(address: int) -> None:
    """Write a canary at this byte address."""
    fill(address, GAP, CANARY)


def check_canary(address: int, nbytes: int) -> None:
    """Note it if the canary behind these bytes was overwritten."""
    if (words_at(address + nbytes, GAP) != CANARY).any():
        broken.append(f"a buffer of {nbytes:,} bytes")
        set_canary(address + nbytes)
