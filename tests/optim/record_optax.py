"""Writes optax.npz: what Optax gives on the cases of optimisers that PyTorch does not have.

Made with Optax 0.2.8, JAX 0.10.2 (CPU) and NumPy, in an environment of their own, after `record_pytorch`, whose start
and gradients it takes::

    python tests/optim/record_optax.py
"""

from pathlib import Path

import cases
import jax
import numpy as np
import optax


def made(kind, lr, betas=None, eps=1e-6, weight_decay=0.0, maximize=False):
    if kind == "Lion":
        b1, b2 = betas or (0.9, 0.99)
        return optax.lion(lr, b1, b2, weight_decay=weight_decay), -1.0 if maximize else 1.0
    b1, b2 = betas or (0.9, 0.999)
    return optax.lamb(lr, b1, b2, eps=eps, weight_decay=weight_decay), -1.0 if maximize else 1.0


def run(rule, sign, start, gradients):
    values, state = [jax.numpy.array(a) for a in start], rule.init([jax.numpy.array(a) for a in start])
    for step in gradients:
        updates, state = rule.update([sign * jax.numpy.array(g) for g in step], state, values)
        values = optax.apply_updates(values, updates)
    return [np.asarray(v) for v in values]


def main():
    jax.config.update("jax_enable_x64", True)
    given = np.load(Path(__file__).with_name("pytorch.npz"))
    record = {}
    for dtype in ("float32", "float64"):
        start = [a.astype(dtype) for a in cases.unflat(given["start"])]
        gradients = [[g.astype(dtype) for g in cases.unflat(row)] for row in given["gradients"]]
        ends = []
        for kind, arguments, second in cases.OTHERS.values():
            cut = len(start) if second is None else 1
            end = run(*made(kind, **arguments), start[:cut], [g[:cut] for g in gradients])
            if second is not None:
                end += run(*made(kind, **{**arguments, **second}), start[cut:], [g[cut:] for g in gradients])
            ends.append(cases.flat(end))
        record[dtype] = np.array(ends)
    np.savez_compressed(Path(__file__).with_name("optax.npz"), **record)


if __name__ == "__main__":
    main()
