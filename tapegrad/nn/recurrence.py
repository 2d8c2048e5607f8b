"""Recurrent layers and cells, by PyTorch's names, arguments and results."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..functions.recurrence import gru_layer, lstm_layer, projected_lstm_layer, rnn_layer
from ..tensor.recording import common_dtype, lift_to
from ..tensor.tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

States = tuple[Tensor, Tensor]
_NONLINEARITIES = ("tanh", "relu")


class _Recurrent(Module):
    """The base of layers and cells: weights and biases by name, drawn from one distribution."""

    _gates = 1
    _states = 1
    hidden_size: int
    proj_size = 0  # of an LSTM's projections

    def _make(self, suffix: str, inputs: int, bias: bool, dtype: np.dtype) -> None:
        rows, units = self._gates * self.hidden_size, self.proj_size or self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, units)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            made = Parameter(np.empty(shape, dtype), dtype=dtype) if bias or len(shape) == 2 else None
            if made is not None or not suffix:  # PyTorch's cells have a bias of None, its layers have none
                self.register_parameter(name + suffix, made)

    def reset_parameters(self) -> None:
        """Draw all parameters anew from U(-b, b), b = 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _operands(self, suffix: str) -> list[Any]:
        return [getattr(self, name + suffix, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def _states_of(self, hx: Any, what: str) -> list[Any]:
        """The initial states as given: the hidden one, and for an LSTM the cells."""
        if hx is None:
            return [None] * self._states
        if self._states == 1:
            if isinstance(hx, (tuple, list)):
                raise ArgumentError(f"{type(self).__name__}: the initial state is one array, not {len(hx)}")
            return [hx]
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ArgumentError(f"{type(self).__name__}: the initial states are a pair {what}")
        return list(hx)

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        """Output and final states of one layer in one direction."""
        raise NotImplementedError


class _Layers(_Recurrent):
    """Layers over whole sequences."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool,
                 dropout: float, bidirectional: bool, dtype: DTypeLike | None) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(input_size, f"{name}: input_size")
        self.hidden_size = positive_int(hidden_size, f"{name}: hidden_size")
        self.num_layers = positive_int(num_layers, f"{name}: num_layers")
        if isinstance(dropout, bool) or not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"{name}: dropout is a probability, not {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(f"{name}: dropout={dropout} acts between layers, and there is one layer", stacklevel=3)
        self.bias, self.batch_first, self.dropout = bool(bias), bool(batch_first), float(dropout)
        self.bidirectional = bool(bidirectional)
        found = float_dtype(dtype, name)
        for layer in range(self.num_layers):
            width = self.input_size if layer == 0 else (self.proj_size or self.hidden_size) * self._directions
            for direction in range(self._directions):
                self._make(self._suffix(layer, direction), width, self.bias, found)
                if self.proj_size:
                    shape = (self.proj_size, self.hidden_size)
                    made = Parameter(np.empty(shape, found), dtype=found)
                    self.register_parameter("weight_hr" + self._suffix(layer, direction), made)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @staticmethod
    def _suffix(layer: int, direction: int) -> str:
        return f"_l{layer}{'_reverse' if direction else ''}"

    def flatten_parameters(self) -> None:
        """No effect; for programs that call it in PyTorch."""

    def _run(self, input: Any, hx: Any) -> tuple[Tensor, list[Tensor]]:
        """The output and the final states of all layers."""
        name = type(self).__name__
        x = input if isinstance(input, Tensor) else lift_to(input, common_dtype((self.weight_ih_l0,)))
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            form = "(batch, steps" if self.batch_first else "(steps, batch"
            raise ShapeError(f"{name}({self.input_size}, {self.hidden_size}): an input of shape {list(x.shape)}; "
                             f"expected {form}, {self.input_size}) or (steps, {self.input_size})")
        single = x.ndim == 2
        if single:
            x = functions.expand_dims(x, 1)
        elif self.batch_first:
            x = functions.swapaxes(x, 0, 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)  # of the hidden state and the cells
        first = [self._first_states(s, x.shape[1], units, single, str(tuple(input.shape)))
                 for s, units in zip(self._states_of(hx, "(h_0, c_0)"), widths)]
        last: list[list[Tensor]] = [[] for _ in range(self._states)]
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = functions.dropout(x, self.dropout)
            parts = []
            for direction in range(self._directions):
                at = layer * self._directions + direction
                states = [None if s is None else s[at] for s in first]
                out, *after = self._advance(x, self._operands(self._suffix(layer, direction)), states, bool(direction))
                parts.append(out)
                for found, state in zip(last, after):
                    found.append(state)
            x = parts[0] if len(parts) == 1 else functions.concatenate(parts, 2)
        finals = [functions.expand_dims(s[0], 0) if len(s) == 1 else functions.stack(s) for s in last]
        if single:
            return functions.squeeze(x, 1), [functions.squeeze(s, 1) for s in finals]
        return functions.swapaxes(x, 0, 1) if self.batch_first else x, finals

    def _first_states(self, state: Any, samples: int, units: int, single: bool, given: str) -> Tensor | None:
        """An initial state as (layers times directions, samples, units)."""
        if state is None:
            return None
        s = state if isinstance(state, Tensor) else lift_to(state, common_dtype((self.weight_ih_l0,)))
        count = self.num_layers * self._directions
        expected = (count, units) if single else (count, samples, units)
        if s.shape != expected:
            raise ShapeError(f"{type(self).__name__}: an initial state of shape {list(s.shape)} does not fit an input "
                             f"of {given}; expected {list(expected)}: (layers x directions{'' if single else ', batch'}"
                             f", {'proj_size' if units != self.hidden_size else 'hidden_size'})")
        return functions.expand_dims(s, 1) if single else s

    def extra_repr(self) -> str:
        """PyTorch's."""
        text = f"{self.input_size}, {self.hidden_size}" + (f", proj_size={self.proj_size}" if self.proj_size else "")
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        return text + "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)


class RNN(_Layers):
    """Layers of ``h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`` (Elman 1990).

    A layer and direction is one instruction, whatever the number of steps.

    Parameters
    ----------
    input_size : int
    hidden_size : int
        Units of each layer, H.
    num_layers : int
        Each but the first reads the outputs of the one before.
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Whether input and output are (N, T, ...) rather than (T, N, ...); states are not affected.
    dropout : float
        Of the outputs of all layers but the last, in training.
    bidirectional : bool
        Whether each layer also runs from the last step to the first; those outputs are appended to the others.
    dtype : float32 or float64

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k] : Parameter, shape (H, inputs), (H, H)
        Of layer k; with ``_reverse`` appended for the backward direction.
    bias_ih_l[k], bias_hh_l[k] : Parameter, shape (H,)
        All are drawn from U(-b, b), b = 1 / sqrt(H).

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn
    >>> output, h_n = nn.RNN(3, 8, num_layers=2)(np.zeros((5, 4, 3), np.float32))
    >>> output.shape, h_n.shape
    ((5, 4, 8), (2, 4, 8))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)
        self.nonlinearity = _nonlinearity(nonlinearity, "RNN")

    def forward(self, input: Any, hx: Any = None) -> States:
        """Outputs of the last layer and the final states of all.

        Parameters
        ----------
        input : Tensor or array, (T, N, input_size), or (N, T, input_size) with `batch_first`, or (T, input_size)
        hx : Tensor or array, (layers x directions, N, H), or without N, optional
            Zeros if not given.

        Returns
        -------
        output : Tensor, (T, N, directions x H), or (N, T, ...), or without N
        h_n : Tensor, of the shape of `hx`
        """
        output, (h_n,) = self._run(input, hx)
        return output, h_n

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        return rnn_layer(x, *operands, *states, nonlinearity=self.nonlinearity, reverse=reverse)


class LSTM(_Layers):
    """Layers of long short-term memory (Hochreiter and Schmidhuber 1997).

    ``i, f, o = sigmoid(...)``, ``g = tanh(...)`` of ``W_ih x_t + b_ih + W_hh h_(t-1) + b_hh``,
    ``c_t = f c_(t-1) + i g``, ``h_t = o tanh(c_t)``. A layer and direction is one instruction, whatever the number of
    steps.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        As for `RNN`.
    proj_size : int
        Features P of the projection ``h_t = W_hr (o tanh(c_t))``, less than H; 0 for none (Sak et al., Long short-term
        memory recurrent neural network architectures for large scale acoustic modeling, 2014). Outputs and hidden
        states then have P features in place of H, and a step is several instructions.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k] : Parameter, shape (4 H, inputs), (4 H, H)
        Rows of i, f, g, o; see `RNN`.
    bias_ih_l[k], bias_hh_l[k] : Parameter, shape (4 H,)
    weight_hr_l[k] : Parameter, shape (P, H)
        With `proj_size`; `weight_hh_l[k]` then is (4 H, P).

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn
    >>> output, (h_n, c_n) = nn.LSTM(3, 8, batch_first=True)(np.zeros((4, 5, 3), np.float32))
    >>> output.shape, h_n.shape, c_n.shape
    ((4, 5, 8), (1, 4, 8), (1, 4, 8))
    """

    _gates, _states = 4, 2

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 dtype: DTypeLike | None = None) -> None:
        if isinstance(proj_size, bool) or proj_size != int(proj_size) or not 0 <= proj_size < hidden_size:
            raise ArgumentError(f"LSTM: proj_size={proj_size!r}; it is an integer from 0 (none) to less than "
                                f"hidden_size={hidden_size}")
        self.__dict__["proj_size"] = int(proj_size)  # of the parameters that are made here
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, States]:
        """Outputs of the last layer and the final states of all.

        Parameters
        ----------
        input : Tensor or array, (T, N, input_size), or (N, T, input_size) with `batch_first`, or (T, input_size)
        hx : (h_0, c_0), each (layers x directions, N, H), or without N, optional
            Zeros if not given. `h_0` has P features if there is a projection.

        Returns
        -------
        output : Tensor, (T, N, directions x H), or (N, T, ...), or without N
        (h_n, c_n) : Tensors, of the shape of `h_0`
        """
        output, (h_n, c_n) = self._run(input, hx)
        return output, (h_n, c_n)

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        if self.proj_size:
            return projected_lstm_layer(x, *operands, *states, reverse=reverse)
        return lstm_layer(x, *operands, *states, reverse=reverse)

    def _operands(self, suffix: str) -> list[Any]:
        projection = [getattr(self, "weight_hr" + suffix)] if self.proj_size else []
        return super()._operands(suffix) + projection


class GRU(_Layers):
    """Layers of gated recurrent units (Cho et al. 2014), with the reset gate after the product, as in PyTorch.

    ``r, z = sigmoid(...)`` of ``W_ih x_t + b_ih + W_hh h_(t-1) + b_hh``,
    ``n = tanh(W_in x_t + b_in + r (W_hn h_(t-1) + b_hn))``, ``h_t = (1 - z) n + z h_(t-1)``. A layer and direction is
    one instruction, whatever the number of steps.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        As for `RNN`.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k] : Parameter, shape (3 H, inputs), (3 H, H)
        Rows of r, z, n; see `RNN`.
    bias_ih_l[k], bias_hh_l[k] : Parameter, shape (3 H,)
    """

    _gates = 3

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def forward(self, input: Any, hx: Any = None) -> States:
        """Outputs of the last layer and the final states of all; see `RNN.forward`."""
        output, (h_n,) = self._run(input, hx)
        return output, h_n

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        return gru_layer(x, *operands, *states, reverse=reverse)


class _Cell(_Recurrent):
    """One step."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: DTypeLike | None) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(input_size, f"{name}: input_size")
        self.hidden_size = positive_int(hidden_size, f"{name}: hidden_size")
        self.bias = bool(bias)
        self._make("", self.input_size, self.bias, float_dtype(dtype, name))
        self.reset_parameters()

    def _step(self, input: Any, hx: Any) -> list[Tensor]:
        """The states after the step."""
        name = type(self).__name__
        x = input if isinstance(input, Tensor) else lift_to(input, common_dtype((self.weight_ih,)))
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{name}({self.input_size}, {self.hidden_size}): an input of shape {list(x.shape)}; "
                             f"expected (batch, {self.input_size}) or ({self.input_size},)")
        single = x.ndim == 1
        states = []
        for s in self._states_of(hx, "(h_0, c_0)"):
            expected = (*x.shape[:-1], self.hidden_size)
            if s is not None and np.shape(s) != expected:
                raise ShapeError(f"{name}: an initial state of shape {list(np.shape(s))} does not fit an input of "
                                 f"{list(x.shape)}; expected {list(expected)}")
            states.append(functions.expand_dims(s, 0) if s is not None and single else s)
        x = functions.reshape(x, (1, 1 if single else x.shape[0], self.input_size))
        _, *after = self._advance(x, self._operands(""), states, False)
        return [s[0] for s in after] if single else after

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: from (N, input_size) and (N, H) to (N, H).

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : float32 or float64

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (H, input_size), (H, H)
    bias_ih, bias_hh : Parameter, shape (H,), or None
        All are drawn from U(-b, b), b = 1 / sqrt(H).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = _nonlinearity(nonlinearity, "RNNCell")

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """The next state, from zeros if `hx` is not given."""
        return self._step(input, hx)[0]

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        return rnn_layer(x, *operands, *states, nonlinearity=self.nonlinearity)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(_Cell):
    """One step of `LSTM`: from (N, input_size) and (h, c), each (N, H), to the next (h, c).

    Parameters
    ----------
    input_size, hidden_size, bias, dtype
        As for `RNNCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (4 H, input_size), (4 H, H)
    bias_ih, bias_hh : Parameter, shape (4 H,), or None
    """

    _gates, _states = 4, 2

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, input: Any, hx: Any = None) -> States:
        """The next hidden state and cells, from zeros if `hx` is not given."""
        h, c = self._step(input, hx)
        return h, c

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        return lstm_layer(x, *operands, *states)


class GRUCell(_Cell):
    """One step of `GRU`: from (N, input_size) and (N, H) to (N, H).

    Parameters
    ----------
    input_size, hidden_size, bias, dtype
        As for `RNNCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (3 H, input_size), (3 H, H)
    bias_ih, bias_hh : Parameter, shape (3 H,), or None
    """

    _gates = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """The next state, from zeros if `hx` is not given."""
        return self._step(input, hx)[0]

    def _advance(self, x: Tensor, operands: list[Any], states: list[Any], reverse: bool) -> tuple[Tensor, ...]:
        return gru_layer(x, *operands, *states)


def _nonlinearity(name: str, where: str) -> str:
    if name not in _NONLINEARITIES:
        raise ArgumentError(f"{where}: nonlinearity must be 'tanh' or 'relu', not {name!r}")
    return name
