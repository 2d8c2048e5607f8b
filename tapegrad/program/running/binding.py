"""Zero-copy binding: large arguments are read, and large gradients written, in arrays outside of the arena.

Their addresses are patched into the rows at each call, which costs less than a copy.
"""

from __future__ import annotations

import numpy as np

from ...engine.storage import address_of
from ...tensor.tensor import Tensor
from .protocols import Linked

LEAST_BYTES = 1 << 17  # of an array that is bound rather than copied


class Place:
    """The occurrences of one array's address in a recording.

    Parameters
    ----------
    t : Tensor
        A whole variable of the recording.
    words : list of (ndarray, list of int)
    addresses : ndarray of int64
        The tape's byte addresses of values or of adjoints, by variable.
    """

    def __init__(self, t: Tensor, words: list[tuple[np.ndarray, list[int]]], addresses: np.ndarray) -> None:
        self.shape, self.dtype, self._variable, self._addresses = t.shape, t.dtype, t.node.variable, addresses
        self._words = [(array, np.array(indices, np.int64)) for array, indices in words]
        self.home = self._present = int(addresses[self._variable])

    def lie(self, address: int) -> None:
        """Patch in this byte address."""
        moved = (address - self._present) // self.dtype.itemsize
        if moved:
            for array, indices in self._words:
                array[indices] += moved
            self._addresses[self._variable] = self._present = address

    def fits(self, array: np.ndarray) -> bool:
        """Whether the recording could read this array in place."""
        return (array.dtype == self.dtype and array.shape == self.shape and array.flags.c_contiguous
                and array.flags.aligned and (address_of(array) - self.home) % self.dtype.itemsize == 0)

    def take(self, array: np.ndarray) -> bool:
        """Bind this array if possible, else the arena's; returns whether it is bound."""
        fits = self.fits(array)
        self.lie(address_of(array) if fits else self.home)
        return fits

    def new(self) -> np.ndarray:
        """Bind a new array for the next run to write into."""
        array = np.empty(self.shape, self.dtype)
        self.lie(address_of(array))
        return array


def places_of(program: Linked) -> tuple[dict[int, Place], dict[int, Place]]:
    """The places of large arguments by their number, and of large gradients by their variable.

    Left out are aliases, arguments that are returned as they are, and parts of variables.
    """
    results = {t.node.variable for t in program.outputs if t.is_symbolic}
    merges = program.lives.sharing
    taken = {False: {*merges.values[:, :2].ravel().tolist(), *results},
             True: {*merges.adjoints[:, :2].ravel().tolist()}}
    wanted = [(False, t) for t in program.inputs] + [(True, t) for t in program.gradients_of]
    large = {(adjoint, t.node.variable): t for adjoint, t in wanted
             if t.nbytes >= LEAST_BYTES and t.node.variable not in taken[adjoint]}
    for rows in program.group_rows if large else ():
        for key in rows.fixed:
            large.pop(key, None)
    words = _words_of(program, large) if large else {}
    tape = program.tape
    arguments = {k: Place(t, words[False, t.node.variable], tape._value) for k, t in enumerate(program.inputs)
                 if (False, t.node.variable) in large}
    gradients = {t.node.variable: Place(t, words[True, t.node.variable], tape._adjoint) for t in program.gradients_of
                 if (True, t.node.variable) in large and tape._adjoint[t.node.variable]}
    return arguments, gradients


def _words_of(program: Linked, wanted: dict[tuple[bool, int], Tensor]) -> dict[
        tuple[bool, int], list[tuple[np.ndarray, list[int]]]]:
    tape = program.tape
    found: dict[tuple[bool, int], list[tuple[np.ndarray, list[int]]]] = {key: [(tape._words, [])] for key in wanted}
    for n in sorted(set(program.rows)):
        first, last, at = int(tape._operand_start[n]), int(tape._operand_start[n + 1]), int(tape._start[n])
        for j, v in enumerate(tape._variable[first:last].tolist()):
            for adjoint in (False, True):
                word = at + 1 + 2 * j + adjoint
                if (adjoint, v) in found and (not adjoint or tape._words[word]):
                    found[adjoint, v][0][1].append(word)
    for v, index in program.tasks.places:
        if (True, v) in found:
            found[True, v].append((program.tasks.clears.reshape(-1), [index]))
    for rows in program.group_rows:
        for adjoint, v, array, index in rows.places:
            if (adjoint, v) in found:
                found[adjoint, v].append((array, [index]))
    return found
