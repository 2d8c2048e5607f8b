"""The works of loops.py in JAX: `scan`, jitted; what takes turns with a branch is computed on all sides."""

from __future__ import annotations

from typing import Any

import loop_works as works
import numpy as np
from worker import Way


def begin(threads: int) -> str:
    """The version."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.__version__


def garch(p: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def day(carry: Any, pair: Any) -> Any:
        s, total = carry
        before, now = pair
        s = p[0] + p[1] * before ** 2 + p[2] * s
        return (s, total + jnp.log(s) + now ** 2 / s), None

    return 0.5 * jax.lax.scan(day, (y[0] ** 2, 0.0), (y[:-1], y[1:]))[0][1]


def soft_dtw(x: Any, y: Any, gamma: Any) -> Any:
    """One step of the scan is an antidiagonal."""
    import jax
    import jax.numpy as jnp

    n, m = len(x), len(y)
    rows = jnp.arange(n)

    def diagonal(carry: Any, k: Any) -> Any:
        older, old = carry  # by row
        columns = k - rows
        inside = (columns >= 0) & (columns < m)
        distance = (x - y[jnp.clip(columns, 0, m - 1)]) ** 2
        corner = jnp.where(k == 0, 0.0, 1e10)
        above = jnp.concatenate([jnp.array([1e10]), old[:-1]])
        across = jnp.concatenate([corner[None], older[:-1]])
        three = jnp.stack([across, above, old])
        least = three.min(axis=0)
        soft = least - gamma * jnp.log(jnp.exp((least - three) / gamma).sum(axis=0))
        new = jnp.where(inside, distance + soft, 1e10)
        return (old, new), None

    far = jnp.full(n, 1e10)
    return jax.lax.scan(diagonal, (far, far), jnp.arange(n + m - 1))[0][1][n - 1]


def barrier(p: Any, z: Any, strike: Any, level: Any) -> Any:
    """All paths at once; one that is out goes on without effect."""
    import jax
    import jax.numpy as jnp

    paths, steps = z.shape
    dt = 1.0 / steps
    drift, scale = (p[2] - 0.5 * p[1] ** 2) * dt, p[1] * jnp.sqrt(dt)

    def step(carry: Any, draws: Any) -> Any:
        s, alive = carry
        s = s * jnp.exp(drift + scale * draws)
        return (s, alive & (s > level)), None

    s, alive = jax.lax.scan(step, (jnp.full(paths, p[0]), jnp.full(paths, True)), z.T)[0]
    return jnp.exp(-p[2]) * jnp.where(alive, jnp.maximum(s - strike, 0.0), 0.0).sum() / paths


KINDS = {"garch": garch, "soft_dtw": soft_dtw, "barrier": barrier}


def jitted(work: Any) -> Way:
    import jax
    from loops_tapegrad import timed

    given = tuple(jax.numpy.asarray(a) if isinstance(a, np.ndarray) else a for a in works.arguments(work))
    function = jax.jit(jax.value_and_grad(KINDS[work.kind]))
    (value, gradient), first = timed(lambda *args: jax.block_until_ready(function(*args)), given)

    def run(steps: int) -> None:
        for _ in range(steps):
            jax.block_until_ready(function(*given))

    return Way([float(value)], {"gradient": np.asarray(gradient)}, run, first=first)


WAYS = {"JAX jit": (lambda work: True, jitted)}
