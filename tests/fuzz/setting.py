"""What a way runs in: tensors, their first values and the batches. Printed in scripts, so it needs tapegrad alone."""

from __future__ import annotations

import numpy as np

import tapegrad as tg


class Setting:
    """A program's tensors.

    Parameters
    ----------
    loss_fn : callable
        Over the inputs.
    function : callable
        Over the values of leaves, and inputs.
    leaves, buffers : dict of str to Tensor
    first : dict of str to ndarray
        The first values of both.
    batch : callable
        The inputs of a batch by its number.
    frozen : sequence of tuple of str
        Sets of leaves to freeze.
    seed_value : int
    """

    small_rate = 2.0**-10

    def __init__(self, loss_fn, function, leaves, buffers, first, batch, frozen, seed_value):
        self.loss_fn, self.function, self.leaves, self.buffers = loss_fn, function, leaves, buffers
        self.first, self.batch, self.frozen, self.seed_value = first, batch, frozen, seed_value
        self.argnums = tuple(range(len(leaves)))
        self.rows = next((len(x) for x in batch(0)), 0)

    def batches(self, numbers):
        """Some batches, one after the other along axis 0."""
        return [np.concatenate(parts) for parts in zip(*map(self.batch, numbers))]

    def values(self):
        return [self.first[name] for name in self.leaves]

    def named(self, gradients):
        return dict(zip(self.leaves, gradients))

    def seed(self):
        """Have the same random numbers drawn again."""
        tg.manual_seed(self.seed_value)

    def rewind(self):
        """Give the buffers their first values."""
        for name, tensor in self.buffers.items():
            tensor.copy_(self.first[name])

    def restart(self):
        """Give everything its first values, and forget gradients."""
        self.seed()
        self.rewind()
        for name, leaf in self.leaves.items():
            leaf.copy_(self.first[name])
            leaf.grad = None

    def gradients(self):
        """By leaf, zeros where there is none."""
        return {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for n, p in self.leaves.items()}

    def leaf_values(self):
        return {n: p.detach().numpy() for n, p in self.leaves.items()}

    @staticmethod
    def found(loss=None, gradients=None, buffers=None, update=None, losses=(), ends=None):
        """What is compared, by its name; an update is (values before, values after, learning rate)."""
        items = {} if loss is None else {"loss": loss}
        items.update({f"{n}.grad": g for n, g in (gradients or {}).items()})
        items.update({f"loss of step {k}": loss for k, loss in enumerate(losses)})
        items.update({f"{n} in the end": v for n, v in (ends or {}).items()})
        items.update(buffers or {})
        if update is not None:
            before, after, rate = update
            items.update({f"update of {n}": (before[n].astype(float) - after[n]) / rate for n in before})
        return {n: np.asarray(v.detach().numpy() if isinstance(v, tg.Tensor) else v) for n, v in items.items()}
