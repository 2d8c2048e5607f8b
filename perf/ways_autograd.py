"""The graph of scalars in HIPS autograd."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from worker import Way, load_works

works = load_works()


def begin(threads: int) -> str:
    """The version."""
    import autograd  # noqa: F401

    return metadata.version("autograd")


def traced(work: Any) -> Way:
    """Value and gradient, traced anew at every call."""
    import autograd
    import autograd.numpy as np

    def softmax(four: list[Any]) -> list[Any]:
        powers = np.exp(np.array(four) - max(v._value if hasattr(v, "_value") else v for v in four))
        shares = powers / np.sum(powers)
        return [shares[k] for k in range(4)]

    call = autograd.value_and_grad(
        lambda x: work.value([x[k] for k in range(work.inputs)], lambda v: np.logaddexp(0.0, v), softmax,
                             lambda last: np.mean(np.array(last))))
    x = work.data()
    value, gradient = call(x)

    def run(steps: int) -> None:
        for _ in range(steps):
            call(x)

    return Way([float(value)], {"0": gradient}, run)


WAYS = {"autograd": (lambda work: isinstance(work, works.Scalars) and work.dtype == "float64", traced)}
