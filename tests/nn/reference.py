"""Numbers recorded from PyTorch, in one compressed file a family: all arrays flat, behind each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def save(path: Path, records: Mapping[str, np.ndarray], version: str) -> None:
    """Write arrays by name, and the version of PyTorch that gave them."""
    np.savez_compressed(
        path,
        version=np.array(version),
        names=np.array(list(records)),
        lengths=np.array([array.size for array in records.values()], np.int32),
        values=np.concatenate([array.ravel() for array in records.values()]),
    )


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name, flat."""
    with np.load(path) as file:
        parts = np.split(file["values"], np.cumsum(file["lengths"])[:-1])
        return dict(zip(file["names"].tolist(), parts, strict=True))
