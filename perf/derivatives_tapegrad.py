"""The works of derivatives.py in tapegrad: recorded calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import derivative_works as works
import numpy as np
from worker import CHECKED_STEPS, Way

LR = 1e-3


def begin(threads: int) -> str:
    """The version."""
    import tapegrad as tg

    tg.set_num_threads(threads)
    return tg.__version__


def repeated(function: Callable, *args: Any) -> Callable[[int], None]:
    """So many calls."""

    def run(steps: int) -> None:
        for _ in range(steps):
            function(*args)

    return run


def network(p: Any, x: Any, layers: int) -> Any:
    """A perceptron of tanh."""
    import tapegrad as tg

    for k in range(layers):
        x = tg.linear(x, p[f"w{k}"], p[f"b{k}"])
        x = tg.tanh(x) if k < layers - 1 else x
    return x


def logistic(work: Any) -> Way:
    import tapegrad as tg

    rows, signs, w = works.logistic(work)
    hessian = tg.compile(tg.hessian(lambda w: -tg.log_sigmoid(signs * (rows @ w)).mean() + 0.05 * (w * w).sum()))
    found = hessian(w)
    return Way([works.shown(found)], {"result": found}, repeated(hessian, w))


def _loss(work: Any) -> tuple[Any, Callable]:
    import tapegrad as tg
    import tapegrad.nn.functional as F

    rows, *widths = work.sizes
    x, y = works.batch(work, rows, widths[0]), works.labels(work, rows, widths[-1])
    return works.weights(work, tuple(widths)), lambda p: F.cross_entropy(
        network(p, tg.tensor(x), len(widths) - 1), tg.tensor(y))


def hvp(work: Any) -> Way:
    import tapegrad as tg

    p, loss = _loss(work)
    v = {name: np.cos(np.arange(a.size, dtype=work.dtype)).reshape(a.shape) for name, a in p.items()}
    product = tg.compile(lambda p, v: tg.hvp(loss, (p,), (v,))[0])
    found = {name: t.numpy() for name, t in product(p, v).items()}
    return Way([works.shown(found["w0"])], found, repeated(product, p, v))


def gradient(work: Any) -> Way:
    import tapegrad as tg

    p, loss = _loss(work)
    first = tg.compile(tg.grad(loss))
    way = hvp(work)
    first(p)
    return Way(way.losses, way.gradients, repeated(first, p))


def jacobian(work: Any) -> Way:
    import tapegrad as tg

    x = works.batch(work, 1, work.sizes[0])[0]
    p = {name: tg.tensor(a) for name, a in works.weights(work, work.sizes).items()}
    product = tg.compile(tg.jacobian(lambda x: network(p, x, len(work.sizes) - 1)))
    found = product(x)
    return Way([works.shown(found)], {"result": found}, repeated(product, x))


def _rosenbrock(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock(work: Any) -> Way:
    import tapegrad as tg

    x = work.rng().normal(size=work.sizes[0])
    hessian = tg.compile(tg.sparse_hessian(_rosenbrock))
    found = hessian(x)
    return Way([works.shown(found.data)], {"result": found.data}, repeated(hessian, x))


def rosenbrock_gradient(work: Any) -> Way:
    import tapegrad as tg

    x = work.rng().normal(size=work.sizes[0])
    way, first = rosenbrock(work), tg.compile(tg.grad(_rosenbrock))
    first(x)
    return Way(way.losses, way.gradients, repeated(first, x))


def reaction(work: Any) -> Way:
    import tapegrad as tg

    n = work.sizes[0]

    def f(s: Any) -> Any:
        a, b = s.reshape(2, n, n)

        def laplacian(c: Any) -> Any:
            p = tg.pad(c, 1)
            return p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4.0 * c

        return tg.stack([laplacian(a) + a * a * b - a, laplacian(b) - a * a * b]).ravel()

    s = work.rng().normal(size=2 * n * n)
    jacobian = tg.compile(tg.sparse_jacobian(f))
    found = jacobian(s)
    return Way([works.shown(found.data)], {"result": found.data}, repeated(jacobian, s))


def pinn(work: Any) -> Way:
    import tapegrad as tg
    from tapegrad import nn, optim

    _, *widths = work.sizes
    p = {name: nn.Parameter(tg.tensor(a)) for name, a in works.weights(work, tuple(widths)).items()}
    inner, border = works.points(work)
    units = [np.broadcast_to(unit, inner.shape).copy() for unit in np.eye(2)]

    def loss(inner: Any, border: Any) -> Any:
        def u(x: Any) -> Any:
            return network(p, x, len(widths) - 1)[:, 0]

        laplacian = sum(tg.jvp(lambda x, e=e: tg.jvp(u, (x,), (e,))[1], (inner,), (e,))[1] for e in units)
        source = 2.0 * np.pi ** 2 * tg.sin(np.pi * inner[:, 0]) * tg.sin(np.pi * inner[:, 1])
        return ((laplacian + source) ** 2).mean() + (u(border) ** 2).mean()

    step = tg.TrainStep(loss, optim.Adam(list(p.values()), lr=LR))
    losses = [step(inner, border)]
    gradients = {name: t.grad.numpy() for name, t in p.items()}
    losses += [step(inner, border) for _ in range(CHECKED_STEPS - 1)]
    return Way(losses, gradients, repeated(step, inner, border))


def _members(work: Any, copies: int) -> Way:
    import tapegrad as tg
    from tapegrad import nn, optim

    _, rows, *widths = work.sizes
    stacked = works.weights(work, tuple(widths), work.sizes[0])
    x, y = works.batch(work, rows, widths[0]), works.batch(work, rows, 1, 1)[0]
    given = stacked if copies else {name: a[0] for name, a in stacked.items()}
    p = {name: nn.Parameter(tg.tensor(a)) for name, a in given.items()}

    def one(p: Any, x: Any, y: Any) -> Any:
        return ((network(p, x, len(widths) - 1) - y) ** 2).mean()

    every = tg.vmap(one, (0, None, None))
    step = tg.TrainStep((lambda x, y: every(p, x, y).sum()) if copies else (lambda x, y: one(p, x, y)),
                        optim.SGD(list(p.values()), lr=0.1))
    losses = [step(x, y)]
    gradients = {name: t.grad.numpy() for name, t in p.items()}
    losses += [step(x, y) for _ in range(CHECKED_STEPS - 1)]
    return Way(losses, gradients, repeated(step, x, y))


def ensemble(work: Any) -> Way:
    return _members(work, work.sizes[0])


def member(work: Any) -> Way:
    way = ensemble(work)
    return Way(way.losses, way.gradients, _members(work, 0).run)


MAKERS = {f.__name__: f for f in (logistic, hvp, jacobian, rosenbrock, reaction, pinn, ensemble)}
BESIDE = {"hvp": gradient, "rosenbrock": rosenbrock_gradient, "ensemble": member}
WAYS = {
    "tapegrad": (lambda work: True, lambda work: MAKERS[work.kind](work)),
    "tapegrad, one gradient or model": (lambda work: work.kind in BESIDE, lambda work: BESIDE[work.kind](work)),
}
