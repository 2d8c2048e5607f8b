"""Microseconds for one training step, recorded and define-by-run, beside PyTorch's eager step.

Five networks, from one whose arithmetic takes 5 microseconds to one that is nothing but matrix products. Before
anything is timed, every way trains for a few steps from the same parameters on the same batch, and the losses must
agree. Then the ways take turns, repeat by repeat, so that a change of the machine's speed meets all of them; the median
of the repeats is shown, with the spread that half of them stay within.

PyTorch is imported here if it can be; with --torch-python PATH it runs in a process of that interpreter instead, which
waits while the others run. Its step is zero_grad, loss, backward, step on one batch that stays in place; TrainStep.run
also gathers a shuffled batch at every step.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron and how it is trained."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    optimizer: str
    lr: float
    batches: int  # that the data hold; TrainStep.run goes over whole epochs of them

    @property
    def classes(self) -> bool:
        """Whether its target is a class, with cross entropy; else numbers, with the mean squared error."""
        return self.widths[-1] == 10


NETWORKS = {n.name: n for n in (
    Network("8-32-32-1 tanh, 32, SGD", (8, 32, 32, 1), "tanh", 32, "SGD", 1e-2, 256),
    Network("64-128-64-10 relu, 64, Adam", (64, 128, 64, 10), "relu", 64, "Adam", 1e-3, 64),
    Network("784-512-256-10 relu, 128, Adam", (784, 512, 256, 10), "relu", 128, "Adam", 1e-3, 16),
    Network("1024-1024-1024-10 relu, 256, SGD", (1024, 1024, 1024, 10), "relu", 256, "SGD", 1e-2, 8),
    Network("64-[64]x30-10 tanh, 64, SGD", (64, *[64] * 30, 10), "tanh", 64, "SGD", 1e-2, 32),
)}
CHECKED_STEPS = 5


def parameters_and_data(network: Network) -> tuple[list[Any], Any, Any]:
    """Weights and biases in PyTorch's layout, inputs and targets of all batches: the same in every process."""
    import numpy as np

    rng = np.random.default_rng(1)
    parameters = []
    for fan_in, fan_out in zip(network.widths, network.widths[1:]):
        bound = fan_in**-0.5
        parameters.append(rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32))
        parameters.append(rng.uniform(-bound, bound, fan_out).astype(np.float32))
    rows = network.batches * network.batch
    X = rng.standard_normal((rows, network.widths[0])).astype(np.float32)
    Y = rng.integers(0, 10, rows) if network.classes else rng.standard_normal((rows, 1)).astype(np.float32)
    return parameters, X, Y


# ------------------------------------------------------------------ the ways: (first losses, run so many steps)


Way = tuple[list[float], Callable[[int], None]]


def tapegrad_setup(network: Network) -> tuple[Any, Any, Any, Any, Any]:
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    parameters, X, Y = parameters_and_data(network)
    layers: list[Any] = []
    for fan_in, fan_out in zip(network.widths, network.widths[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh() if network.activation == "tanh" else nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    for parameter, value in zip(model.parameters(), parameters):
        parameter.copy_(value)
    loss = F.cross_entropy if network.classes else F.mse_loss
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=network.lr)
    return model, loss, optimizer, X, Y


def recorded_run(network: Network) -> Way:
    """TrainStep.run: batches gathered and stepped in compiled code."""
    import tapegrad as tg

    model, loss, optimizer, X, Y = tapegrad_setup(network)
    step = tg.TrainStep(lambda x, y: loss(model(x), y), optimizer)
    b = network.batch
    first = [step.run(X[:b], Y[:b], batch_size=b, shuffle=False).loss[0] for _ in range(CHECKED_STEPS)]

    def run(steps: int) -> None:
        step.run(X, Y, batch_size=b, epochs=steps // network.batches, seed=0)

    return first, run


def recorded_call(network: Network) -> Way:
    """step(x, y): one compiled call for each batch that Python hands over."""
    import tapegrad as tg

    model, loss, optimizer, X, Y = tapegrad_setup(network)
    step = tg.TrainStep(lambda x, y: loss(model(x), y), optimizer)
    x, y = X[:network.batch].copy(), Y[:network.batch].copy()

    def run(steps: int) -> None:
        for _ in range(steps):
            step(x, y)

    return [step(x, y) for _ in range(CHECKED_STEPS)], run


def define_by_run(network: Network) -> Way:
    """Each op computed at once and recorded, backward, step."""
    import tapegrad as tg

    model, loss, optimizer, X, Y = tapegrad_setup(network)
    x = tg.tensor(X[:network.batch])
    y = Y[:network.batch].copy() if network.classes else tg.tensor(Y[:network.batch])

    def one() -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    def run(steps: int) -> None:
        for _ in range(steps):
            one()

    return [one().item() for _ in range(CHECKED_STEPS)], run


def torch_eager(network: Network) -> Way:
    """PyTorch as most people use it."""
    import torch

    parameters, X, Y = parameters_and_data(network)
    layers: list[Any] = []
    for fan_in, fan_out in zip(network.widths, network.widths[1:]):
        activation = torch.nn.Tanh() if network.activation == "tanh" else torch.nn.ReLU()
        layers += [torch.nn.Linear(fan_in, fan_out), activation]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), parameters):
            parameter.copy_(torch.from_numpy(value))
    loss = torch.nn.functional.cross_entropy if network.classes else torch.nn.functional.mse_loss
    optimizer = getattr(torch.optim, network.optimizer)(model.parameters(), lr=network.lr)
    x, y = torch.from_numpy(X[:network.batch]), torch.from_numpy(Y[:network.batch])

    def one() -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    def run(steps: int) -> None:
        for _ in range(steps):
            one()

    return [one().item() for _ in range(CHECKED_STEPS)], run


WAYS: dict[str, Callable[[Network], Way]] = {
    "recorded run": recorded_run, "recorded call": recorded_call, "define by run": define_by_run,
    "PyTorch eager": torch_eager,
}


# ------------------------------------------------------------------ PyTorch in another interpreter


class Elsewhere:
    """A process of another interpreter that trains when it is told to, and waits otherwise."""

    def __init__(self, python: str, threads: int) -> None:
        command = [python, str(Path(__file__).resolve()), "--worker", "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._ask({"what": "version"})

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"the PyTorch process ended (exit status {self._process.wait()}); its message is above")
        return json.loads(answer)

    def way(self, network: Network) -> Way:
        """As `torch_eager`, run over there; `run` returns the seconds that it took there."""
        first = self._ask({"what": "prepare", "network": network.name})
        return first, lambda steps: self._ask({"what": "run", "network": network.name, "steps": steps})

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work(threads: int) -> None:
    """The other process: answer questions on standard input, a line each."""
    import torch

    torch.set_num_threads(threads)
    ways: dict[str, Way] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if question["what"] == "version":
            answer: Any = torch.__version__
        elif question["what"] == "prepare":
            ways[question["network"]] = torch_eager(NETWORKS[question["network"]])
            answer = ways[question["network"]][0]
        else:
            began = time.perf_counter()
            ways[question["network"]][1](question["steps"])
            answer = time.perf_counter() - began
        print(json.dumps(answer), flush=True)


# ------------------------------------------------------------------ measuring


def seconds_a_step(run: Callable[[int], Any], steps: int) -> float:
    """Seconds for a step of `steps` steps."""
    began = time.perf_counter()
    elsewhere = run(steps)
    return (time.perf_counter() - began if elsewhere is None else elsewhere) / steps


def steps_for(run: Callable[[int], Any], batches: int, seconds: float) -> int:
    """So many steps, in whole epochs, as take about `seconds`."""
    run(batches)
    once = seconds_a_step(run, batches)
    return batches * max(1, round(seconds / once / batches))


def measure(network: Network, ways: dict[str, Callable[[Network], Way]], repeats: int, seconds: float,
            progress: Callable[[str], None]) -> dict[str, Any]:
    """Microseconds of every repeat of every way, and the losses that they agree on."""
    ready = {name: make(network) for name, make in ways.items()}
    reference = next(iter(ready.values()))[0]
    for name, (first, _) in ready.items():
        if any(abs(a - b) > 1e-4 * max(abs(b), 1e-3) for a, b in zip(first, reference)):
            sys.exit(f"{network.name}: the losses of {name} {first} are not those of {next(iter(ready))} {reference}")
    counts = {name: steps_for(run, network.batches, seconds) for name, (_, run) in ready.items()}
    times: dict[str, list[float]] = {name: [] for name in ready}
    for repeat in range(repeats):
        progress(f"{network.name}, repeat {repeat + 1}")
        for name, (_, run) in ready.items():
            times[name].append(1e6 * seconds_a_step(run, counts[name]))
    return {"losses": [float(v) for v in reference], "microseconds": times}


def show(results: dict[str, Any]) -> None:
    """The table: a row a network, a column a way."""
    names = list(next(iter(results.values()))["microseconds"])
    rows = []
    for network, result in results.items():
        times = result["microseconds"]
        cells = [f"{report.median(times[name]):,.1f} ±{100 * report.spread(times[name]):.0f}%" for name in names]
        if "PyTorch eager" in times:
            eager = report.median(times["PyTorch eager"])
            cells += [f"{eager / report.median(times[name]):.2f}x" for name in ("recorded run", "define by run")
                      if name in times]
        rows.append([network, *cells])
    ratios = [f"eager / {name}" for name in ("recorded run", "define by run") if name in names]
    columns = ["network, batch, optimiser", *names, *(ratios if "PyTorch eager" in names else [])]
    report.table("microseconds for one training step, float32", columns, rows)


def plot(results: dict[str, Any], file: Path) -> None:
    """Bars, a group a network, on a logarithmic axis."""
    plt = report.pyplot()
    names = list(next(iter(results.values()))["microseconds"])
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.9 * len(results)), layout="constrained")
    height = 0.8 / len(names)
    for k, name in enumerate(names):
        places = [row + (k - (len(names) - 1) / 2) * height for row in range(len(results))]
        values = [report.median(r["microseconds"][name]) for r in results.values()]
        bars = axes.barh(places, values, height * 0.92, label=name)
        axes.bar_label(bars, [f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("microseconds for one training step (float32)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--only", metavar="TEXT", help="the networks whose names contain TEXT")
    parser.add_argument("--repeats", type=report.positive, default=7)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each repeat of each way (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS and PyTorch (default %(default)s)")
    parser.add_argument("--worker", action="store_true", help="answer another steps.py (internal)")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    if arguments.worker:
        work(arguments.threads)
        return
    chosen = [n for n in NETWORKS.values() if not arguments.only or arguments.only in n.name]
    if not chosen:
        parser.error(f"--only {arguments.only}: no network's name contains that; there are {'; '.join(NETWORKS)}")

    ways, elsewhere, torch_version = dict(WAYS), None, None
    if arguments.torch_python:
        elsewhere = Elsewhere(arguments.torch_python, arguments.threads)
        ways["PyTorch eager"], torch_version = elsewhere.way, elsewhere.version
    else:
        try:
            import torch

            torch.set_num_threads(arguments.threads)
            torch_version = torch.__version__
        except ImportError:
            del ways["PyTorch eager"]
            print("PyTorch is not installed here: --torch-python PATH compares with that of another interpreter.",
                  file=sys.stderr)
    progress = report.Progress(len(chosen) * arguments.repeats)
    results = {n.name: measure(n, ways, arguments.repeats, arguments.seconds, progress) for n in chosen}
    progress.end()
    if elsewhere is not None:
        elsewhere.close()
    show(results)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(torch=torch_version, threads=arguments.threads), results)


if __name__ == "__main__":
    main()
