"""The works of ops.py as recorded instructions: the compiled walk over them, forward or in reverse, in place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import op_works as works
from worker import Way


def begin(threads: int) -> str:
    """Set the threads; the version."""
    import tapegrad as tg

    tg.set_num_threads(threads)
    return tg.__version__


@lru_cache(1)
def names() -> dict[str, Any]:
    """What expressions find here."""
    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad.functions.recurrence import gru_layer, lstm_layer, rnn_layer

    return {"T": works.Library(F, tg, tg.functions), "FFT": tg.fft.fft, "RFFT": tg.fft.rfft,
            "LSTM": lambda *given: lstm_layer(*given)[0], "GRU": lambda *given: gru_layer(*given)[0],
            "RNN": lambda *given: rnn_layer(*given)[0]}


class Recording:
    """A work's own instructions, without those that make a scalar of its results.

    Attributes
    ----------
    program : Program
        Every value and adjoint has a place of its own, so that parts can run again and again.
    count : int
        Instructions of the call, the first ones of the tape.
    forward, reverse : tuple of int
        The first task of the walk, and the one behind the last.
    """

    def __init__(self, work: works.Work) -> None:
        import numpy as np

        import tapegrad as tg
        from tapegrad.program.capture import Capture
        from tapegrad.program.running.program import Program, scalar_seed

        tg.manual_seed(0)
        dtype, arrays = np.dtype(work.dtype), work.arrays()
        with Capture(dtype, set()) as capture:
            given = {letter: capture.input(a.shape, a.dtype, letter in works.FLOATS) for letter, a in arrays.items()}
            result = work.evaluated(names())(given)
            self._outputs = [t for t in (result if isinstance(result, (tuple, list)) else [result])
                             if isinstance(t, tg.Tensor)]
            self._inputs = [given[letter] for letter in arrays if letter in works.FLOATS]
            parts = [tg.vdot(t.reshape(-1), works.weights(t.shape, dtype).ravel()) for t in self._outputs
                     if t.is_floating and t.requires_grad]
            seed = scalar_seed(sum(parts[1:], parts[0]), "a call") if parts else None
            program = Program(capture, list(given.values()), [*self._outputs, *([] if seed is None else [seed])], seed,
                              self._inputs if parts else ())
        self.program = program.keeping()
        self.program.give(list(arrays.values()))
        self.program.draw()
        self.program.run()
        made = {t.node.variable for t in self._outputs if t.is_symbolic}
        tape, first = self.program.tape, self.program.tasks.first.tolist()
        self.count = max([n + 1 for n in range(tape.count) if int(tape._variable[tape._operand_start[n]]) in made],
                         default=0)
        if not self.count:
            raise ValueError("no instruction: a view, or constant")
        beyond = [event.instruction >= self.count for event in self.program.events]
        self.forward = first[0], first[self.count]
        self.reverse = first[tape.count + sum(beyond)], first[-1]

    def digest(self) -> dict[str, Any]:
        """Of results and gradients, as the other libraries give them; names of ops; bytes and multiply-adds."""
        from tapegrad.ops.table import OPS
        from tapegrad.program.planning.work import work_of

        array, gradient = self.program.array, self.program.gradient
        wanted = self._inputs if self.program.seed is not None else ()
        codes = set(self.program.tape._opcode[:self.count].tolist())
        own = work_of(self.program.tape)[:self.count]
        return {"ops": sorted({OPS[code].name for code in codes}),
                "forward": [sum(w.forward_bytes for w in own), sum(w.forward_products for w in own)],
                "reverse": [sum(w.reverse_bytes for w in own), sum(w.reverse_products for w in own)],
                "results": works.digest([array(t) if t.is_symbolic else t.numpy() for t in self._outputs]),
                "gradients": works.digest([gradient(t) for t in wanted])}


last = lru_cache(1)(Recording)


def recorded(direction: str) -> Any:
    """Makes a work ready, forward or in reverse."""

    def make(work: works.Work) -> Way:
        recording = last(work)
        begin, end = getattr(recording, direction)
        if begin == end:
            raise ValueError("nothing to run")
        walk = recording.program.run

        def run(count: int) -> None:
            for _ in range(count):
                walk(begin, end)

        return Way([], recording.digest(), run)

    return make


WAYS = {f"tapegrad, {direction}": (lambda work: True, recorded(direction)) for direction in ("forward", "reverse")}
