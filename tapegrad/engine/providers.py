"""BLAS libraries: those that are installed, the addresses of their routines, their threads.

A library is loaded when first needed and never unloaded, so that addresses in rows stay valid: a recording keeps the
provider that it was made with, whichever is chosen later.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, MissingExtraError
from .locks import LIBRARIES, Lock

NAMES = ("openblas", "mkl")

_lock = Lock(LIBRARIES)
_chosen: str | None = None
_threads: int | None = None
_routines: dict[np.dtype, int] = {}


class Provider:
    """A loaded library.

    Attributes
    ----------
    name : str
    version : str
        As the library reports it.
    file : str or None
        Its path, if the system knows.
    limit : int
        Multiplications from which on its products are faster than those of `product`.
    few : int
        Columns below which they are faster, too.
    """

    def __init__(self, name: str, version: str, find: Callable[[np.dtype], int], get: Any, set: Any,
                 limit: int = 1 << 31, few: int = 4) -> None:
        self.name, self.version, self.limit, self.few = name, version, limit, few
        self._find, self._get, self._set = find, get, set
        self.file = None if get is None else _file_of(get)

    def address(self, dtype: np.dtype) -> int:
        """Address of ``sgemm`` or ``dgemm`` (Fortran calling convention, 32-bit integers)."""
        return self._find(dtype)

    @property
    def threads_address(self) -> int:
        """Address of the C function that returns `threads`; 0 if there is none."""
        return 0 if self._get is None else _address(self._get)

    @property
    def threads(self) -> int:
        """Threads that a large product uses now; 1 for a library that does not report it."""
        return 1 if self._get is None else int(self._get())

    @threads.setter
    def threads(self, count: int) -> None:
        if self._set is not None:
            self._set(count)


# ------------------------------------------------------------------ choosing


def gemm_address(dtype: np.dtype) -> int:
    """Address of ``sgemm`` or ``dgemm`` of the present provider."""
    address = _routines.get(dtype)
    if address is None:
        with _lock.now:  # or a concurrent choice would be overwritten
            address = _routines[dtype] = loaded().address(dtype)
    return address


def chosen() -> str:
    """Name of the provider for recordings and ops from now on."""
    global _chosen
    if _chosen is None:
        named = os.environ.get("TAPEGRAD_BLAS", "")
        if named:
            choose(named, "TAPEGRAD_BLAS")
        else:
            _chosen = "mkl" if _mkl_file() is not None else "openblas"
    assert _chosen is not None
    return _chosen


def choose(name: str, said_by: str = "tg.config.blas") -> None:
    """Use the provider `name` from now on; `said_by` is for the error."""
    global _chosen
    if name not in NAMES:
        raise ArgumentError(f"{said_by}: there is no BLAS provider {name!r}; choose one of "
                            f"{', '.join(map(repr, NAMES))}")
    if name == "mkl" and _mkl_file() is None:
        raise MissingExtraError(f"{said_by}: the BLAS provider 'mkl' is not installed: pip install 'tapegrad[mkl]'")
    with _lock.now:
        if name == "mkl":
            try:
                _load(name)
            except (OSError, AttributeError) as error:
                raise MissingExtraError(f"{said_by}: MKL cannot be loaded ({error}): pip install --force-reinstall "
                                        "mkl intel-openmp") from None
        _chosen = name
        _routines.clear()


def available() -> tuple[str, ...]:
    """Names of the providers that are installed."""
    return NAMES if _mkl_file() is not None else NAMES[:1]


def loaded() -> Provider:
    """The chosen provider, loaded."""
    global _chosen
    with _lock.now:
        name = chosen()
        try:
            return _load(name)
        except (OSError, AttributeError) as error:
            if name != "mkl":
                raise
            warnings.warn(f"tapegrad cannot use MKL ({error}) and goes on with SciPy's BLAS", RuntimeWarning,
                          stacklevel=3)
            _chosen = "openblas"
            return _load("openblas")


@cache
def _load(name: str) -> Provider:
    provider = _mkl() if name == "mkl" else _scipy()
    if (count := requested_threads()) is not None:
        provider.threads = count
    _loaded.append(provider)
    return provider


_loaded: list[Provider] = []


# ------------------------------------------------------------------ threads


def requested_threads() -> int | None:
    """The number of threads set by call or by environment; None if by neither."""
    global _threads
    if _threads is None and (text := os.environ.get("TAPEGRAD_NUM_THREADS", "")):
        count = int(text) if text.strip().isdecimal() else 0
        if count < 1:
            raise ArgumentError(f"TAPEGRAD_NUM_THREADS must be a whole number of at least 1, not {text!r}")
        _threads = count
    return _threads


def request_threads(count: int) -> None:
    """Have every provider use `count` threads, including those that are loaded later."""
    global _threads
    with _lock.now:
        _threads = count
        for provider in _loaded:
            provider.threads = count


# ------------------------------------------------------------------ SciPy's BLAS and LAPACK


@cache
def routine_address(name: str, dtype: np.dtype) -> int:
    """Address of a routine of SciPy's BLAS or LAPACK, without its first letter: ``"potrf"``.

    Fortran's calling convention with 32-bit integers, without hidden lengths of strings.
    """
    from scipy.linalg import cython_blas, cython_lapack

    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    whole = ("s" if dtype == np.float32 else "d") + name
    found = cython_blas.__pyx_capi__.get(whole) or cython_lapack.__pyx_capi__[whole]
    return pointer_of(found, name_of(found))


def _scipy() -> Provider:
    from scipy.linalg import cython_blas

    def find(dtype: np.dtype) -> int:
        return routine_address("gemm", dtype)

    library = ctypes.CDLL(cython_blas.__file__)  # finds symbols of its dependencies, too
    for prefix in ("scipy_openblas_", "openblas_"):
        get, set = (getattr(library, prefix + name, None) for name in ("get_num_threads", "set_num_threads"))
        if get is not None and set is not None:
            tell = getattr(library, prefix + "get_config")
            tell.restype = ctypes.c_char_p
            return Provider("openblas", tell().decode().strip(), find, get, set)
    return Provider("openblas", "SciPy's BLAS (not OpenBLAS: its threads are its own matter)", find, None, None)


# ------------------------------------------------------------------ MKL


@cache
def _mkl_file() -> Path | None:
    """``libmkl_rt`` of the wheel; None if it is not installed."""
    try:
        files = metadata.distribution("mkl").files or ()
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(f.locate())).resolve() for f in files
             if f.name.startswith(("libmkl_rt.", "mkl_rt.")) and not f.name.endswith(".lib"))
    return next((f for f in found if f.exists()), None)


def _mkl() -> Provider:
    library = ctypes.CDLL(str(_mkl_file()))
    if library.MKL_Set_Interface_Layer(0) & 1:
        raise OSError("something in this process has set MKL to 64-bit integers")
    library.MKL_Set_Threading_Layer(0)  # Intel's OpenMP, which the wheel requires
    if "MKL_DYNAMIC" not in os.environ:
        library.MKL_Set_Dynamic(0)  # else MKL would choose the number of threads, and with it the last bits
    version = ctypes.create_string_buffer(256)
    library.MKL_Get_Version_String(version, len(version))

    def find(dtype: np.dtype) -> int:
        return _address(library.sgemm_ if dtype == np.float32 else library.dgemm_)

    def set(count: int) -> None:
        library.MKL_Set_Num_Threads_Local(0)  # threadpoolctl leaves a limit behind in its thread
        library.MKL_Set_Num_Threads(count)

    # its threads, which a product of 32 x 32 x 32 would start, cost 3 microseconds on idle cores and 100 on busy ones
    return Provider("mkl", version.value.decode().strip(), find, library.MKL_Get_Max_Threads, set, 96**3, 0)


# ------------------------------------------------------------------ addresses


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class _DlInfo(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p),
                ("address", ctypes.c_void_p)]


def _file_of(function: Any) -> str | None:
    """The path of the library that contains `function`; None where the system has no ``dladdr``."""
    try:
        dladdr = ctypes.CDLL(None).dladdr
    except (AttributeError, OSError, TypeError):
        return None
    info = _DlInfo()
    found = dladdr(ctypes.c_void_p(_address(function)), ctypes.byref(info))
    return os.path.realpath(os.fsdecode(info.file)) if found and info.file else None
