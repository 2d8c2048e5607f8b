"""The works of ops.py in PyTorch eager: a call that records its history, and torch.autograd.grad of its results."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import op_works as works
from worker import Way


def begin(threads: int) -> str:
    """Set the threads; the version."""
    import torch

    torch.set_num_threads(threads)
    return torch.__version__


@lru_cache(1)
def names() -> dict[str, Any]:
    """What expressions find here."""
    import torch

    def cells(function: Any, states: int) -> Any:
        def layer(x: Any, w_ih: Any, w_hh: Any) -> Any:
            h = torch.zeros(1, x.shape[1], w_hh.shape[1], dtype=x.dtype)
            found = function(x, (h, h) if states == 2 else h, [w_ih, w_hh], False, 1, 0.0, True, False, False)
            return found[0]

        return layer

    return {"T": works.Library(torch.nn.functional, torch, torch.special), "LSTM": cells(torch._VF.lstm, 2),
            "GRU": cells(torch._VF.gru, 1), "RNN": cells(torch._VF.rnn_tanh, 1),
            "FFT": lambda x: torch.view_as_real(torch.fft.fft(torch.view_as_complex(x))),
            "RFFT": lambda x: torch.view_as_real(torch.fft.rfft(x))}


@lru_cache(1)
def _eager(work: works.Work) -> tuple[Any, ...]:
    """The call, its arrays, its results and those of them that have gradients."""
    import torch

    torch.manual_seed(0)
    arrays = {letter: torch.from_numpy(array) for letter, array in work.arrays().items()}
    inputs = [t.requires_grad_(True) for letter, t in arrays.items() if letter in works.FLOATS]
    call = work.evaluated(names())
    result = call(arrays)
    results = [t for t in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(t, torch.Tensor)]
    differentiable = [t for t in results if t.requires_grad]
    given = [torch.from_numpy(works.weights(tuple(t.shape), work.dtype)) for t in differentiable]

    def reverse() -> Any:
        return torch.autograd.grad(differentiable, inputs, given, retain_graph=True, allow_unused=True)

    return lambda: call(arrays), reverse if differentiable else None, results, inputs


def eager(direction: str) -> Any:
    """Makes a work ready, forward or in reverse."""

    def make(work: works.Work) -> Way:
        import torch

        forward, reverse, results, inputs = _eager(work)
        call = forward if direction == "forward" else reverse
        if call is None:
            raise ValueError("no gradients")
        found = reverse() if reverse else ()
        gradients = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found)]

        def run(count: int) -> None:
            for _ in range(count):
                call()

        return Way([], {"results": works.digest([t.detach().numpy() for t in results]),
                        "gradients": works.digest([g.numpy() for g in gradients])}, run)

    return make


WAYS = {f"PyTorch, {direction}": (lambda work: True, eager(direction)) for direction in ("forward", "reverse")}
