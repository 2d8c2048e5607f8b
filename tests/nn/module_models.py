"""Models that PyTorch saves and tapegrad loads: each is written once, for the `nn` of either library."""

from __future__ import annotations

from typing import Any

import numpy as np


def convolutional(nn: Any) -> Any:
    """Convolutions of several kinds with running statistics."""
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 6, 3, groups=3), nn.GroupNorm(2, 6), nn.ConvTranspose2d(6, 4, 2, stride=2),
                         nn.Flatten(), nn.Linear(4 * 4 * 4, 5))


def recurrent(nn: Any) -> Any:
    """Three kinds of recurrence, in both directions."""
    return nn.ModuleList([nn.LSTM(3, 4, num_layers=2, bidirectional=True), nn.GRU(8, 4), nn.RNN(4, 2)])


def attentive(nn: Any) -> Any:
    """An encoder and a decoder layer over an embedding."""
    return nn.ModuleList([nn.Embedding(11, 8), nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
                          nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True)])


MODELS = {"convolutional": convolutional, "recurrent": recurrent, "attentive": attentive}


def data(name: str) -> np.ndarray:
    """What a model is given."""
    if name == "attentive":
        return np.arange(12).reshape(2, 6) * 5 % 11
    shape = (3, 2, 8, 8) if name == "convolutional" else (5, 2, 3)
    return np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape) ** 3


def output(name: str, model: Any, x: Any) -> Any:
    """What a model gives."""
    if name == "convolutional":
        return model(x)
    if name == "attentive":
        embedding, encoder, decoder = model
        memory = encoder(embedding(x))
        return decoder(memory * 0.5, memory)
    for layer in model:
        x = layer(x)[0]
    return x
