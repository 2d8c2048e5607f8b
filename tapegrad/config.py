"""The environment of this process, and its settings: ``tg.config``, thread counts."""

from __future__ import annotations

import operator
import os
import platform
from importlib import metadata
from typing import Any

from ._version import __version__
from .engine import kernels, processor, providers
from .engine.cache import cache_folder
from .engine.threads import team
from .errors import ArgumentError
from .memory import Rows

__all__ = ["Config", "config", "get_num_threads", "set_num_threads"]

_VECTORS = ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512", "amx", "neon", "sve")


class Config:
    """The one instance is ``tg.config``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.config.blas in ("openblas", "mkl")
    True
    >>> tg.config.info()["tapegrad"] == tg.__version__
    True
    """

    __slots__ = ()

    @property
    def blas(self) -> str:
        """The library that multiplies matrices: ``"openblas"`` (SciPy's) or ``"mkl"`` (the group of that name).

        At first what the environment variable ``TAPEGRAD_BLAS`` says, else ``"mkl"`` where its wheel is installed,
        else ``"openblas"``. A change holds for ops and recordings made from then on, in all threads; a recording
        (`TrainStep`, `compile`, a tape) goes on with the library that it was made with, for both stay loaded. To move
        a `TrainStep`, make a new one.

        Raises
        ------
        ArgumentError
            For another name.
        MissingExtraError
            For a library that is not installed.
        """
        return providers.chosen()

    @blas.setter
    def blas(self, name: str) -> None:
        providers.choose(name)

    def info(self) -> dict[str, Any]:
        """What is in use: versions, CPU, BLAS library, threads, the cache of compiled code.

        Returns
        -------
        dict
            ``tapegrad``, ``python``, ``numpy``, ``numba``, ``llvmlite``, ``scipy`` : str
                Versions.
            ``cpu``, ``cpu_target`` : str
                The CPU's name, and the name of the family that LLVM compiles for.
            ``cpu_features`` : list of str
                As LLVM names them.
            ``cores`` : int
            ``blas``, ``blas_version`` : str
            ``blas_file`` : str or None
            ``blas_available`` : list of str
            ``num_threads`` : int
            ``cache_folder`` : str
            ``cache_bytes`` : int
                Of this version's compiled code.
            ``compile_seconds`` : float
                Spent compiling in this process so far.
        """
        provider, folder = providers.loaded(), cache_folder()
        return {
            "tapegrad": __version__, "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("numpy", "numba", "llvmlite", "scipy")},
            "cpu": _cpu_name(), "cpu_target": processor.NAME,
            "cpu_features": sorted(name[1:] for name in processor.FEATURES.split(",") if name.startswith("+")),
            "cores": os.cpu_count() or 1,
            "blas": provider.name, "blas_version": provider.version, "blas_file": provider.file,
            "blas_available": list(providers.available()), "num_threads": provider.threads,
            "cache_folder": str(folder), "cache_bytes": _nbytes(folder), "compile_seconds": kernels.compile_seconds(),
        }

    def show(self) -> None:
        """Print `info` as a table; of the CPU's features those that concern vectors."""
        info = self.info()
        info["cpu_features"] = " ".join(f for f in info["cpu_features"] if f.startswith(_VECTORS))
        info["blas_available"] = " ".join(info["blas_available"])
        info["cache_bytes"] = f"{info['cache_bytes']:,}"
        info["compile_seconds"] = f"{info['compile_seconds']:.2f}"
        print(Rows(("setting", "value"), tuple((name.replace("_", " "), str(value)) for name, value in info.items())))

    def __repr__(self) -> str:
        return f"<tg.config: blas={self.blas!r}>"


config = Config()


def set_num_threads(n: int) -> None:
    """Use at most `n` threads, from now on and in the whole process.

    Without it the environment variable ``TAPEGRAD_NUM_THREADS`` decides, else the BLAS library (one a core, or what
    ``OMP_NUM_THREADS`` and the library's own variable say).

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ArgumentError
        For anything else.

    Notes
    -----
    The number is the BLAS library's, so SciPy's own products follow it where SciPy's library is in use, and
    ``threadpoolctl.threadpool_limits`` changes it as well, for as long as the limit holds. threadpoolctl knows only
    libraries that are loaded when the limit begins: tapegrad loads its own at the first product, or when
    `get_num_threads` is called. In MKL such a limit is that of the Python thread which sets it.
    """
    try:
        count = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = 0
    if count < 1:
        raise ArgumentError(f"set_num_threads: n must be a whole number of at least 1, not {n!r}")
    providers.request_threads(count)
    team.grow()


def get_num_threads() -> int:
    """Threads that a large product uses now.

    Examples
    --------
    >>> import tapegrad as tg
    >>> before = tg.get_num_threads()
    >>> tg.set_num_threads(1)
    >>> tg.get_num_threads()
    1
    >>> tg.set_num_threads(before)
    """
    return providers.loaded().threads


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _nbytes(folder: Any) -> int:
    total = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        try:
            total += path.stat().st_size
        except OSError:  # another process has just renamed it
            pass
    return total
