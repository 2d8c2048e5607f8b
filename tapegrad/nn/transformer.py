"""Transformer layers and stacks of them (Vaswani et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import ArgumentError
from ..tensor.arrays import foreign_array
from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
           "TransformerEncoderLayer"]

Activation = str | Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class _Layer(Module):
    """The base of encoder and decoder layers: residual blocks with a norm each, the last one a feed-forward network."""

    norm_first: bool

    def _make(self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Activation, eps: float,
              batch_first: bool, norm_first: bool, bias: bool, dtype: DTypeLike | None, attentions: tuple[str, ...]
              ) -> None:
        for name in attentions:
            self.add_module(name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first,
                                                     dtype=dtype))
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        blocks = range(1, len(attentions) + 2)
        for n in blocks:
            self.add_module(f"norm{n}", LayerNorm(d_model, eps, bias=bias, dtype=dtype))
        for n in blocks:
            self.add_module(f"dropout{n}", Dropout(dropout))
        self.norm_first = bool(norm_first)
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ArgumentError(f"{type(self).__name__}: activation must be 'relu', 'gelu' or a function, not "
                                f"{activation!r}")
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation

    def _block(self, number: int, x: Tensor, inner: Callable[[Tensor], Tensor]) -> Tensor:
        """x + dropout(inner(norm(x))), or norm(x + dropout(inner(x)))."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + dropout(inner(norm(x)))
        return norm(x + dropout(inner(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each in a residual block.

    Parameters
    ----------
    d_model : int
        Features of input and output.
    nhead : int
        Heads of the attention.
    dim_feedforward : int
        Features of the hidden layer of the feed-forward network.
    dropout : float
    activation : {"relu", "gelu"} or callable
    layer_norm_eps : float
    batch_first : bool
        Whether arrays are (N, L, d_model) rather than (L, N, d_model).
    norm_first : bool
        Pre-norm: a block normalises its input, rather than the sum of its output and the residual.
    bias : bool
        Whether linear layers and norms have biases.
    dtype : float32 or float64
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   dtype, ("self_attn",))

    def forward(self, src: Tensor, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
                ) -> Tensor:
        """The same shape; masks and `is_causal` as those of `MultiheadAttention`."""
        x = self._block(1, src, lambda x: self.self_attn(
            x, x, x, attn_mask=src_mask, key_padding_mask=src_key_padding_mask, need_weights=False,
            is_causal=is_causal)[0])
        return self._block(2, x, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, cross-attention to an encoder's output, and a feed-forward network, each in a residual block.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype
        As of `TransformerEncoderLayer`.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self._make(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                   dtype, ("self_attn", "multihead_attn"))

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Any = None, memory_mask: Any = None,
                tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:
        """The shape of `tgt`; `memory` is the encoder's output, masks as those of `MultiheadAttention`."""
        x = self._block(1, tgt, lambda x: self.self_attn(
            x, x, x, attn_mask=tgt_mask, key_padding_mask=tgt_key_padding_mask, need_weights=False,
            is_causal=tgt_is_causal)[0])
        x = self._block(2, x, lambda x: self.multihead_attn(
            x, memory, memory, attn_mask=memory_mask, key_padding_mask=memory_key_padding_mask, need_weights=False,
            is_causal=memory_is_causal)[0])
        return self._block(3, x, self._feed_forward)


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer.

    Parameters
    ----------
    encoder_layer : Module
        Copied with its parameters, so that all layers start equal.
    num_layers : int
    norm : Module, optional
        Applied to the last layer's output.
    enable_nested_tensor, mask_check : bool
        PyTorch's; ignored.
    """

    norm: Module | None

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
                 enable_nested_tensor: bool = True, mask_check: bool = True) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(self, src: Tensor, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
                ) -> Tensor:
        """The same shape.

        With `is_causal` None, a causal `mask` is recognised as such where its values are known.
        """
        mask, causal = _causality(mask, is_causal)
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer.

    Parameters
    ----------
    decoder_layer : Module
        Copied with its parameters, so that all layers start equal.
    num_layers : int
    norm : Module, optional
        Applied to the last layer's output.
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Any = None, memory_mask: Any = None,
                tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """The shape of `tgt`; arguments as of `TransformerDecoderLayer` and `TransformerEncoder`."""
        tgt_mask, causal = _causality(tgt_mask, tgt_is_causal)
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                        tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                        tgt_is_causal=causal, memory_is_causal=memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder, each with a final norm.

    Parameters
    ----------
    d_model, nhead : int
    num_encoder_layers, num_decoder_layers : int
    dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype
        As of `TransformerEncoderLayer`.
    custom_encoder, custom_decoder : Module, optional
        Instead of the library's.
    """

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
                 dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
                 custom_encoder: Module | None = None, custom_decoder: Module | None = None,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__()
        options: dict[str, Any] = {"layer_norm_eps": layer_norm_eps, "batch_first": batch_first,
                                   "norm_first": norm_first, "bias": bias, "dtype": dtype}
        sizes = (d_model, nhead, dim_feedforward, dropout, activation)
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*sizes, **options), num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*sizes, **options), num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Any = None, tgt_mask: Any = None, memory_mask: Any = None,
                src_key_padding_mask: Any = None, tgt_key_padding_mask: Any = None,
                memory_key_padding_mask: Any = None, src_is_causal: bool | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """The shape of `tgt`: decode it with the encoding of `src`."""
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                            tgt_key_padding_mask=tgt_key_padding_mask,
                            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
                            memory_is_causal=memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: DTypeLike | None = None) -> Tensor:
        """The causal float mask of shape (sz, sz): -inf above the diagonal, else 0."""
        return Tensor(np.triu(np.full((sz, sz), -np.inf), 1), np.float32 if dtype is None else dtype)


def _causality(mask: Any, is_causal: bool | None) -> tuple[Any, bool]:
    """The mask, and whether it is causal; None for a mask that says no more than that."""
    if is_causal is not None or mask is None or isinstance(mask, Tensor) and (mask.is_symbolic or mask.requires_grad):
        return mask, bool(is_causal)
    array = foreign_array(mask)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        return mask, False
    future = np.triu(np.ones(array.shape, bool), 1)
    wanted = future if array.dtype == bool else np.where(future, -np.inf, 0.0)
    return (None, True) if (array == wanted).all() else (mask, False)
