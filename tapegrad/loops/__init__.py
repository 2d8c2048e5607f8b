"""Loops that can be differentiated: adjoints derived from the source of a user's function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..functions.custom import derive_with

if TYPE_CHECKING:
    from .njit import njit as njit
else:

    def njit(function: Callable | None = None, **options: Any) -> Any:
        """See `njit.njit`, which is imported when it is first needed."""
        from .njit import njit as made

        return made(function, **options)


def _derived(*given: Any) -> Any:
    from .layer import derived

    return derived(*given)


derive_with(_derived)
