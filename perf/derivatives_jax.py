"""The works of derivatives.py in JAX, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import derivative_works as works
import numpy as np
from worker import CHECKED_STEPS, Way

LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


def begin(threads: int) -> str:
    """The version."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.__version__


def repeated(function: Callable, *args: Any) -> Callable[[int], None]:
    def run(steps: int) -> None:
        import jax

        for _ in range(steps):
            found = function(*args)
        jax.block_until_ready(found)

    return run


def network(p: Any, x: Any, layers: int) -> Any:
    import jax.numpy as jnp

    for k in range(layers):
        x = x @ p[f"w{k}"].T + p[f"b{k}"]
        x = jnp.tanh(x) if k < layers - 1 else x
    return x


def logistic(work: Any) -> Way:
    import jax

    rows, signs, w = map(jax.numpy.asarray, works.logistic(work))
    hessian = jax.jit(jax.hessian(lambda w: -jax.nn.log_sigmoid(signs * (rows @ w)).mean() + 0.05 * (w * w).sum()))
    found = np.asarray(hessian(w))
    return Way([works.shown(found)], {"result": found}, repeated(hessian, w))


def hvp(work: Any) -> Way:
    import jax
    import jax.numpy as jnp

    rows, *widths = work.sizes
    x, y = jnp.asarray(works.batch(work, rows, widths[0])), jnp.asarray(works.labels(work, rows, widths[-1]))
    p = {name: jnp.asarray(a) for name, a in works.weights(work, tuple(widths)).items()}
    v = {name: jnp.asarray(np.cos(np.arange(a.size, dtype=work.dtype)).reshape(a.shape)) for name, a in p.items()}

    def loss(p: Any) -> Any:
        logits = network(p, x, len(widths) - 1)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    product = jax.jit(lambda p, v: jax.jvp(jax.grad(loss), (p,), (v,))[1])
    found = {name: np.asarray(a) for name, a in product(p, v).items()}
    return Way([works.shown(found["w0"])], found, repeated(product, p, v))


def jacobian(work: Any) -> Way:
    import jax
    import jax.numpy as jnp

    p = {name: jnp.asarray(a) for name, a in works.weights(work, work.sizes).items()}
    x = jnp.asarray(works.batch(work, 1, work.sizes[0])[0])
    product = jax.jit(jax.jacrev(lambda x: network(p, x, len(work.sizes) - 1)))
    found = np.asarray(product(x))
    return Way([works.shown(found)], {"result": found}, repeated(product, x))


def pinn(work: Any) -> Way:
    import jax
    import jax.numpy as jnp

    _, *widths = work.sizes
    p = {name: jnp.asarray(a) for name, a in works.weights(work, tuple(widths)).items()}
    inner, border = map(jnp.asarray, works.points(work))

    def loss(p: Any) -> Any:
        def u(x: Any) -> Any:
            return network(p, x, len(widths) - 1)[:, 0]

        def second(e: Any) -> Any:
            return jax.jvp(lambda x: jax.jvp(u, (x,), (e,))[1], (inner,), (e,))[1]

        laplacian = sum(second(jnp.broadcast_to(e, inner.shape)) for e in jnp.eye(2))
        source = 2.0 * jnp.pi ** 2 * jnp.sin(jnp.pi * inner[:, 0]) * jnp.sin(jnp.pi * inner[:, 1])
        return ((laplacian + source) ** 2).mean() + (u(border) ** 2).mean()

    def adam(state: Any) -> Any:
        p, m, s, t = state
        value, g = jax.value_and_grad(loss)(p)
        t = t + 1
        m = jax.tree.map(lambda a, b: BETAS[0] * a + (1 - BETAS[0]) * b, m, g)
        s = jax.tree.map(lambda a, b: BETAS[1] * a + (1 - BETAS[1]) * b * b, s, g)
        p = jax.tree.map(lambda w, a, b: w - LR * (a / (1 - BETAS[0] ** t)) / (
            jnp.sqrt(b / (1 - BETAS[1] ** t)) + EPS), p, m, s)
        return (p, m, s, t), value, g

    zeros = jax.tree.map(jnp.zeros_like, p)
    return _stepped(jax.jit(lambda state: adam(state)[:2], donate_argnums=0), (p, zeros, zeros, jnp.asarray(0.0)),
                    jax.jit(jax.grad(loss))(p))


def _stepped(step: Callable, state: Any, gradients: Any) -> Way:
    import jax

    gradients = {name: np.asarray(a) for name, a in gradients.items()}
    holder, losses = [jax.tree.map(lambda a: a.copy(), state)], []
    for _ in range(CHECKED_STEPS):
        holder[0], value = step(holder[0])
        losses.append(float(value))

    def run(steps: int) -> None:
        for _ in range(steps):
            holder[0], _ = step(holder[0])
        jax.block_until_ready(holder[0])

    return Way(losses, gradients, run)


def ensemble(work: Any) -> Way:
    import jax
    import jax.numpy as jnp

    copies, rows, *widths = work.sizes
    p = {name: jnp.asarray(a) for name, a in works.weights(work, tuple(widths), copies).items()}
    x, y = jnp.asarray(works.batch(work, rows, widths[0])), jnp.asarray(works.batch(work, rows, 1, 1)[0])

    def one(p: Any) -> Any:
        return ((network(p, x, len(widths) - 1) - y) ** 2).mean()

    def every(p: Any) -> Any:
        return jax.vmap(one)(p).sum()

    def sgd(p: Any) -> Any:
        value, g = jax.value_and_grad(every)(p)
        return jax.tree.map(lambda w, d: w - 0.1 * d, p, g), value

    return _stepped(jax.jit(sgd, donate_argnums=0), p, jax.jit(jax.grad(every))(p))


MAKERS = {f.__name__: f for f in (logistic, hvp, jacobian, pinn, ensemble)}
WAYS = {"JAX jit": (lambda work: work.kind in MAKERS, lambda work: MAKERS[work.kind](work))}
