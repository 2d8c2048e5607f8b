"""What a module registers: dicts that count their changes, however they are changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..tape.state import Version


class Members(dict[str, Any]):
    """A module's parameters, buffers or children by name; a change is one of the module that `version` counts."""

    version: Version | None = None  # none while a copy is being made

    def __init__(self, version: Version) -> None:
        super().__init__()
        self.version = version


class Copies:
    """How modules are copied: the parameters, buffers and children of a shallow copy are the same, its dicts its own.

    What a deep copy and a pickle do is what Python does with any object.
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
