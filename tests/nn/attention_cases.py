"""Attention and transformers that are held against PyTorch; read by `record_layers.py` and `test_layer_parity.py`."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from .parity_cases import Case, _case, _draw

_RANDOM = np.random.RandomState(61)
_CAUSAL = np.triu(np.ones((5, 5), bool), 1)  # True: not attended to, as the modules have it
_PADDED = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]], bool)


def functions() -> list[Case]:
    """`scaled_dot_product_attention` over shapes and masks."""
    cases = []
    shapes = {"heads": ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7)), "matrices": ((5, 4), (6, 4), (6, 4))}
    holes = _RANDOM.uniform(size=(5, 6)) < 0.6
    holes[2] = False  # attends to nothing: zeros on both sides
    masks = {None: None, "bool": holes, "float": _draw(62, 5, 6)}
    for (name, (q, k, v)), (label, mask) in product(shapes.items(), masks.items()):
        arrays = {"query": _draw(63, *q), "key": _draw(64, *k), "value": _draw(65, *v)}
        options = {} if label is None else {"attn_mask": mask}
        cases.append(_case("scaled_dot_product_attention", arrays, options, f" {name} {label}"))
    arrays = {"query": _draw(66, 1, 2, 5, 4), "key": _draw(67, 1, 2, 3, 4), "value": _draw(68, 1, 2, 3, 4)}
    cases += [_case("scaled_dot_product_attention", dict(zip(arrays, order)), {"is_causal": True, "scale": 0.3},
                    f" {note}")
              for note, order in (("more queries", arrays.values()),
                                  ("more keys", (arrays["key"], arrays["query"], arrays["query"])))]
    learned = {**arrays, "attn_mask": _draw(69, 2, 5, 3)}
    cases.append(_case("scaled_dot_product_attention", learned, {}, " learned mask"))
    grouped = {"query": _draw(70, 2, 6, 5, 4), "key": _draw(71, 2, 2, 5, 4), "value": _draw(72, 2, 2, 5, 4)}
    cases.append(_case("scaled_dot_product_attention", grouped, {"is_causal": True, "enable_gqa": True}, " grouped"))
    return cases


def _module(function: str, module: dict[str, Any], arrays: dict[str, np.ndarray], note: str, **options: Any) -> Case:
    return Case(f"{function} {note}", function, arrays, options, module=module)


def multihead() -> list[Case]:
    """`MultiheadAttention` over its parameters and masks."""
    cases = []
    size = {"embed_dim": 6, "num_heads": 2}
    wide = {"query": _draw(73, 5, 3, 6), "key": _draw(74, 6, 3, 6), "value": _draw(75, 6, 3, 6)}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {}, "bias=False": {"bias": False}, "bias_kv": {"add_bias_kv": True},
        "bias_kv zero_attn": {"add_bias_kv": True, "add_zero_attn": True}, "kdim vdim": {"kdim": 4, "vdim": 5},
        "kdim bias_kv": {"kdim": 4, "add_bias_kv": True, "bias": False},
    }
    full = np.array([[0, 1, 0, 0, 1, 0]] * 5, bool)
    masks = {"": {}, " padded": {"key_padding_mask": _PADDED}, " masked": {"attn_mask": full},
             " both": {"attn_mask": full, "key_padding_mask": _PADDED},
             " float": {"attn_mask": _draw(76, 6, 5, 6), "key_padding_mask": _draw(77, 3, 6)}}
    for (kind, options), (label, mask), weights in product(kinds.items(), masks.items(), (True, False)):
        if label not in ("", " both") and kind not in ("plain", "bias_kv zero_attn"):
            continue
        arrays = {**wide, "key": wide["key"][..., :options.get("kdim", 6)],
                  "value": wide["value"][..., :options.get("vdim", 6)]}
        cases.append(_module("MultiheadAttention", {**size, **options}, arrays, f"{kind}{label} weights={weights}",
                             need_weights=weights, **mask))
    batch = {"query": _draw(78, 2, 5, 6), "key": _draw(79, 2, 5, 6), "value": _draw(80, 2, 5, 6)}
    cases.append(_module("MultiheadAttention", {**size, "batch_first": True}, batch, "batch_first causal",
                         attn_mask=_CAUSAL, is_causal=True, need_weights=False))
    single = {name: array[0] for name, array in batch.items()}
    cases.append(_module("MultiheadAttention", size, single, "unbatched", attn_mask=_CAUSAL, average_attn_weights=False,
                         key_padding_mask=_PADDED[0, 1:]))
    return cases


def transformers() -> list[Case]:
    """Layers of encoder and decoder."""
    cases = []
    base = {"d_model": 6, "nhead": 2, "dim_feedforward": 8, "dropout": 0.0}
    for norm_first, batch_first, activation in ((False, False, "relu"), (True, True, "gelu"), (True, False, "relu")):
        module = {**base, "norm_first": norm_first, "batch_first": batch_first, "activation": activation}
        x, memory = _draw(81, 5, 3, 6), _draw(82, 6, 3, 6)
        if batch_first:
            x, memory = x.swapaxes(0, 1).copy(), memory.swapaxes(0, 1).copy()
        note = f"norm_first={norm_first} batch_first={batch_first} {activation}"
        cases.append(_module("TransformerEncoderLayer", module, {"src": x}, note))
        cases.append(_module("TransformerEncoderLayer", module, {"src": x}, f"{note} masked", src_mask=_CAUSAL,
                             src_key_padding_mask=_PADDED[:, :5]))
        arrays = {"tgt": x, "memory": memory}
        cases.append(_module("TransformerDecoderLayer", module, arrays, f"{note} masked", tgt_mask=_CAUSAL,
                             memory_key_padding_mask=_PADDED))
    cases.append(_module("TransformerEncoderLayer", {**base, "bias": False, "layer_norm_eps": 1e-3},
                         {"src": _draw(83, 5, 6)}, "bias=False unbatched"))
    whole = {**base, "num_encoder_layers": 2, "num_decoder_layers": 1}
    cases.append(_module("Transformer", whole, {"src": _draw(84, 6, 3, 6), "tgt": _draw(85, 5, 3, 6)}, "whole",
                         tgt_mask=_CAUSAL, src_key_padding_mask=_PADDED))
    return cases


CASES = [*functions(), *multihead(), *transformers()]
