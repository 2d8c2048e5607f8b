"""Row-sparse gradients: leaves (tables) whose reverse walk lists the rows that it touches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..engine.walks.touched import TouchedRows
from ..engine.walks.walk import LEAF_ADDED, LEAF_REACHED, STORABLE, WANTED
from ..ops.table import OPS

__all__ = ["begin_lists", "link_lists", "list_rows_of"]


def list_rows_of(leaf: Any) -> None:
    """List the rows of a table that its gradient touches, from the next reverse walk on."""
    if leaf.touched is None:
        leaf.touched = TouchedRows(*leaf.shape)


def link_lists(tape: Any, leaves: Sequence[tuple[Any, int]], end: int, apart: Collection[Any] = ()) -> set[Any]:
    """Link instructions before `end` that list rows to the lists of their leaves, once the reverse walk is planned.

    Parameters
    ----------
    tape : Tape
    leaves : sequence of (Leaf, variable)
    end : int
    apart : collection of Leaf
        Those whose adjoints are not accumulated into their gradients.

    Returns
    -------
    set of Leaf
        Those all of whose contributions are listed. Instructions of the others list nothing.
    """
    found = set()
    for leaf, v in leaves:
        if leaf.touched is None or tape._state[v] not in (LEAF_REACHED, LEAF_ADDED):
            continue
        operands = int(tape._operand_start[end])
        places = np.flatnonzero((tape._variable[:operands] == v) & (tape._flags[:operands] & WANTED != 0))
        numbers = np.searchsorted(tape._operand_start[:end + 1], places, "right") - 1
        live = tape._live[numbers] != 0
        places, numbers = places[live], numbers[live].tolist()
        words = [OPS[code].lists for code in tape._opcode[numbers].tolist()]
        if leaf not in apart and all(words) and (tape._flags[places] & STORABLE).all():
            found.add(leaf)
        for n, word in zip(numbers, words):
            if word:
                tape._words[tape._start[n] + word] = leaf.touched.address if leaf in found else 0
    return found


def begin_lists(tape: Any, leaves: Sequence[tuple[Any, int]], end: int, gradients: dict[Any, Any],
                apart: Collection[Any]) -> None:
    """`link_lists` for the next walk; `gradients` are the buffers of leaves that had none before."""
    if any(leaf.touched is not None for leaf, _ in leaves):
        listed = link_lists(tape, leaves, end, apart)
        for leaf, v in leaves:
            if leaf.touched is not None and leaf not in apart and tape._state[v] in (LEAF_REACHED, LEAF_ADDED):
                leaf.touched.describe(gradients.get(leaf) or leaf.gradient, leaf in listed)
