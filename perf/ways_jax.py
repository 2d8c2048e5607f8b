"""The works of compare.py in JAX: one jitted step, its parameters and state donated."""

from __future__ import annotations

from typing import Any

from worker import CHECKED_STEPS, Way, load_works

works = load_works()


def begin(threads: int) -> str:
    """The version; threads are those of the processors that the process may use."""
    import jax

    jax.config.update("jax_enable_x64", False)
    return jax.__version__


def _multilayer(work: Any, p: dict[str, Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    last = 2 * (len(work.widths) - 2)
    for k in range(0, last + 1, 2):
        x = x @ p[f"{k}.weight"].T + p[f"{k}.bias"]
        if k < last:
            x = jnp.tanh(x) if work.activation == "tanh" else jax.nn.relu(x)
    return x


def _lenet(work: Any, p: dict[str, Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    for name, padding in (("0", 2), ("3", 0)):
        x = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), [(padding, padding)] * 2,
                                         dimension_numbers=("NCHW", "OIHW", "NCHW"))
        x = jax.nn.relu(x + p[f"{name}.bias"][:, None, None])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(len(x), -1)
    for name in ("7", "9", "11"):
        x = x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        x = jax.nn.relu(x) if name != "11" else x
    return x


def _transformer(work: Any, p: dict[str, Any], text: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def norm(x: Any, at: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * p[f"{at}.weight"] + p[f"{at}.bias"]

    def linear(x: Any, at: str) -> Any:
        return x @ p[f"{at}weight"].T + p[f"{at}bias"]

    length, heads = text.shape[1], works.HEADS
    x = p["characters.weight"][text] + p["positions.weight"][:length]
    mask = jnp.tril(jnp.ones((length, length), bool))
    for k in range(works.LAYERS):
        at = f"layers.layers.{k}."
        parts = jnp.split(linear(norm(x, f"{at}norm1"), f"{at}self_attn.in_proj_"), 3, axis=-1)
        q, k_, v = (part.reshape(*part.shape[:2], heads, -1).transpose(0, 2, 1, 3) for part in parts)
        scores = jnp.where(mask, q @ k_.transpose(0, 1, 3, 2) * q.shape[-1] ** -0.5, -jnp.inf)
        mixed = (jax.nn.softmax(scores, axis=-1) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + linear(mixed, f"{at}self_attn.out_proj.")
        inner = jax.nn.gelu(linear(norm(x, f"{at}norm2"), f"{at}linear1."), approximate=False)
        x = x + linear(inner, f"{at}linear2.")
    return linear(norm(x, "layers.norm"), "scores.").reshape(-1, works.VOCABULARY)


FORWARD = {"multilayer": _multilayer, "lenet": _lenet, "transformer": _transformer}


def _update(work: Any, p: Any, g: Any, state: Any) -> tuple[Any, Any]:
    """One step of the optimiser; its hyper-parameters are PyTorch's defaults."""
    import jax
    import jax.numpy as jnp

    if work.optimizer == "SGD":
        return jax.tree.map(lambda p, g: p - work.lr * g, p, g), state
    m, v, t = state
    decay = 1e-2 if work.optimizer == "AdamW" else 0.0
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    rate, root = work.lr / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    p = jax.tree.map(lambda p, m, v: p * (1 - work.lr * decay) - rate * m / (jnp.sqrt(v) / root + 1e-8), p, m, v)
    return p, (m, v, t)


def _network(work: Any) -> Way:
    import jax
    import jax.numpy as jnp
    import numpy as np

    def loss(p: Any, x: Any, y: Any) -> Any:
        out = FORWARD[work.family](work, p, x)
        if not work.classes:
            return ((out - y) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(out), y.reshape(-1, 1), axis=1).mean()

    def step(p: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
        value, g = jax.value_and_grad(loss)(p, x, y)
        return *_update(work, p, g, state), value

    jitted = jax.jit(step, donate_argnums=(0, 1))
    p = {name: jnp.asarray(value) for name, value in work.parameters().items()}
    zeros = {name: jnp.zeros_like(value) for name, value in p.items()}
    state = () if work.optimizer == "SGD" else (zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0))
    X, Y = work.data()
    x = jnp.asarray(X[:work.batch])
    y = jnp.asarray(Y[:work.batch])
    gradients = {name: np.asarray(g) for name, g in jax.grad(loss)(p, x, y).items()}
    losses = []
    for _ in range(CHECKED_STEPS):
        p, state, value = jitted(p, state, x, y)
        losses.append(float(value))

    def run(steps: int) -> None:
        nonlocal p, state
        for _ in range(steps):
            p, state, value = jitted(p, state, x, y)
        jax.block_until_ready((p, value))

    return Way(losses, gradients, run)


def _chain(work: Any) -> Way:
    import jax
    import jax.numpy as jnp
    import numpy as np

    spot, volatility, strike, years = map(jnp.asarray, work.data())
    call = jax.jit(jax.value_and_grad(
        lambda s, v, k, t: work.value(jnp, jax.nn.sigmoid, s, v, k, t), argnums=(0, 1)))
    value, gradients = call(spot, volatility, strike, years)

    def run(steps: int) -> None:
        for _ in range(steps):
            made = call(spot, volatility, strike, years)
        jax.block_until_ready(made)

    return Way([float(value)], {str(k): np.asarray(g) for k, g in enumerate(gradients)}, run)


WAYS = {
    "JAX jit": (lambda work: not isinstance(work, works.Scalars),  # minutes of compiling for the graph of scalars
                lambda work: _network(work) if isinstance(work, works.Network) else _chain(work)),
}
