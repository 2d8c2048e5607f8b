"""With ``TAPEGRAD_DEBUG=1``: bytes whose life has ended hold NaN, and canaries stand behind every buffer.

What reads a value or an adjoint too late or too soon then gives NaN rather than a plausible number, and what writes
beyond its own bytes is found. Without the variable nothing here runs.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

ENABLED = os.environ.get("TAPEGRAD_DEBUG", "0") not in ("", "0")

#: bytes behind a buffer that nobody may write
GAP = 64 if ENABLED else 0
#: NaN as float64 and as two of float32, and as int64 far outside of any index
POISON = -0x0008_0000_0008_0001
CANARY = 0x5AFE_5AFE_5AFE_5AFE

broken: list[str] = []  # what was found where nothing can be raised


def fill(address: int, nbytes: int, word: int = POISON) -> None:
    """Fill bytes, whole words of 8 of them."""
    words_at(address, nbytes)[:] = word


def words_at(address: int, nbytes: int) -> np.ndarray:
    """Bytes at an address as words."""
    return np.frombuffer(memoryview((ctypes.c_char * nbytes).from_address(address)), np.int64)


def set_canary(address: int) -> None:
    """Have a canary at this byte address."""
    fill(address, GAP, CANARY)


def check_canary(address: int, nbytes: int) -> None:
    """Note down if the canary behind these bytes was written over."""
    if (words_at(address + nbytes, GAP) != CANARY).any():
        broken.append(f"a buffer of {nbytes:,} bytes")
        set_canary(address + nbytes)
