"""A function run on a tape that keeps everything, and that notes where each instruction came from."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import numpy as np

from ..engine.caller import user_frame
from ..engine.random import preserved
from ..engine.storage import Buffer, array_at
from ..engine.tree import flatten, unflatten
from ..errors import ArgumentError
from ..nn.module import Module
from ..ops.table import Op
from ..tape.instructions import Note
from ..tape.state import enable_grad
from ..tape.tape import Tape
from ..tensor.tensor import Tensor
from ..transforms.evaluation import dtype_of, tensor_of

_CALL: CodeType = Module.__call__.__code__


class WatchedTape(Tape):
    """A keeping tape whose notes have the user's file and line and the innermost module that is being called.

    What an instruction overwrites (running statistics) is copied before and can be given back.

    Attributes
    ----------
    roots : list of Module
        The outermost modules that were called.
    """

    def __init__(self, tells_lines: bool = True, code: CodeType | None = None) -> None:
        super().__init__(keep=True)
        self._tells_lines, self._code = tells_lines, code
        self._frames: dict[int, FrameType] = {}  # calls of the code that is watched; a frame keeps its variables
        self.roots: list[Module] = []
        self._paths: dict[int, tuple[str, Module]] = {}
        self._overwritten: list[tuple[np.ndarray, np.ndarray]] = []

    def append(self, op: Op, words: list[int], variables: Sequence[int], offsets: Sequence[int], flags: Sequence[int],
               saved: Iterable[Buffer], note: Note) -> int:
        operands, read, _, segment = note
        saved = tuple(saved)
        for j in range(len(operands)):
            if op.states >> j & 1:
                state = array_at(saved[j].address, (saved[j].nbytes,), (1,), np.dtype(np.uint8), saved[j])
                self._overwritten.append((state, state.copy()))
        return super().append(op, words, variables, offsets, flags, saved,
                              (operands, read, (*(user_frame() if self._tells_lines else ("", 0)), self._module()),
                               segment))

    def give_back(self) -> None:
        """Restore what was overwritten, the latest first."""
        while self._overwritten:
            place, before = self._overwritten.pop()
            place[...] = before

    def _module(self) -> str:
        """The dotted path of the module that is being called."""
        frame: Any = sys._getframe(2)
        called: list[Module] = []
        watched = self._code
        while frame is not None:
            code = frame.f_code
            if code is _CALL:
                called.append(frame.f_locals["self"])
            elif code is watched:
                self._frames[id(frame)] = frame
            frame = frame.f_back
        if not called:
            return ""
        root = called[-1]
        if all(root is not other for other in self.roots):
            self.roots.append(root)
            for path, module in self.named(root):
                self._paths.setdefault(id(module), (path, module))
        return next((self._paths[id(m)][0] for m in called if id(m) in self._paths), type(called[0]).__name__)

    def variables(self) -> dict[str, Any]:
        """The local variables that the watched code had when it returned; of calls of itself too, its own last."""
        found: dict[str, Any] = {}
        for frame in reversed(self._frames.values()):
            found.update(frame.f_locals)
        self._frames.clear()
        return found

    def named(self, root: Module) -> Iterator[tuple[str, Module]]:
        """The modules within one that was called, by paths that no other has."""
        number = next(k for k, other in enumerate(self.roots) if other is root)
        same = sum(type(other) is type(root) for other in self.roots[:number])
        prefix = "" if number == 0 else type(root).__name__ + (f"_{same + 1}" if same else "")
        for path, module in root.named_modules():
            yield ".".join(part for part in (prefix, path) if part) or type(root).__name__, module

    def modules(self) -> list[tuple[str, str]]:
        """Paths and classes of the modules that were called."""
        return [(path, type(module).__name__) for path, module in self._paths.values()]

    def parameter_names(self) -> dict[Any, str]:
        """By leaf its dotted name."""
        found: dict[Any, str] = {}
        for root in self.roots:
            for path, module in self.named(root):
                inner = "" if path == type(root).__name__ and module is root else path + "."
                for name, parameter in module.named_parameters(recurse=False):
                    found.setdefault(parameter.node, inner + name)
        return found


class Run:
    """What a function gave on a watched tape.

    Attributes
    ----------
    tape : WatchedTape
    output : Tensor
    names : dict of (leaf or node) to str
        Arguments, and local variables of the function.
    arguments : list of (str, Tensor)
        Those that are differentiated.
    title : str
    data : dict of int to str
        By address the names of arguments that are not differentiated.
    is_replay : bool
        Whether no function was run, but what is on a tape.
    """

    def __init__(self, tape: WatchedTape, output: Tensor, names: dict[Any, str], arguments: list[tuple[str, Tensor]],
                 title: str, data: dict[int, str] | None = None) -> None:
        self.tape, self.output, self.names, self.arguments, self.title = tape, output, names, arguments, title
        self.data, self.is_replay = data or {}, data is None


def watched(function: Callable, args: Sequence[Any], kwargs: dict[str, Any], dtype: Any = None) -> Run:
    """Run a function: arguments of floats are differentiated, integers and booleans are data.

    Nothing else is changed by it: running statistics and the random streams stay as they were.
    """
    names = _argument_names(function, args, kwargs)
    tape = WatchedTape(not getattr(function, "is_text", False), getattr(inspect.unwrap(function), "__code__", None))
    leaves, structure = flatten((tuple(args), kwargs))
    leaves = [np.float64(x) if type(x) in (int, float) else x for x in leaves]
    floats = [x for x in leaves if _is_float(x)]
    dtype = dtype or _dtype_around(function) or dtype_of(floats)
    arguments: list[tuple[str, Tensor]] = []
    for k, x in enumerate(leaves):
        if _is_float(x):
            value = x.detach() if isinstance(x, Tensor) else x
            leaves[k] = Tensor(tensor_of(value, dtype, names[k]), dtype, True)
            arguments.append((names[k], leaves[k]))
        elif isinstance(x, np.ndarray):
            leaves[k] = Tensor(x)
    data = {t.buffer.address: name for name, t in zip(names, leaves) if isinstance(t, Tensor)}
    args, kwargs = unflatten(structure, leaves)
    try:
        with preserved(), tape, enable_grad():
            output = function(*args, **kwargs)
    finally:
        tape.give_back()
    named = _variables(tape.variables())
    named.update(_closed_over(function))
    named.update({t.node: name for name, t in arguments})
    title = getattr(function, "__name__", type(function).__name__)
    return Run(tape, _one(output, function), named, arguments, title, data)


def _one(output: Any, function: Callable) -> Tensor:
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ArgumentError(f"explain: {getattr(function, '__name__', 'the function')} returns "
                            f"{type(output).__name__}; it is to return one tensor (of several, choose one: "
                            "lambda *args: f(*args)[0])")
    return output


def _is_float(x: Any) -> bool:
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    return kind == "f" or kind is None and isinstance(x, (int, float)) and not isinstance(x, bool)


def _argument_names(function: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """Names of the leaves of all arguments: ``x``, ``params[0]``, ``batch['x']``."""
    names = [f"x{k}" if len(args) > 1 else "x" for k in range(len(args))]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    for k, parameter in enumerate(parameters[:len(args)]):
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names[k] = parameter.name
        else:
            names[k:] = [f"{parameter.name}[{j}]" for j in range(len(args) - k)]
            break
    found: list[str] = []
    for name, argument in (*zip(names, args), *kwargs.items()):
        found += _leaf_names(name, argument)
    return found


def _leaf_names(name: str, tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [leaf for key, part in tree.items() for leaf in _leaf_names(f"{name}[{key!r}]", part)]
    if isinstance(tree, (list, tuple)):
        return [leaf for k, part in enumerate(tree) for leaf in _leaf_names(f"{name}[{k}]", part)]
    return [] if tree is None else [name]


def _around(function: Callable) -> dict[str, Any]:
    """What a function's code can name: its closure, the globals that it names, and the object that it belongs to."""
    found: dict[str, Any] = {}
    plain = inspect.unwrap(function)
    owner = getattr(plain, "__self__", plain if isinstance(plain, Module) else None)
    if owner is not None:
        found["self"] = owner
    try:
        variables = inspect.getclosurevars(plain)
    except (TypeError, ValueError):
        return found
    return {**variables.globals, **variables.nonlocals, **found}


def _dtype_around(function: Callable) -> np.dtype | None:
    """The float dtype of the parameters that a function refers to."""
    for value in _around(function).values():
        if isinstance(value, Tensor) and value.requires_grad:
            return value.dtype
        parameters = value.parameters() if isinstance(value, Module) else ()
        for parameter in parameters:
            return parameter.dtype
    return None


def _closed_over(function: Callable) -> dict[Any, str]:
    """The names of leaves that a function refers to."""
    return _variables({name: value for name, value in _around(function).items() if name != "self"})


def _variables(scope: dict[str, Any]) -> dict[Any, str]:
    return {value.node: name for name, value in scope.items()
            if isinstance(value, Tensor) and value.node is not None and not _is_part(value)}


def _is_part(t: Tensor) -> bool:
    return t.size * t.dtype.itemsize != t.node.nbytes


@contextmanager
def uncollected() -> Iterator[None]:
    """Context without garbage collection, for making very many objects that all stay."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
