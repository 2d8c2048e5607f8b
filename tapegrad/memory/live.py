"""Memory of a thread's define-by-run tapes at present."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..program.planning.report import Rows
from ..tape.nodes import Leaf
from ..tape.state import state
from ..tape.tape import Tape


@dataclass(frozen=True)
class LiveMemory:
    """Memory of the calling thread's tapes, in bytes.

    Attributes
    ----------
    parameter_bytes, gradient_bytes : int
        Leaves that the tapes read, and their gradients, wherever they are stored.
    activation_bytes : int
        Values saved for the reverse walk, without leaves.
    data_bytes : int
        Arrays of the user that are saved for the reverse walk.
    temporary_bytes : int
        Other buffers in use: values that a user holds, adjoints, other gradients.
    held_bytes : int
        Obtained from the operating system for buffers, in use or not.
    peak_bytes : int
        High-water mark of buffers in use.
    instruction_bytes : int
        The tapes' instruction arrays.
    instructions : int
        Instructions on the tapes.
    """

    parameter_bytes: int
    gradient_bytes: int
    activation_bytes: int
    data_bytes: int
    temporary_bytes: int
    held_bytes: int
    peak_bytes: int
    instruction_bytes: int
    instructions: int

    def __str__(self) -> str:
        return str(Rows(("", ""), tuple((name.removesuffix("_bytes").replace("_", " ")
                                         + (" bytes" if name.endswith("_bytes") else ""), value)
                                        for name, value in asdict(self).items()))).lstrip("\n")

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self))


def memory_report() -> LiveMemory:
    """Memory of the calling thread's define-by-run tapes, by kind.

    Returns
    -------
    LiveMemory

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> before = tg.memory_report()
    >>> w = tg.tensor(np.zeros(1000, np.float32), requires_grad=True)
    >>> loss = tg.sum(tg.tanh(w))                    # tanh keeps its output
    >>> report = tg.memory_report()
    >>> report.parameter_bytes - before.parameter_bytes, report.activation_bytes - before.activation_bytes
    (4000, 4096)
    """
    tapes = {id(tape): tape for tape in (*state.defaults.values(), *state.entered)}.values()
    parts = [_of_tape(tape) for tape in tapes]
    return LiveMemory(*(sum(column) for column in zip(*parts))) if parts else LiveMemory(*(0,) * 9)


def _of_tape(tape: Tape) -> tuple[int, ...]:
    live = tape.live_bytes
    leaves = [source for source in tape._externals if isinstance(source, Leaf)]
    gradients = {id(leaf.gradient): leaf.nbytes for leaf in leaves if leaf.gradient is not None}
    outside = {id(leaf.buffer) for leaf in leaves}
    kept = {id(b): b for saved in tape.saved if saved for b in saved if id(b) not in outside}
    activation = sum(b.nbytes for b in kept.values() if tape.storage.owns(b))
    data = sum(b.nbytes for b in kept.values() if not tape.storage.owns(b))
    storage = tape.storage
    return (sum(leaf.nbytes for leaf in leaves), sum(gradients.values()), activation, data, live - activation,
            storage.held_bytes, storage.peak_bytes, tape.instruction_bytes, len(tape))
