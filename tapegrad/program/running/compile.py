"""`tg.compile`: a function recorded at its first call with a signature, replayed from then on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from ...engine.caller import user_line
from ...engine.locks import Lock
from ...engine.threads.team import at_most
from ...engine.tree import flatten, own, unflatten
from ...engine.writers import Writing
from ...errors import CaptureError, DtypeError
from ...tape.state import state
from ...tensor.arrays import DEFAULT_DTYPE, FLOAT32, FLOAT64
from ...tensor.copies import by_name_or
from ...tensor.tensor import Tensor
from ..capture import Capture
from ..conditions import KEPT, Conditions
from ..planning.report import Rows
from .arguments import as_input, float_dtype, signature_of
from .pace import Pace
from .program import Program
from .timing import time_instructions

#: seconds that a program is expected to take at least for its threads to be watched
SHORT = 5e-5


class _Recording:
    """The program of one signature, and how its results are presented.

    Attributes
    ----------
    key : object
        Shapes and dtypes of the arguments, and their structure.
    idle : list of Program
        Instances of the program (see `Program.twin`) that no call is running.
    writes : bool
        Whether it writes to anything outside of its arena.
    pace : Pace or None
        Whether it runs on one thread; None for a program so short that threads share little of it.
    """

    key: Any = None

    def __init__(self, program: Program, conditions: Conditions, present: Callable[[Program], Any]) -> None:
        self.program, self.conditions, self.present = program, conditions, present
        self.idle, self.writes = [program], bool(program.written)
        self.pace = None if self.writes or program.expected_seconds < SHORT else Pace()

    def watched(self, pace: Pace, program: Program, arrays: list[np.ndarray]) -> None:
        """Run the program, or an instance of it, on these arguments; see how long it takes."""
        began = time.perf_counter()
        if pace.alone:
            with at_most(1, program.tape.dtype):
                program.call(arrays)
        else:
            program.call(arrays)
        pace.took(1, time.perf_counter() - began)


def _array(result: np.ndarray) -> Any:
    """A copy for the caller; of one number, NumPy's scalar."""
    return result.copy()[()]


class CompiledFunction:
    """A function that replays its recordings; made by `compile`.

    Attributes
    ----------
    recordings : int
        Number of recordings so far.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._transformation = getattr(function, "trace", None)
        self._kept: dict[Any, tuple[_Recording, ...]] = {}
        self._last: _Recording | None = None
        self.recordings = 0
        self._lock = Lock()
        update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call with the function's own arguments."""
        if state.capture is not None:
            raise CaptureError(f"{user_line()}: a compiled function called from a function that is being recorded; "
                               "call the plain function instead")
        if state.transforming:
            return self._plainly(args, kwargs)
        arrays, key = self._given(args, kwargs)
        recording = self._last  # mostly it is the last one again, which is found without a hash of the key
        if recording is None or recording.key != key or not recording.conditions.hold():
            recording = self._last = self._fitting(key) or self._recording_for(key, arrays, args, kwargs)
        try:
            program = recording.idle.pop()
        except IndexError:  # all are running, in other threads or further up the stack
            program = recording.program.twin()
        try:
            if recording.writes:
                with Writing(program):
                    program.call(arrays)
            elif recording.pace is None:
                program.call(arrays)
            else:
                recording.watched(recording.pace, program, arrays)
            return recording.present(program)
        finally:
            recording.idle.append(program)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[np.ndarray], Any]:
        """The arrays among the arguments, and what tells recordings apart."""
        if kwargs or any([type(value) is not np.ndarray for value in args]):
            leaves, structure = flatten((args, kwargs))
        else:
            leaves, structure = list(args), len(args)  # quicker, and enough to tell calls apart
        whole = self._transformation is not None
        arrays = [as_input(leaf, whole) for leaf in leaves]
        return arrays, (signature_of(arrays), structure)

    def profile(self, *args: Any, seconds: float = 0.5, **kwargs: Any) -> Rows:
        """Microseconds of each instruction of a call, forward and in reverse.

        Parameters
        ----------
        *args, **kwargs
            The function's own arguments.
        seconds : float, default 0.5
            About how long to measure.

        Returns
        -------
        Rows
            Prints as a table, iterates over its rows as dicts.

        Examples
        --------
        >>> import numpy as np, tapegrad as tg
        >>> table = tg.compile(lambda x: tg.sin(x).sum()).profile(np.ones(1000), seconds=0.01)
        >>> [row["op"] for row in table]
        ['sin', 'sum']
        """
        if state.capture is not None:
            raise CaptureError(f"{user_line()}: a profile is measured outside of recordings")
        arrays, key = self._given(args, kwargs)
        recording = self._fitting(key) or self._recording_for(key, arrays, args, kwargs)
        program = recording.program.twin()  # no call may run it meanwhile
        with Writing(program):
            return time_instructions(program, arrays, seconds)

    def _recording_for(self, key: Any, arrays: list[np.ndarray], args: Any, kwargs: Any) -> _Recording:
        """A new recording, or the one that another thread has made meanwhile."""
        with self._lock.now:
            recording = self._fitting(key)
            if recording is None:
                recording = self._record(arrays, flatten((args, kwargs))[1])
                recording.key = key
                self._kept[key] = (*self._kept.get(key, ()), recording)[-KEPT:]
            return recording

    def _fitting(self, key: Any) -> _Recording | None:
        """A recording of this signature whose guards hold."""
        return next((recording for recording in self._kept.get(key, ()) if recording.conditions.hold()), None)

    def _plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's own result, define-by-run: a replay would cut the gradient of a transformation around it."""
        if self._transformation is None:
            leaves, structure = flatten((args, kwargs))
            arrays = [None if isinstance(leaf, Tensor) else as_input(leaf) for leaf in leaves]
            dtype = float_dtype([a for a in arrays if a is not None]) or DEFAULT_DTYPE
            tensors = [leaf if a is None else Tensor(a, dtype if a.dtype.kind == "f" else None)
                       for leaf, a in zip(leaves, arrays)]
            args, kwargs = unflatten(structure, tensors)
        return self._function(*args, **kwargs)

    def _record(self, arrays: list[np.ndarray], structure: Any) -> _Recording:
        given = float_dtype(arrays)
        dtype = given or DEFAULT_DTYPE
        try:
            return self._record_as(dtype, arrays, structure, given is not None)
        except DtypeError as error:
            try:  # the parameters' dtype takes precedence
                return self._record_as(FLOAT64 if dtype == FLOAT32 else FLOAT32, arrays, structure)
            except DtypeError:
                raise error from None

    @Capture.ends
    def _record_as(self, dtype: np.dtype, arrays: list[np.ndarray], structure: Any, mixes: bool = True) -> _Recording:
        self.recordings += 1
        with Capture(dtype, function=self._function) as capture:
            capture.mixes = mixes
            inputs = [capture.input(a.shape, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]
            if self._transformation is not None:
                program, present = self._transformation(capture, inputs, structure)
            else:
                args, kwargs = unflatten(structure, inputs)
                outputs, shape = flatten(self._function(*args, **kwargs))
                tensors = [t for t in outputs if isinstance(t, Tensor)]
                program = Program(capture, inputs, tensors)

                made = _array if getattr(self._function, "gives_arrays", False) else Tensor._of_array
                plain = None if len(tensors) == len(outputs) else outputs

                def present(program: Program) -> Any:
                    found = [made(array) for array in program.results()]
                    if plain is not None:
                        rest = iter(found)
                        found = [next(rest) if isinstance(t, Tensor) else own(t) for t in plain]
                    return unflatten(shape, found)

        return _Recording(program, capture.conditions(capture.leaves), present)

    def __reduce__(self) -> Any:
        return by_name_or(self, (type(self), (self._function,)))

    @property
    def tape(self) -> Any:
        """The tape of the recording that ran last; prints as the listing."""
        return None if self._last is None else self._last.program.tape


def compile(function: Callable) -> CompiledFunction:
    """Record `function` once for every signature of its arguments and replay it as one compiled call.

    Parameters
    ----------
    function : callable
        Over arrays or tensors (or nested lists, tuples and dicts of them), or a transformation such as
        ``tg.value_and_grad(f)``.

    Returns
    -------
    CompiledFunction
        Called like `function`. It records anew when shapes, dtypes, the set of frozen parameters or anything assigned
        to a module that it calls or refers to change. Gradients do not flow through its results, so it refuses
        tensors that require one: compile a transformation instead. Within a function that is being differentiated it is
        the plain function.

    Raises
    ------
    CaptureError
        At the first call, if the function reads a value that depends on its inputs.

    Notes
    -----
    Threads may call it at the same time: each running call has an arena of its own, which is kept for later calls.
    Calls that update running statistics (batch norm) take turns.

    The guards do not see changes to: NumPy arrays and Python values that it reads from globals, from its closure or
    from objects that are no modules; the inside of a module's attribute (``self.weights[0] = 2.0`` of a list or an
    array; assign the attribute instead); class attributes; time, files and random numbers of NumPy and Python, of which
    a warning is given. They stay as they were when the function was recorded: pass them as arguments. Side effects of
    the function (printing, counting, assigning attributes) happen while recording only.

    A copy or pickle is made of `function` and records anew; a decorated function is pickled by its name.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> fast = tg.compile(tg.value_and_grad(lambda w: tg.sum(w * w)))
    >>> value, gradient = fast(np.array([1.0, 2.0]))
    >>> float(value), gradient.tolist()
    (5.0, [2.0, 4.0])
    """
    if not callable(function):
        raise DtypeError(f"compile needs a function, not {type(function).__name__}")
    return CompiledFunction(function)
