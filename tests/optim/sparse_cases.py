"""Tables whose gradients list their rows, trained by PyTorch and by us: plain data for both."""

import numpy as np

STEPS, ROWS, WIDTH, BATCH = 24, 9, 3, 5
PADDING = 4

# name: (optimiser, its arguments, the layer, its arguments, backward calls a step)
CASES = {
    "sgd": ("SGD", {"lr": 0.1}, "Embedding", {}, 1),
    "sgd_accumulated": ("SGD", {"lr": 0.05}, "Embedding", {"padding_idx": PADDING}, 2),
    "sgd_maximize": ("SGD", {"lr": 0.01, "maximize": True}, "EmbeddingBag", {"mode": "sum"}, 1),
    "sgd_momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}, "Embedding", {}, 1),
    "adagrad": ("Adagrad", {"lr": 0.2}, "Embedding", {}, 1),
    "adagrad_all": ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-4},
                    "EmbeddingBag", {"mode": "mean", "padding_idx": PADDING}, 1),
    "sparse_adam": ("SparseAdam", {"lr": 0.05}, "Embedding", {}, 1),
    "sparse_adam_betas": ("SparseAdam", {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-2}, "Embedding",
                          {"padding_idx": PADDING}, 2),
    "sparse_adam_maximize": ("SparseAdam", {"lr": 0.01, "maximize": True}, "EmbeddingBag", {"mode": "mean"}, 1),
}
STATEFUL = ("adagrad_all", "sparse_adam", "sparse_adam_betas")


def start():
    """The table, exact in float32."""
    return np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32).astype(np.float64)


def batch(step, call):
    """Indices (BATCH, 2) of which some repeat, in changing corners of the table, and the weights of the loss."""
    rng = np.random.default_rng([step, call])
    index = (rng.integers(0, 5, (BATCH, 2)) + 2 * (step % 4)) % ROWS
    return index, rng.uniform(0.5, 1.5, (BATCH, 1)).astype(np.float32).astype(np.float64)


def loss(rows, weights):
    """The weighted mean of squared distances to 0.5; works on PyTorch's tensors and on ours."""
    if len(rows.shape) == 3:
        rows = rows.sum(1)
    return (weights * (rows - 0.5) ** 2).mean()
