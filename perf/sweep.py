"""Trainings a second when many small networks are trained with other learning rates, on all cores.

`tg.sweep` in forked processes, one network after the other (`TrainStep.run`) or up to sixteen at once in one recorded
step; and, with --torch-python PATH, PyTorch's eager steps in the processes of joblib in that interpreter, one thread
each. All begin with the same weights, see the same batches and must reach the same losses. The ways take turns, repeat
by repeat; medians are shown. The start of processes belongs to the time, that of the interpreters and their imports
does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

INPUTS, ROWS, BATCH = 8, 512, 32
ALONE, TOGETHER, TORCH = "tg.sweep, one by one", "tg.sweep, together", "joblib, PyTorch eager"

Losses = list[float]


def data() -> tuple[Any, Any]:
    """Inputs and targets, float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return x, np.sin(x[:, :1]) * x[:, 1:2]


def weights(width: int) -> list[Any]:
    """The values at the beginning, of a network of two layers."""
    import numpy as np

    rng = np.random.default_rng(1)
    shapes = ((width, INPUTS), (width,), (1, width), (1,))
    return [rng.uniform(-0.3, 0.3, shape).astype(np.float32) for shape in shapes]


def rates(runs: int) -> Losses:
    """A learning rate for each training."""
    import numpy as np

    return np.geomspace(1e-4, 1e-2, runs).tolist()


def by_tapegrad(runs: int, width: int, epochs: int, workers: int, together: bool) -> Losses:
    """The mean squared errors after all trainings."""
    import tapegrad as tg
    from tapegrad import nn, optim

    x, y = data()

    def outputs(x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        return tg.tanh(x @ w.T + b) @ v.T + c

    def one(lr: float) -> float:
        parameters = [nn.Parameter(value) for value in weights(width)]
        step = tg.TrainStep(lambda x, y: ((outputs(x, *parameters) - y) ** 2).mean(), optim.Adam(parameters, lr=lr))
        step.run(x, y, batch_size=BATCH, epochs=epochs, shuffle=False)
        with tg.no_grad():
            return float(((outputs(x, *parameters) - y) ** 2).mean())

    def several(lr: list[float]) -> Losses:
        parameters = [[nn.Parameter(value) for value in weights(width)] for _ in lr]
        optimizer = optim.Adam([{"params": each, "lr": rate} for each, rate in zip(parameters, lr)])

        def losses(x: Any, y: Any) -> Any:
            stacked = [tg.stack(of_layer) for of_layer in zip(*parameters)]
            found = tg.vmap(outputs, in_axes=(None, 0, 0, 0, 0))(x, *stacked)
            return ((found - y) ** 2).mean(axis=(1, 2))

        step = tg.TrainStep(lambda x, y: losses(x, y).sum(), optimizer)
        step.run(x, y, batch_size=BATCH, epochs=epochs, shuffle=False)
        with tg.no_grad():
            return losses(tg.tensor(x), tg.tensor(y)).numpy().tolist()

    found = tg.sweep(several if together else one, {"lr": rates(runs)}, workers=workers,
                     together=["lr"] if together else [])
    return found.columns["loss"]


def torch_one(lr: float, width: int, epochs: int) -> float:
    """The mean squared error after a training, by PyTorch."""
    import torch

    torch.set_num_threads(1)
    x, y = map(torch.from_numpy, data())
    parameters = [torch.from_numpy(value).requires_grad_() for value in weights(width)]
    optimizer = torch.optim.Adam(parameters, lr=lr)

    def loss(x: Any, y: Any) -> Any:
        w, b, v, c = parameters
        return ((torch.tanh(x @ w.T + b) @ v.T + c - y) ** 2).mean()

    for _ in range(epochs):
        for k in range(0, ROWS, BATCH):
            optimizer.zero_grad()
            loss(x[k : k + BATCH], y[k : k + BATCH]).backward()
            optimizer.step()
    return loss(x, y).item()


def torch_answers() -> None:
    """In PyTorch's interpreter: for each line of settings the seconds and the losses."""
    import joblib

    with joblib.Parallel(n_jobs=int(sys.argv[2])) as parallel:
        for line in sys.stdin:
            runs, width, epochs = json.loads(line)
            start = time.perf_counter()
            losses = parallel(joblib.delayed(torch_one)(lr, width, epochs) for lr in rates(runs))
            print(json.dumps([time.perf_counter() - start, losses]), flush=True)


def main() -> None:
    """Measure and print."""
    parser = report.parser(__doc__)
    parser.add_argument("--runs", type=report.positive, default=64, metavar="N", help="trainings (64)")
    parser.add_argument("--width", type=report.positive, default=32, metavar="N", help="of the hidden layer (32)")
    parser.add_argument("--epochs", type=report.positive, default=20, metavar="N", help="of 16 steps (20)")
    parser.add_argument("--workers", type=report.positive, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--repeats", type=report.positive, default=5, metavar="N", help="of each way (5)")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter with PyTorch and joblib")
    given = parser.parse_args()
    report.set_threads(1)
    import numpy as np

    work = (given.runs, given.width, given.epochs)

    def timed(together: bool) -> tuple[float, Losses]:
        start = time.perf_counter()
        losses = by_tapegrad(*work, given.workers, together)
        return time.perf_counter() - start, losses

    ways: dict[str, Callable[[], tuple[float, Losses]]] = {ALONE: lambda: timed(False), TOGETHER: lambda: timed(True)}
    torch: Any = None
    if given.torch_python:
        command = [given.torch_python, str(Path(__file__).resolve()), "--answer-for-torch", str(given.workers)]
        torch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def asked() -> tuple[float, Losses]:
            torch.stdin.write(json.dumps(work) + "\n")
            torch.stdin.flush()
            answer = torch.stdout.readline()
            return tuple(json.loads(answer)) if answer else sys.exit("PyTorch's process ended; see above")

        ways[TORCH] = asked

    progress = report.Progress((given.repeats + 1) * len(ways))
    seconds: dict[str, Losses] = {name: [] for name in ways}
    expected: Any = None
    for repeat in range(given.repeats + 1):  # the first, which compiles and imports, does not count
        for name, way in ways.items():
            progress(f"{name}, repeat {repeat}")
            took, losses = way()
            expected = losses if expected is None else expected
            np.testing.assert_allclose(losses, expected, rtol=1e-3, err_msg=name)
            if repeat:
                seconds[name].append(took)
    progress.end()
    if torch is not None:
        torch.stdin.close()
        torch.wait()
    found = {name: {"seconds": report.median(each), "spread": report.spread(each),
                    "trainings_per_second": given.runs / report.median(each)} for name, each in seconds.items()}
    slowest = max(each["seconds"] for each in found.values())
    report.table(
        f"{given.runs} trainings of {INPUTS}-{given.width}-1, {given.epochs} epochs of {ROWS // BATCH} steps of {BATCH}"
        f" rows, Adam, {given.workers} processes",
        ("way", "trainings a second", "seconds", "spread", "times as fast"),
        [(name, f"{each['trainings_per_second']:,.1f}", f"{each['seconds']:.3f}", f"{each['spread']:.0%}",
          f"{slowest / each['seconds']:.1f}") for name, each in found.items()],
    )  # fmt: skip
    if given.plot:
        plt = report.pyplot()
        figure, axes = plt.subplots(figsize=(7, 0.6 * len(found) + 1.2), layout="constrained")
        axes.barh(list(found), [each["trainings_per_second"] for each in found.values()], color="#3b4a6b")
        axes.invert_yaxis()
        axes.set_xlabel("trainings a second")
        figure.savefig(given.plot, dpi=130)
    report.finish(given, report.machine(), found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer-for-torch"]:
        torch_answers()
    else:
        main()
