"""A module's registered members: dicts that count every change."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..tape.state import Version


class Members(dict[str, Any]):
    """A module's parameters, buffers or children by name; each change increments the module's `version`."""

    version: Version | None = None  # none while being copied

    def __init__(self, version: Version) -> None:
        super().__init__()
        self.version = version


class Copies:
    """Shallow copies of modules: they share parameters, buffers and children, in dicts of their own.

    Deep copies and pickles are Python's.
    """

    def __copy__(self: Any) -> Any:
        copied = object.__new__(type(self))
        version = Version()
        vars(copied).update(vars(self), _version=version)
        for name, members in vars(self).items():
            if isinstance(members, Members):
                vars(copied)[name] = own = Members(version)
                dict.update(own, members)
        vars(copied)["_transient"] = set(self._transient)
        return copied


def _counted(method: Callable) -> Callable:
    @wraps(method)
    def changing(self: Members, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        if self.version is not None:
            self.version.changed()
        return result

    return changing


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(Members, _name, _counted(getattr(dict, _name)))
