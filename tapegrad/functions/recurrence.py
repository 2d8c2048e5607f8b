"""Recurrent layers of one direction, over all time steps in one instruction."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.products.product import gemm_address
from ..errors import ShapeError
from ..ops.cells import GRU, LSTM, RNN
from ..ops.recurrence import BLOCK
from ..ops.table import Op
from ..tape.state import state
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from .formulas import sigmoid, tanh
from .layout import stack
from .linalg import linear
from .scratch import scratch

__all__ = ["gru_layer", "lstm_layer", "projected_lstm_layer", "rnn_layer"]

#: by op, the rows of its weights for each unit
_GATES = {RNN: 1, GRU: 3, LSTM: 4}

#: samples up to which a step's products do not use BLAS, by the size of an element
_FEW = {4: 16, 8: 8}


def rnn_layer(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None, h0: Any = None, *,
              nonlinearity: str = "tanh", reverse: bool = False) -> tuple[Tensor, Tensor]:
    """``h_t = tanh(weight_ih x_t + bias_ih + weight_hh h_(t-1) + bias_hh)`` (Elman 1990).

    Parameters
    ----------
    x : array_like, (T, N, I)
        N samples of T steps, at least one.
    weight_ih : array_like, (H, I)
    weight_hh : array_like, (H, H)
    bias_ih, bias_hh : array_like, (H,), optional
        Both or neither.
    h0 : array_like, (N, H), optional
        Zeros if not given.
    nonlinearity : {"tanh", "relu"}
    reverse : bool
        Whether to go from the last step to the first; results stay in the order of `x`.

    Returns
    -------
    output : Tensor, (T, N, H)
    h_n : Tensor, (N, H)
        The state after the step that was computed last; a view of `output`.
    """
    y = layer(RNN, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, None, reverse, nonlinearity == "relu")
    return y, _last(y, y.shape[0], reverse)


def gru_layer(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None, h0: Any = None, *,
              reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Gated recurrent units (Cho et al. 2014), with the reset gate applied after the product, as in PyTorch.

    ``r, z = sigmoid``, ``n = tanh(w_in x_t + b_in + r (w_hn h + b_hn))``, ``h_t = (1 - z) n + z h_(t-1)``.

    Parameters
    ----------
    x : array_like, (T, N, I)
    weight_ih : array_like, (3 H, I)
        Rows of r, z, n.
    weight_hh : array_like, (3 H, H)
    bias_ih, bias_hh : array_like, (3 H,), optional
    h0, reverse
        As for `rnn_layer`.

    Returns
    -------
    output : Tensor, (T, N, H)
    h_n : Tensor, (N, H)
    """
    y = layer(GRU, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, None, reverse)
    return y, _last(y, y.shape[0], reverse)


def lstm_layer(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None, h0: Any = None,
               c0: Any = None, *, reverse: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    ``i, f, o = sigmoid``, ``g = tanh``, ``c_t = f c_(t-1) + i g``, ``h_t = o tanh(c_t)``.

    Parameters
    ----------
    x : array_like, (T, N, I)
    weight_ih : array_like, (4 H, I)
        Rows of i, f, g, o.
    weight_hh : array_like, (4 H, H)
    bias_ih, bias_hh : array_like, (4 H,), optional
    h0, c0 : array_like, (N, H), optional
        Zeros if not given.
    reverse : bool
        As for `rnn_layer`.

    Returns
    -------
    output : Tensor, (T, N, H)
    h_n, c_n : Tensor, (N, H)
        The states after the step that was computed last. All three are views of one buffer.
    """
    y = layer(LSTM, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, reverse)
    steps = y.shape[0] - 1
    return y[:steps], _last(y, steps, reverse), y[steps]


def projected_lstm_layer(x: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, weight_hr: Any,
                         h0: Any = None, c0: Any = None, *, reverse: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """`lstm_layer` with ``h_t = weight_hr (o tanh(c_t))`` (Sak et al. 2014), of several instructions a step.

    Parameters
    ----------
    x : array_like, (T, N, I)
    weight_ih, bias_ih, bias_hh, c0, reverse
        As for `lstm_layer`.
    weight_hh : array_like, (4 H, P)
    weight_hr : array_like, (P, H)
    h0 : array_like, (N, P), optional

    Returns
    -------
    output : Tensor, (T, N, P)
    h_n : Tensor, (N, P)
    c_n : Tensor, (N, H)
    """
    x, w_ih, w_hh, w_hr = lift(x, weight_ih, weight_hh, weight_hr)
    steps, samples = x.shape[:2]
    features, units = w_hr.shape
    if steps == 0:
        raise ShapeError(f"lstm: an input of shape {list(x.shape)} has no steps; at least one is needed")
    bias = None if bias_ih is None else bias_ih + bias_hh
    inputs = linear(x, w_ih, bias)
    h = Tensor(np.zeros((samples, features), x.dtype)) if h0 is None else h0
    c = Tensor(np.zeros((samples, units), x.dtype)) if c0 is None else c0
    outputs: list[Tensor] = [h] * steps
    for k in reversed(range(steps)) if reverse else range(steps):
        gates = inputs[k] + linear(h, w_hh)
        i, f, g, o = (gates[:, j * units:(j + 1) * units] for j in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = outputs[k] = linear(sigmoid(o) * tanh(c), w_hr)
    return stack(outputs), h, c


def _last(y: Tensor, steps: int, reverse: bool) -> Tensor:
    return y[0 if reverse else steps - 1]


def layer(op: Op, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, h0: Any, c0: Any, reverse: bool,
           relu: bool = False) -> Tensor:
    """The op's output: the hidden states of all steps, and for the LSTM the last cells."""
    gates = _GATES[op]
    given = [v for v in (x, w_ih, w_hh, b_ih, b_hh, h0, c0) if v is not None]
    tensors = iter(lift(*given))
    x, w_ih, w_hh = next(tensors), next(tensors), next(tensors)
    rows, units = w_hh.shape if w_hh.ndim == 2 else (0, 0)
    if x.ndim != 3 or units < 1 or rows != gates * units or w_ih.shape != (rows, x.shape[2]):
        raise ShapeError(f"{op.name}: an input of shape {list(x.shape)} does not fit weights of {list(w_ih.shape)} and "
                         f"{list(w_hh.shape)}; expected (steps, samples, inputs), ({gates} units, inputs) and "
                         f"({gates} units, units)")
    steps, samples, inputs = x.shape
    if steps == 0:
        raise ShapeError(f"{op.name}: an input of shape {list(x.shape)} has no steps; at least one is needed")
    if (b_ih is None) != (b_hh is None):
        raise ShapeError(f"{op.name}: bias_ih and bias_hh go together; give both or neither")
    rest: dict[str, Any] = {}
    for name, label, v, shape in (("b_ih", "bias_ih", b_ih, (rows,)), ("b_hh", "bias_hh", b_hh, (rows,)),
                                  ("h0", "h0", h0, (samples, units)), ("c0", "c0", c0, (samples, units))):
        if v is None:
            absent = name == "c0" and op is not LSTM or name[0] == "b"
            rest[name] = None if absent else Tensor(np.zeros(shape, x.dtype))
            continue
        t = rest[name] = next(tensors)
        if t.shape != shape:
            raise ShapeError(f"{op.name}: a {label} of shape {list(t.shape)} does not fit an input of {list(x.shape)} "
                             f"and {units} units; expected {list(shape)}")
    differentiated = (x, w_ih, w_hh, *(t for t in rest.values() if t is not None))
    kept = any(state.wants(t) for t in differentiated)
    width = 1 if op is RNN else 4
    block = min(max(BLOCK // max(samples * width * units, 1), 1), steps)
    row, size = max(samples * units, 1), x.dtype.itemsize
    working = scratch(op, (block * width + 2) * row, *differentiated) if kept else None
    gate_rows = 0 if op is RNN else width * (steps if kept else block)
    cell_rows = 0 if op is not LSTM else steps if kept else 1
    direct = 0 < samples <= _FEW[size] and steps > 3
    # an adjoint stores that of the input block by block, so no other operand may alias it
    shared = len({id(t.node) for t in differentiated if t.node is not None}) < sum(
        t.node is not None for t in differentiated)
    return recorder(op)(
        (steps + int(op is LSTM), samples, units), dtype=x.dtype, added=-1 if shared else 0, x=x, w_ih=w_ih,
        w_hh=w_hh, **rest, scratch=working, gates=(max(gate_rows * row, 1) * size, size),
        cells=(max(cell_rows * row, 1) * size, size), turned=((w_hh.size if direct else 1) * size, size),
        gemm=gemm_address(x.dtype), steps=steps, samples=samples, features=inputs, units=units,
        has_biases=b_ih is not None, backwards=reverse, block=block, keeps=kept, relu=relu, direct=direct)
