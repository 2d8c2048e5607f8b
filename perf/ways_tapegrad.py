"""The works of compare.py in tapegrad: recorded, called from Python batch by batch, and define-by-run."""

from __future__ import annotations

from typing import Any

from worker import CHECKED_STEPS, Way, load_works

works = load_works()


def begin(threads: int) -> str:
    """The version."""
    import tapegrad

    return tapegrad.__version__


def _network(work: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Model, optimiser, loss function, inputs and targets."""
    import numpy as np

    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = work.build(nn, np.arange(works.CONTEXT))
    values = work.parameters()
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])
    optimizer = getattr(optim, work.optimizer)(model.parameters(), lr=work.lr)
    X, Y = work.data()
    return model, optimizer, lambda x, y: work.loss(F, model, x, y), X, Y


def _gradients(model: Any) -> dict[str, Any]:
    return {name: p.grad.numpy() for name, p in model.named_parameters()}


def recorded(work: Any) -> Way:
    """TrainStep.run: batches gathered, shuffled and stepped in compiled code."""
    import tapegrad as tg

    model, optimizer, loss, X, Y = _network(work)
    step, b = tg.TrainStep(loss, optimizer), work.batch
    losses, gradients = [], {}
    for _ in range(CHECKED_STEPS):
        losses.append(float(step.run(X[:b], Y[:b], batch_size=b, shuffle=False).loss[0]))
        gradients = gradients or _gradients(model)
    return Way(losses, gradients,
               lambda steps: step.run(X, Y, batch_size=b, epochs=steps // work.batches, seed=0), work.batches)


def called(work: Any) -> Way:
    """step(x, y): one compiled call for each batch that Python hands over."""
    import tapegrad as tg

    model, optimizer, loss, X, Y = _network(work)
    step = tg.TrainStep(loss, optimizer)
    x, y = X[:work.batch].copy(), Y[:work.batch].copy()
    losses, gradients = [], {}
    for _ in range(CHECKED_STEPS):
        losses.append(step(x, y))
        gradients = gradients or _gradients(model)

    def run(steps: int) -> None:
        for _ in range(steps):
            step(x, y)

    return Way(losses, gradients, run)


def by_run(work: Any) -> Way:
    """Each op computed at once and recorded, backward, step."""
    import tapegrad as tg

    model, optimizer, loss, X, Y = _network(work)
    x, y = tg.tensor(X[:work.batch]), Y[:work.batch].copy()
    y = y if work.classes else tg.tensor(y)

    def one() -> Any:
        optimizer.zero_grad()
        value = loss(x, y)
        value.backward()
        optimizer.step()
        return value

    losses, gradients = [], {}
    for _ in range(CHECKED_STEPS):
        losses.append(one().item())
        gradients = gradients or _gradients(model)

    def run(steps: int) -> None:
        for _ in range(steps):
            one()

    return Way(losses, gradients, run)


def _repeated(call: Any, *args: Any) -> Way:
    """Value and gradient of a function, again and again."""
    value, gradients = call(*args)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)

    def run(steps: int) -> None:
        for _ in range(steps):
            call(*args)

    return Way([float(value)], {str(k): g for k, g in enumerate(gradients)}, run)


def chain(work: Any) -> Way:
    """The compiled function; spots and volatilities are arguments, the rest is constant."""
    import tapegrad as tg

    spot, volatility, strike, years = work.data()
    strike, years = tg.tensor(strike), tg.tensor(years)
    return _repeated(tg.compile(tg.value_and_grad(
        lambda s, v: work.value(tg, tg.sigmoid, s, v, strike, years), argnums=(0, 1))), spot, volatility)


def scalars(work: Any) -> Way:
    """The compiled graph."""
    import tapegrad as tg

    return _repeated(tg.compile(tg.value_and_grad(work.function(tg))), work.data())


def scalars_by_run(work: Any) -> Way:
    """The graph op by op."""
    import tapegrad as tg

    return _repeated(tg.value_and_grad(work.function(tg)), work.data())


def _is(kind: Any) -> Any:
    return lambda work: isinstance(work, kind)


def main_way(work: Any) -> Way:
    """What a user takes for speed."""
    made = recorded if isinstance(work, works.Network) else chain if isinstance(work, works.Chain) else scalars
    return made(work)


WAYS = {
    "tapegrad": (lambda work: True, main_way),
    "tapegrad, step(x, y)": (_is(works.Network), called),
    "tapegrad, by run": (lambda work: not isinstance(work, works.Chain),
                         lambda work: by_run(work) if isinstance(work, works.Network) else scalars_by_run(work)),
}
