"""The networks that the command line trains, and files that hold them with their preprocessing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, no_grad, tensor
from ..data import Features, Target
from ..errors import DataError, StateDictError
from ..io.files import load, load_metadata, save

__all__ = ["ACTIVATIONS", "Network", "SavedModel", "outputs"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "hardtanh": nn.Hardtanh,
}
_FORMAT = 1
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Network:
    """The hyper-parameters of a multi-layer perceptron.

    Attributes
    ----------
    inputs, outputs : int
    hidden : tuple of int
        Units of each hidden layer.
    activation : str
        A key of `ACTIVATIONS`.
    dropout : float
        After each activation; none at 0.
    dtype : {"float32", "float64"}
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str = "relu"
    dropout: float = 0.0
    dtype: str = "float32"

    def build(self) -> nn.Sequential:
        """The module, freshly initialised."""
        layers: list[nn.Module] = []
        width = self.inputs
        for units in self.hidden:
            layers += [nn.Linear(width, units, dtype=self.dtype), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = units
        return nn.Sequential(*layers, nn.Linear(width, self.outputs, dtype=self.dtype))


@dataclass(frozen=True)
class SavedModel:
    """A trained network with its preprocessing, ready to predict from a table.

    Attributes
    ----------
    network : Network
    features : Features
    target : Target
    fill_missing : bool
        Whether missing values are filled in.
    module : Sequential
    card : dict
        How it was trained and how well, in types that JSON has; empty in files of earlier versions.
    """

    network: Network
    features: Features
    target: Target
    fill_missing: bool
    module: nn.Sequential
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def left_out(self) -> list[str]:
        """Columns of the training file that the model does not read."""
        return [name for name in self.features.ignored if name != self.target.name]

    def save(self, path: Path) -> None:
        """Write to a safetensors file: parameters by name, the rest in its metadata."""
        description = {
            "format": _FORMAT,
            "network": asdict(self.network),
            "features": self.features.to_json(),
            "target": self.target.to_json(),
            "fill_missing": self.fill_missing,
            "card": self.card,
        }
        save(self.module.state_dict(), path, metadata={"tapegrad": json.dumps(description)})

    @classmethod
    def load(cls, path: Path) -> SavedModel:
        """Read from a file that `save` wrote.

        Raises
        ------
        DataError
            It is not such a file.
        """
        text = load_metadata(path).get("tapegrad")
        if text is None:
            raise DataError(f"{path}: holds arrays, but was not saved by tapegrad train")
        try:
            description: dict[str, Any] = json.loads(text)
            if description["format"] != _FORMAT:
                raise DataError(f"{path}: is of format {description['format']}; this version reads {_FORMAT}")
            fields = description["network"]
            network = Network(**{**fields, "hidden": tuple(fields["hidden"])})
            features = Features.from_json(description["features"])
            target = Target.from_json(description["target"])
            fill_missing = bool(description["fill_missing"])
            card = dict(description.get("card", {}))
            module = network.build()
            module.load_state_dict(load(path))
            if (network.inputs, network.outputs) != (features.width, target.outputs):
                raise ValueError("the network does not fit the columns")
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, StateDictError) as error:
            raise DataError(f"{path}: the description of the model is damaged ({error})") from error
        module.eval()
        return cls(network, features, target, fill_missing, module, card)


def outputs(module: nn.Module, X: np.ndarray) -> np.ndarray:
    """Outputs of a module in evaluation mode for many rows, a few thousand at a time.

    Parameters
    ----------
    module : Module
    X : ndarray of float, shape (rows, inputs)

    Returns
    -------
    ndarray of float64, shape (rows, outputs)
    """
    was_training = module.training
    module.eval()
    with no_grad():
        parts = [module(tensor(X[k : k + _ROWS_AT_ONCE])).numpy() for k in range(0, len(X), _ROWS_AT_ONCE)]
    module.train(was_training)
    return np.concatenate(parts).astype(np.float64)
