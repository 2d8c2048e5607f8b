"""What is recorded from PyTorch's `swa_utils` and compared with it."""

import numpy as np

STEPS = 12

# name: (the maker of the averaging function, its decay)
AVERAGES = {
    "swa": (None, None),
    "swa_lists": ("get_swa_multi_avg_fn", None),
    "swa_one": ("get_swa_avg_fn", None),
    "ema": ("get_ema_multi_avg_fn", 0.9),
    "ema_fast": ("get_ema_multi_avg_fn", 0.3),
    "ema_one": ("get_ema_avg_fn", 0.95),
}

RATES = {
    "cos": {"swa_lr": 0.05},
    "linear": {"swa_lr": [0.01, 0.2], "anneal_epochs": 6, "anneal_strategy": "linear"},
    "at_once": {"swa_lr": 0.05, "anneal_epochs": 0},
}


def values(step):
    """The parameters of a linear layer and a normalisation after a step."""
    rng = np.random.default_rng(step)
    return [rng.normal(size=shape) for shape in ((2, 3), (2,), (2,), (2,))]


def batch(step):
    """The input of a step."""
    return np.random.default_rng(100 + step).normal(size=(6, 3))
