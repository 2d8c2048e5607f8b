"""Calls written as PyTorch's users write them, evaluated here and, to record what they give, there.

Each is an expression in ``x`` (floats that want gradients), ``y`` (floats that do not), ``i`` (integers), ``m`` (bool)
and ``T``, the library.
"""

from __future__ import annotations

import numpy as np

INF = float("inf")


def _arrays(*shape: int) -> dict[str, np.ndarray]:
    draw = np.random.RandomState(sum(shape) + len(shape))
    x, y = draw.standard_normal(shape), draw.standard_normal(shape)
    return {"x": x, "y": y, "i": draw.randint(0, 3, shape), "m": draw.random_sample(shape) < 0.5}


ARRAYS = {
    "(2, 3)": _arrays(2, 3), "(4, 1)": _arrays(4, 1), "(3, 2, 5)": _arrays(3, 2, 5), "(7,)": _arrays(7),
    "()": _arrays(),
    "nan": {"x": np.array([[1.0, np.nan, 3.0, 2.0], [np.nan, -INF, np.nan, 5.0], [INF, 2.0, 2.5, 0.0]])},
}  # fmt: skip

#: by the arrays that they are evaluated over
EXPRESSIONS = {
    "(2, 3) (4, 1) (3, 2, 5)": """
        x.max(dim=1)
        x.max(dim=-2, keepdim=True)
        x.min(dim=0)
        x.min(dim=1, keepdim=True)
        T.max(x, dim=0).values
        x.max(y)
        T.min(x, y)
        x.amax(dim=(0, 1))
        x.amin(dim=1, keepdim=True)
        x.sort(dim=1)
        x.sort(dim=0, descending=True)
        T.sort(x, dim=-1, stable=True).values
        x.argsort(dim=0, descending=True)
        x.argmax(dim=1, keepdim=True)
        x.argmin(dim=0)
        x.topk(1, dim=1, largest=False)
        x.topk(x.shape[0], dim=0)
        x.kthvalue(1, dim=1)
        x.kthvalue(2, 0, keepdim=True)
        x.median()
        x.median(dim=1)
        x.median(0, keepdim=True)
        T.median(x, dim=0)
        x.nanmedian()
        x.nanmedian(dim=0)
        x.cummax(dim=1)
        x.cummin(0)
        x.var(dim=0)
        x.var(dim=(0, 1), keepdim=True)
        x.var(dim=0, unbiased=False)
        x.var(dim=0, correction=0.5)
        x.var(dim=None)
        x.detach().var(dim=())
        x.var(unbiased=True)
        x.var(0, unbiased=False)
        x.var(keepdim=True)
        x.std(dim=0)
        x.std(dim=0, keepdim=True, correction=0)
        T.std(x, dim=None)
        T.var_mean(x)
        T.var_mean(x, dim=0, keepdim=True)
        T.std_mean(x, dim=0, unbiased=False)
        T.var_mean(x, dim=(0, 1), correction=2)
        x.norm()
        x.norm(1)
        x.norm(p=3, dim=1)
        x.norm(2, 0)
        x.norm(p="fro", dim=(0, 1))
        x.norm(float("inf"), dim=0, keepdim=True)
        x.norm(p=float("-inf"))
        x.norm(p=0, dim=1)
        T.norm(x, p=1.5, dim=(0, 1))
        x.split(2, dim=0)
        x.split(2)
        x.split([1, x.shape[0] - 1])
        x.split(split_size=1, dim=1)
        x.split([x.shape[1], 0], dim=1)
        T.split(x, 3, dim=0)
        x.squeeze(dim=1)
        x.squeeze(dim=(0, 1))
        x.transpose(0, 1)
        x.transpose(dim0=1, dim1=0)
        x.flip(0, 1)
        x.flip(dims=(1,))
        x.sum(dim=())
        x.sum(dim=0)
        x.mean(dim=())
        x.mean(dim=[0, 1], keepdim=True)
        x.amax(dim=())
        x.prod(dim=1)
        x.logsumexp(dim=(0, 1))
        x.cumsum(dim=0)
        x.softmax(dim=1)
        x.quantile(0.3, dim=1)
        x.quantile(0.75, dim=0, keepdim=True, interpolation="lower")
        x.equal(y)
        x.equal(x)
        m.all(dim=())
        m.any(dim=1)
        x.reshape(-1).median()
    """,
    "(7,) ()": """
        x.max(dim=0)
        x.sort(dim=0)
        x.median()
        x.median(dim=0)
        x.cummax(dim=0)
        x.topk(1)
        x.norm(p=3)
        x.std(dim=0, correction=0)
        x.var(dim=-1, unbiased=False)
    """,
    "nan": """
        x.max(dim=1)
        x.min(dim=1)
        x.median(dim=1)
        x.median()
        x.nanmedian(dim=1)
        x.kthvalue(2, dim=1)
        x.sort(dim=1)
        x.sort(dim=1, descending=True)
        x.cummax(dim=1)
        x.cummin(dim=1)
        x.quantile(0.5, dim=1)
        x.nanmedian()
    """,
}

#: (expression, name of the arrays)
CASES = [(line.strip(), name) for names, lines in EXPRESSIONS.items() for line in lines.strip().splitlines()
         for name in names.replace(") (", ")|(").split("|")]


def cotangent(shape: tuple[int, ...], k: int) -> np.ndarray:
    """What the k-th result is weighted with before gradients are taken."""
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape) + 0.1 * k
