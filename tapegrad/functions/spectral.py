"""Singular vectors of a weight that a module keeps, followed by power iteration."""

from __future__ import annotations

from ..engine.storage import Changes
from ..engine.writers import Writing
from ..ops.spectral import POWER
from ..tape.state import state
from ..tensor.recording import recorder
from ..tensor.tensor import Tensor


def power_iteration(weight: Tensor, u: Tensor, v: Tensor, iterations: int, eps: float,
                    left_first: bool) -> tuple[Tensor, Tensor]:
    """Nearer singular vectors, without history; `u` and `v` are overwritten by them, in each replay of a recording too.

    Parameters
    ----------
    weight : Tensor, (h, w)
    u, v : Tensor, (h,), (w,)
        Buffers of a module, of length 1.
    iterations : int
    eps : float
        Least length that is divided by.
    left_first : bool
        Whether an iteration finds u of v, and then v, rather than v first.
    """
    rows, columns = weight.shape
    states = [u.buffer, v.buffer]
    for buffer in states:
        Changes.unmark(buffer)

    def run() -> Tensor:
        return recorder(POWER)((rows + columns,), dtype=weight.dtype, always=True, w=weight, u=u, v=v, rows=rows,
                               columns=columns, iterations=iterations, eps=eps, left_first=left_first, follows=True)

    if state.capture is not None:
        y = run()
    else:
        with Writing(states):
            y = run()
            Changes.overwritten(states)
    return y[:rows], y[rows:]
