"""Early stopping: the best parameters so far, and when to go no further."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn

__all__ = ["Best"]


class Best:
    """The parameters with the lowest validation loss, of one network or of each member of several.

    Parameters
    ----------
    module : Module
        Where it holds several networks, each of its parameters has a first axis of members.
    members : int
        1: one network, without such an axis.
    patience : int
        Epochs without a lower loss of any member after which to stop.

    Attributes
    ----------
    loss : ndarray of float64, shape (members,)
        The lowest so far.
    epoch : ndarray of int64, shape (members,)
        When it was seen, counted from 1; 0 if never.
    """

    def __init__(self, module: nn.Module, members: int, patience: int) -> None:
        self._module, self._members, self._patience = module, members, patience
        self._kept = module.state_dict()
        self._epochs = 0
        self.loss = np.full(members, np.inf)
        self.epoch = np.zeros(members, np.int64)

    def observe(self, losses: np.ndarray) -> bool:
        """Take the validation losses after an epoch, shape (members,); returns whether to stop."""
        self._epochs += 1
        better = losses < self.loss  # never where the loss is NaN
        if better.any():
            self.loss[better], self.epoch[better] = losses[better], self._epochs
            for name, values in self._module.state_dict().items():
                if self._members == 1:
                    self._kept[name] = values
                else:
                    self._kept[name][better] = values[better]
        return bool(np.all(self._epochs - self.epoch >= self._patience))

    def state_dict(self) -> dict[str, Any]:
        """Everything that `observe` changes."""
        return {"kept": self._kept, "epochs": self._epochs, "loss": self.loss, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state_dict`."""
        self._kept, self._epochs = state["kept"], state["epochs"]
        self.loss, self.epoch = state["loss"], state["epoch"]

    def restore(self) -> None:
        """Give each network its best parameters, if it ever had a finite loss."""
        if (self.epoch > 0).all():
            self._module.load_state_dict(self._kept)
