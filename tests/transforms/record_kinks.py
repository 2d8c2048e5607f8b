"""First and second derivatives at kinks by other libraries: the columns of the table in `tg.grad`'s docstring.

``python tests/transforms/record_kinks.py jax`` (or ``torch``) prints them, a line a row of the table.
"""

import sys

import numpy as np

#: by row of the table: the point, and the function in each library's words, of the sum of what it returns; None where a
#: library has none
ROWS = {
    "abs(x), 0": (0.0, "tg.abs(x)", "jnp.abs(x)", "torch.abs(x)"),
    "relu(x), 0": (0.0, "F.relu(x)", "nn.relu(x)", "F.relu(x)"),
    "relu6(x), 6": (6.0, "F.relu6(x)", "nn.relu6(x)", "F.relu6(x)"),
    "leaky_relu(x, 0.1), 0": (0.0, "F.leaky_relu(x, 0.1)", "nn.leaky_relu(x, 0.1)", "F.leaky_relu(x, 0.1)"),
    "elu(x, 2), 0": (0.0, "F.elu(x, 2.0)", "nn.elu(x, 2.0)", "F.elu(x, 2.0)"),
    "selu(x), 0": (0.0, "F.selu(x)", "nn.selu(x)", "F.selu(x)"),
    "hardtanh(x), 1": (1.0, "F.hardtanh(x)", "nn.hard_tanh(x)", "F.hardtanh(x)"),
    "clip(x, 0, 1), 1": (1.0, "tg.clip(x, 0.0, 1.0)", "jnp.clip(x, 0.0, 1.0)", "torch.clip(x, 0.0, 1.0)"),
    "huber_loss(x, 0), 1": (1.0, "F.huber_loss(x, tg.zeros_like(x))", None, "F.huber_loss(x, torch.zeros_like(x))"),
    "maximum(x, 0), 0": (0.0, "tg.maximum(x, 0.0)", "jnp.maximum(x, 0.0)", "torch.maximum(x, torch.zeros_like(x))"),
    "max(x), [1, 1]": ([1.0, 1.0], "tg.max(x)", "jnp.max(x)", "torch.amax(x)"),
    "max(x * x), [1, 1]": ([1.0, 1.0], "tg.max(x * x)", "jnp.max(x * x)", "torch.amax(x * x)"),
    "sort(x * x) [1, 3], [1, 1]": ([1.0, 1.0], "tg.sort(x * x) * [1.0, 3.0]", "jnp.sort(x * x) * np.array([1.0, 3.0])",
                                   "torch.sort(x * x, stable=True)[0] * torch.tensor([1.0, 3.0])"),
    "max_pool1d(x * x), [1, 1]": (
        [1.0, 1.0], "F.max_pool1d(tg.reshape(x * x, (1, 1, 2)), 2)",
        "jax.lax.reduce_window(x * x, -np.inf, jax.lax.max, (2,), (2,), 'VALID')",
        "F.max_pool1d((x * x).reshape(1, 1, 2), 2)"),
    "sqrt(x), 0": (0.0, "tg.sqrt(x)", "jnp.sqrt(x)", "torch.sqrt(x)"),
    "x ** 0, 0": (0.0, "x ** 0.0", "x ** 0.0", "x ** 0.0"),
    "x ** 0.5, 0": (0.0, "x ** 0.5", "x ** 0.5", "x ** 0.5"),
    "x ** 1, 0": (0.0, "x ** 1.0", "x ** 1.0", "x ** 1.0"),
    "x ** 1.5, 0": (0.0, "x ** 1.5", "x ** 1.5", "x ** 1.5"),
    "x ** 2, 0": (0.0, "x ** 2.0", "x ** 2.0", "x ** 2.0"),
    "norm(x), [0, 0]": ([0.0, 0.0], "tg.norm(x)", "jnp.linalg.norm(x)", "torch.linalg.vector_norm(x)"),
    "norm(x, 1), [0, 1]": ([0.0, 1.0], "tg.norm(x, 1)", "jnp.linalg.norm(x, 1)", "torch.linalg.vector_norm(x, 1)"),
    "norm(x, inf), [1, 1]": ([1.0, 1.0], "tg.norm(x, np.inf)", "jnp.linalg.norm(x, np.inf)",
                             "torch.linalg.vector_norm(x, np.inf)"),
    "std(x), [1, 1]": ([1.0, 1.0], "tg.std(x)", "jnp.std(x)", "torch.std(x, correction=0)"),
    "prod(x), [0, 0]": ([0.0, 0.0], "tg.prod(x)", "jnp.prod(x)", "torch.prod(x)"),
}


def shown(gradient, hessian) -> str:
    """The gradient and the rows of the Hessian, of one variable its two numbers."""
    def text(values):
        return f"{values:.4g}" if np.ndim(values) == 0 else " ".join(map(text, values))

    return "; ".join(map(text, (gradient, *np.atleast_1d(hessian))))


def of_jax(text, x):
    import jax

    jax.config.update("jax_enable_x64", True)
    names = {"jax": jax, "jnp": jax.numpy, "nn": jax.nn, "np": np}

    def f(x):
        return jax.numpy.sum(eval(text, names, {"x": x}))

    return np.asarray(jax.grad(f)(x)), np.asarray(jax.hessian(f)(x))


def of_torch(text, x):
    import torch

    torch.set_default_dtype(torch.float64)
    v = torch.tensor(x, requires_grad=True)
    gradient, = torch.autograd.grad(eval(text, {"torch": torch, "F": torch.nn.functional, "np": np}, {"x": v}).sum(), v,
                                    create_graph=True)
    rows = [torch.autograd.grad(g, v, retain_graph=True, allow_unused=True)[0] if g.requires_grad else None
            for g in gradient.reshape(-1)]
    hessian = np.array([np.zeros(np.shape(x)) if r is None else r.numpy(force=True) for r in rows])
    return gradient.detach().numpy(force=True), hessian.reshape(np.shape(x) * 2)


if __name__ == "__main__":
    column, of = {"jax": (2, of_jax), "torch": (3, of_torch)}[sys.argv[1]]
    for name, row in ROWS.items():
        print(f"{name:28}", "-" if row[column] is None else shown(*of(row[column], np.array(row[0]))))
