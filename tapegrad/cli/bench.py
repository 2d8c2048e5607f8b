"""``tapegrad bench``: the time of a step on this machine, beside PyTorch where it is installed."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as Report

from .. import TrainStep, compile, functions, nn, optim, value_and_grad
from ..errors import ArgumentError
from ..nn import functional as F
from .works import WORKS, Chain, Network, Scalars, adjusted

__all__ = ["bench"]

#: slow ones, and near duplicates
_LEFT_OUT = ("784-", "1024-", "float64")
_CHECKED_STEPS = 3
_Step = Callable[[int], Any]


def bench(
    only: Annotated[str | None, typer.Option(metavar="TEXT", help="Only what has TEXT in its name.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter measurements of smaller works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Time training steps and gradients; beside PyTorch where it is installed (perf/compare.py has more peers)."""
    names = [name for name in WORKS if (only in name if only else not any(text in name for text in _LEFT_OUT))]
    if not names:
        raise ArgumentError(f"--only {only}: no name contains that; there are {'; '.join(WORKS)}")
    results = {}
    for name in names:
        work = adjusted(WORKS[name], quick)
        ways = {"tapegrad": _tapegrad(work), **_torch(work)}
        results[name] = _microseconds(name, ways, repeats, 0.01 if quick else 0.1)
    if as_json:
        typer.echo(json.dumps(results))
        return
    _print(results)


def _print(results: dict[str, dict[str, list[float]]]) -> None:
    ways = list(dict.fromkeys(way for times in results.values() for way in times))
    report = Report(title="microseconds for one step, or for value and gradient", title_justify="left")
    report.add_column("work")
    for way in (*ways, *(["times as fast"] if len(ways) > 1 else [])):
        report.add_column(way, justify="right")
    for name, times in results.items():
        medians = [statistics.median(times[way]) if way in times else None for way in ways]
        ratio = ["-" if m is None else f"{m / (medians[0] or 1):,.1f}" for m in medians[1:]]
        report.add_row(name, *("-" if m is None else f"{m:,.1f}" for m in medians), *ratio)
    Console().print(report)


def _microseconds(name: str, ways: dict[str, tuple[list[float], _Step, int]], repeats: int,
                  seconds: float) -> dict[str, list[float]]:
    """By repeat and by way, which alternate; their losses must agree."""
    first = ways["tapegrad"][0]
    for way, (losses, _, _) in ways.items():
        if not np.allclose(losses, first, rtol=1e-4, atol=1e-7):
            raise RuntimeError(f"{name}: {way} gives {losses}, tapegrad {first}")
    counts: dict[str, int] = {}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way, (_, run, every) in ways.items():
        run(every)
        counts[way] = every * max(1, round(seconds / _seconds(run, every)))
    for _ in range(repeats):
        for way, (_, run, _) in ways.items():
            times[way].append(1e6 * _seconds(run, counts[way]) / counts[way])
    return times


def _seconds(run: _Step, steps: int) -> float:
    began = time.perf_counter()
    run(steps)
    return time.perf_counter() - began


def _repeated(call: Callable[[], Any]) -> _Step:
    def run(steps: int) -> None:
        for _ in range(steps):
            call()

    return run


def _tapegrad(work: Network | Chain | Scalars) -> tuple[list[float], _Step, int]:
    """First losses, a function that makes steps, and the number that its steps are a multiple of."""
    from .. import tensor

    if isinstance(work, Network):
        model = work.build(nn, np.arange(64))
        for name, parameter in model.named_parameters():
            parameter.copy_(work.parameters()[name])
        step = TrainStep(lambda x, y: work.loss(F, model, x, y),
                         getattr(optim, work.optimizer)(model.parameters(), lr=work.lr))
        (X, Y), b = work.data(), work.batch
        losses = [step(X[:b], Y[:b]) for _ in range(_CHECKED_STEPS)]
        return losses, lambda n: step.run(X, Y, batch_size=b, epochs=n // work.batches, seed=0), work.batches
    if isinstance(work, Chain):
        spot, volatility, *rest = work.data()
        strike, years = map(tensor, rest)
        call = compile(value_and_grad(
            lambda s, v: work.value(functions, functions.sigmoid, s, v, strike, years), argnums=(0, 1)))
        return [float(call(spot, volatility)[0])], _repeated(lambda: call(spot, volatility)), 1

    graph, x = compile(value_and_grad(work.function(functions))), work.data()
    return [float(graph(x)[0])], _repeated(lambda: graph(x)), 1


def _torch(work: Network | Chain | Scalars) -> dict[str, tuple[list[float], _Step, int]]:
    """PyTorch's eager step of a network, where PyTorch is installed."""
    if not isinstance(work, Network):
        return {}
    try:
        import torch
    except ImportError:
        return {}
    mask = torch.nn.Transformer.generate_square_subsequent_mask(64)
    model = work.build(torch.nn, torch.arange(64), mask)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(work.parameters()[name]))
    optimizer = getattr(torch.optim, work.optimizer)(model.parameters(), lr=work.lr)
    x, y = (torch.from_numpy(a[:work.batch]) for a in work.data())

    def one() -> Any:
        optimizer.zero_grad()
        loss = work.loss(torch.nn.functional, model, x, y)
        loss.backward()
        optimizer.step()
        return loss

    return {"PyTorch eager": ([one().item() for _ in range(_CHECKED_STEPS)], _repeated(one), 1)}
