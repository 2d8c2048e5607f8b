"""Several networks of one shape trained together, and the one network that gives their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import concatenate, nn, vmap
from ..nn import functional as F
from .network import ACTIVATIONS, Network

__all__ = ["Committee"]


class Committee(nn.Module):
    """Networks of one shape as one module: each parameter has a first axis of members.

    Averaging networks that began elsewhere, and stopped by other validation rows, takes away the part of the error
    that is chance: most of it where rows are few and noisy (L. Breiman, Bagging predictors, Machine Learning 24, 1996).

    Parameters
    ----------
    network : Network
        The shape of a member.
    members : int

    Attributes
    ----------
    weights, biases : ParameterList
        Of each layer, ``(members, out, in)`` and ``(members, out)``.
    """

    def __init__(self, network: Network, members: int) -> None:
        super().__init__()
        self.network, self.members = network, members
        built = [self._linear(network.build()) for _ in range(members)]
        self.weights = nn.ParameterList([_stacked([m[k].weight for m in built]) for k in range(len(built[0]))])
        self.biases = nn.ParameterList([_stacked([m[k].bias for m in built]) for k in range(len(built[0]))])
        self.activation = ACTIVATIONS[network.activation]()

    @staticmethod
    def _linear(module: nn.Sequential) -> list[nn.Linear]:
        return [layer for layer in module if isinstance(layer, nn.Linear)]

    def forward(self, x: Any) -> Any:
        """The outputs of all members for the same rows: from ``(rows, inputs)`` to ``(members, rows, outputs)``."""
        return self.outputs([self], x, each=False)

    def each(self, x: Any) -> Any:
        """The outputs of each member for rows of its own, in evaluation mode: from ``(members, rows, inputs)``."""
        return self.outputs([self], x, each=True)

    @staticmethod
    def outputs(committees: Sequence[Committee], x: Any, each: bool) -> Any:
        """The outputs of all members of some committees of one shape: `forward` or `each` of all of them at once."""
        first = committees[0]
        axis, dropout = (0, 0.0) if each else (None, first.network.dropout if first.training else 0.0)

        def one(weights: Sequence[Any], biases: Sequence[Any], x: Any) -> Any:
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                x = first.activation(F.linear(x, weight, bias))
                if dropout:
                    x = F.dropout(x, dropout, training=True)
            return F.linear(x, weights[-1], biases[-1])

        if len(committees) == 1:
            weights, biases = list(first.weights), list(first.biases)
        else:
            weights = [concatenate(of_layer) for of_layer in zip(*(c.weights for c in committees), strict=True)]
            biases = [concatenate(of_layer) for of_layer in zip(*(c.biases for c in committees), strict=True)]
        return vmap(one, in_axes=(0, 0, axis))(weights, biases, x)

    def merged(self) -> tuple[Network, nn.Sequential]:
        """The network whose outputs are the mean of the members', and its module, in evaluation mode.

        Its layers hold those of the members side by side: weights between layers are block-diagonal.
        """
        weights, biases = [w.numpy() for w in self.weights], [b.numpy() for b in self.biases]
        hidden = tuple(self.members * units for units in self.network.hidden)
        network = Network(self.network.inputs, hidden, self.network.outputs, self.network.activation,
                          self.network.dropout, self.network.dtype)  # fmt: skip
        module = network.build()
        last = len(weights) - 1
        with_members = zip(self._linear(module), weights, biases, strict=True)
        for k, (layer, weight, bias) in enumerate(with_members):
            merged = {"weight": _side_by_side(weight, k == 0, k == last), "bias": bias.reshape(-1)}
            if k == last:
                merged["bias"] = bias.mean(axis=0)
            layer.load_state_dict(merged)
        return network, module.eval()


def _stacked(parameters: Sequence[Any]) -> nn.Parameter:
    return nn.Parameter(np.stack([parameter.numpy() for parameter in parameters]), dtype=parameters[0].dtype)


def _side_by_side(weight: np.ndarray, is_first: bool, is_last: bool) -> np.ndarray:
    """One matrix of the members' ``(members, out, in)``: inputs are shared by the first layer, outputs averaged by
    the last."""
    members, out, width = weight.shape
    if is_first and is_last:
        return weight.mean(axis=0)
    if is_first:
        return weight.reshape(members * out, width)
    if is_last:
        return weight.transpose(1, 0, 2).reshape(out, members * width) / members
    blocks = np.zeros((members, out, members, width), weight.dtype)
    for m in range(members):
        blocks[m, :, m] = weight[m]
    return blocks.reshape(members * out, members * width)
