"""Prints a failing program as a script that needs tapegrad alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import numpy as np

from . import ways
from .judge import SEED
from .program import BUFFER, CONSTANT, INPUT, LEAF, Program
from .setting import Setting
from .world import World, Wrong

SHORT = 1, 2  # bytes of a strip, which become a whole unit, and the fewest strips: short ones

_HEAD = """\
from __future__ import annotations
import re
import numpy as np
import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import optim
from tapegrad.functions import recurrence as layers

DTYPE, RATE = np.{dtype}, {rate}
tg.set_num_threads({threads})
"""

_CHECK = """
class Shown(Setting):
    \"\"\"Prints the number that is wrong.\"\"\"

    def check(self, numbers, frozen=(), leaves=None, micro=1, **found):
        for what, value in self.found(**found).items():
            self.turns[what] = self.turns.get(what, -1) + 1
            if (what, self.turns[what]) == ({what!r}, {turn}):
                print(what, "is", value.ravel()[{worst}], "must be", {expected})

    check_sum = check_mean = check_path = check
    turns: dict = {{}}
"""


def script(program: Program, world: World, way: Callable, wrong: Exception, threads: int = 1,
           short: bool = False) -> str:
    """The text; what it prints is the number that `wrong` names."""
    text = [_HEAD.format(dtype=world.dtype.__name__, rate=ways.RATE, threads=threads)]
    if short:
        text.append("from tapegrad.program.planning import strips\n"
                    f"strips.STRIP_BYTES, strips.FEWEST_STRIPS = {SHORT}  # small arrays run in strips, too\n")
    tensors = {LEAF: "requires_grad=True", BUFFER: "", CONSTANT: ""}
    for a in program.arrays.values():
        if a.role in tensors:
            value = f"({a.text()})" + (".astype(DTYPE)" if a.kind == "float" else "")
            text.append(f"{a.name} = {value}" if a.plain else f"{a.name} = tg.tensor({value}"
                        f"{', ' if tensors[a.role] else ''}{tensors[a.role]})")
    text += ["", "", program.source(), "", ""]
    leaves, inputs = [a.name for a in program.leaves], [a.name for a in program.of(INPUT)]
    text.append(f"def function({', '.join(leaves + inputs)}):")
    text += [f"    {line}" for line in program.source().splitlines()]
    text += [f"    return loss_fn({', '.join(inputs)})", "", ""]
    batches = [[f"({a.text(t)})" + (".astype(DTYPE)" if a.kind == "float" else "") for a in program.inputs]
               for t in range(4)]
    text.append("BATCHES = [" + ",\n           ".join(f"[{', '.join(b)}]" for b in batches) + "]")
    text += ["", "", inspect.getsource(Setting), ""]
    source = inspect.getsource(way)
    if way is not ways.step and re.search(r"\bstep\(w", source):
        text += [inspect.getsource(ways.step), ""]
    text += [source]
    if isinstance(wrong, Wrong):
        shown = np.ravel(wrong.expected)[wrong.worst] if np.shape(wrong.found) == np.shape(wrong.expected) else "?"
        text.append(_CHECK.format(what=wrong.what, turn=wrong.turn, worst=wrong.worst, expected=repr(float(shown))
                                  if shown != "?" else repr(f"of shape {np.shape(wrong.expected)}")))
    else:
        text.append(_CHECK.format(what="", turn=0, worst=0, expected=0))

    def named(names):
        return "{" + ", ".join(f'"{n}": {n}' for n in names) + "}"

    buffers = [a.name for a in program.of(BUFFER)]
    text.append(f"LEAVES, BUFFERS = {named(leaves)}, {named(buffers)}")
    text.append("FIRST = {n: t.detach().numpy() for n, t in (LEAVES | BUFFERS).items()}")
    text.append(f"{way.__name__}(Shown(loss_fn, function, LEAVES, BUFFERS, FIRST, lambda t: BATCHES[t], "
                f"{world.frozen!r}, {SEED}))")
    return "\n".join(text) + "\n"
