"""SciPy's names for programs that differentiate, as autograd's ``scipy``: `special`, `stats`, `linalg`.

Of plain arrays every function is SciPy's own. Of tensors, those that tapegrad knows give tensors with their history.
"""

from importlib import import_module
from typing import Any

__all__ = ["linalg", "special", "stats"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
