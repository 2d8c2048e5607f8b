"""The works of compare.py in PyTorch: eager, and with the loss through torch.compile.

A step is zero_grad, loss, backward, step on one batch that stays in place; the optimisers are those of torch.optim as
they come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker import CHECKED_STEPS, Way, load_works

works = load_works()


def begin(threads: int) -> str:
    """Set the threads; the version."""
    import torch

    torch.set_num_threads(threads)
    return torch.__version__


def _network(work: Any, wrap: Callable[[Any], Any]) -> Way:
    import torch

    nn, F = torch.nn, torch.nn.functional
    mask = nn.Transformer.generate_square_subsequent_mask(works.CONTEXT)
    model = work.build(nn, torch.arange(works.CONTEXT), mask)
    values = work.parameters()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))
    optimizer = getattr(torch.optim, work.optimizer)(model.parameters(), lr=work.lr)
    X, Y = work.data()
    x, y = torch.from_numpy(X[:work.batch]), torch.from_numpy(Y[:work.batch])
    loss = wrap(lambda x, y: work.loss(F, model, x, y))

    def one() -> Any:
        optimizer.zero_grad()
        value = loss(x, y)
        value.backward()
        optimizer.step()
        return value

    losses: list[float] = []
    gradients: dict[str, Any] = {}
    for _ in range(CHECKED_STEPS):
        losses.append(one().item())
        gradients = gradients or {name: p.grad.numpy().copy() for name, p in model.named_parameters()}

    def run(steps: int) -> None:
        for _ in range(steps):
            one()

    return Way(losses, gradients, run)


def _value_and_gradient(inputs: list[Any], function: Callable[..., Any]) -> Way:
    def one() -> Any:
        for v in inputs:
            v.grad = None
        value = function(*inputs)
        value.backward()
        return value

    value = one().item()
    gradients = {str(k): v.grad.numpy().copy() for k, v in enumerate(inputs)}

    def run(steps: int) -> None:
        for _ in range(steps):
            one()

    return Way([value], gradients, run)


def _chain(work: Any, wrap: Callable[[Any], Any]) -> Way:
    import torch

    spot, volatility, strike, years = map(torch.from_numpy, work.data())
    return _value_and_gradient(
        [spot.requires_grad_(), volatility.requires_grad_()],
        wrap(lambda s, v: work.value(torch, torch.sigmoid, s, v, strike, years)))


def _scalars(work: Any) -> Way:
    import torch

    def function(x: Any) -> Any:
        return work.value(list(x.unbind()), torch.nn.functional.softplus,
                          lambda four: torch.stack(four).softmax(0).unbind(), lambda last: torch.stack(last).mean())

    return _value_and_gradient([torch.from_numpy(work.data()).requires_grad_()], function)


def eager(work: Any) -> Way:
    """As most people use it."""
    if isinstance(work, works.Scalars):
        return _scalars(work)
    make = _chain if isinstance(work, works.Chain) else _network
    return make(work, lambda function: function)


def compiled(work: Any) -> Way:
    """The loss compiled, forward and backward."""
    import torch

    torch.compiler.reset()
    make = _chain if isinstance(work, works.Chain) else _network
    return make(work, torch.compile)


WAYS = {
    "PyTorch eager": (lambda work: True, eager),
    "torch.compile": (lambda work: not isinstance(work, works.Scalars), compiled),  # minutes for the graph of scalars
}
