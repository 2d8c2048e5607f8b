"""Random functions of several tensors, drawn once so that they can be run in several ways."""

import numpy as np

import tapegrad as tg


class Actions:
    """What a function does: ``(kind, numbers)``, a stretch, for `tg.checkpoint`, holding a list of its own.

    A subclass says how many actions there are, of which kinds (named as often as they are likely), how likely a stretch
    is and how deep they nest, and with `act` what an action is.
    """

    COUNT: int
    KINDS: list[str]
    STRETCHES: int
    DEPTH: int

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.actions = self.draw(self.COUNT, 0)

    def draw(self, count, depth):
        kinds = self.KINDS + (["stretch"] * self.STRETCHES if depth < self.DEPTH else [])
        found = []
        for _ in range(count):
            kind = self.rng.choice(kinds)
            numbers = self.rng.integers(1 << 30, size=3).tolist()
            found.append((kind, self.draw(int(self.rng.integers(1, 8)), depth + 1) if kind == "stretch" else numbers))
        return found

    def run(self, actions, pool, other, checkpoint):
        """Do the actions on a pool of tensors of one shape; returns the pool."""
        pool = list(pool)
        for kind, what in actions:
            if kind == "stretch":
                def inner(pool, what=what):
                    return self.run(what, pool, other, checkpoint)[-2:]

                pool += tg.checkpoint(inner, pool) if checkpoint else inner(pool)
                continue
            a, b = (pool[n % len(pool)] for n in what[:2])
            pool.append(self.act(kind, a, b, what[2], other))
        return pool

    def act(self, kind, a, b, number, other):
        raise NotImplementedError

    def loss_of(self, pool, other, checkpoint):
        """A number of the last tensors that the function makes of a pool."""
        pool = self.run(self.actions, pool, other, checkpoint)
        return sum((tg.tanh(t) ** 2).mean() for t in pool[-3:])
