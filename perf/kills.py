"""A training run that is killed at random moments (kill -9) and goes on each time, against one that nothing stops.

A process is killed at a moment drawn evenly from its start to some time after its first checkpoint; the next one goes
on from what it finds. What a kill costs are the steps since the last checkpoint. In the end weights, running
statistics, optimiser state and history have to be equal to the bit to those of the run that nothing stopped. Processes
are forked from one that has trained already, so that they die while they train, not while they import.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report


def train(optimizer: str, epochs: int, folder: Path, every: float, seen: Any, end: Path | None) -> None:
    """The run: batch statistics, dropout, a schedule, and a last batch that is smaller."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2003, 64)), rng.integers(0, 3, 2003)
    tg.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 3))
    options: dict[str, Any] = {"momentum": 0.9} if optimizer == "SGD" else {}
    opt = getattr(optim, optimizer)(model.parameters(), lr=1e-3, **options)
    optim.lr_scheduler.CosineAnnealingLR(opt, 1000, interval="step")
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), opt)

    def note(epoch: int, history: tg.History) -> None:
        seen.value = len(history)

    history = step.run(X, y, batch_size=128, epochs=epochs, callback=note,
                       checkpoint=tg.Checkpoint(folder, every, resume=True))
    states = {f"{k}.{n}": a for k, state in opt.state_dict()["state"].items() for n, a in state.items() if n != "step"}
    if end is not None:
        tg.save({**model.state_dict(), **states, "loss": history.loss, "lr": history.lr}, end)


def measure(optimizer: str, kills: int, every: float, seconds: float, epochs: int) -> dict[str, Any]:
    """Kill one run so often, and compare its end with that of a whole one."""
    import numpy as np

    from tapegrad.io.checkpoint import newest

    rng, progress, forking = np.random.default_rng(16), report.Progress(kills + 3), multiprocessing.get_context("fork")
    lost: list[int] = []
    before = writing = done = 0
    with tempfile.TemporaryDirectory() as name:
        folder, seen = Path(name), forking.Value("q", 0)

        def start(run: str) -> Any:
            process = forking.Process(target=train, args=(optimizer, epochs, folder / run, every, seen,
                                                          folder / f"{run}.end"))
            process.start()
            return process

        progress(f"{optimizer}: compiling")
        train(optimizer, 1, folder / "first", every, seen, None)
        progress(f"{optimizer}: the run that nothing stops")
        began = time.perf_counter()
        whole = start("whole")
        while not list(folder.glob("whole/checkpoint-*")) and whole.is_alive():
            time.sleep(0.002)
        longest = time.perf_counter() - began + seconds
        whole.join()
        while done < kills:
            progress(f"{optimizer}: kill {done + 1}")
            cut = start("cut")
            time.sleep(float(rng.uniform(0.0, longest)))
            os.kill(cut.pid, signal.SIGKILL)
            cut.join()
            if cut.exitcode == 0:
                break  # it came to its end first
            done += 1
            writing += bool(list(folder.glob("cut/.checkpoint-*")))
            if list(folder.glob("cut/checkpoint-*")):
                state, _ = newest(folder / "cut", sys.exit)
                lost.append(max(0, seen.value - state["steps"]))
            else:
                before += 1
        progress(f"{optimizer}: to the end")
        last = start("cut")
        last.join()
        assert whole.exitcode == last.exitcode == 0
        equal = (folder / "whole.end").read_bytes() == (folder / "cut.end").read_bytes()
    progress.end()
    return {"optimizer": optimizer, "kills": done, "before_the_first": before, "while_writing": writing,
            "steps": epochs * 16, "steps_lost_most": max(lost, default=0),
            "steps_lost_mean": float(np.mean(lost)) if lost else 0.0, "to_the_bit": equal}


def main() -> None:
    parser = report.parser(__doc__, plot=False)
    parser.add_argument("--kills", type=report.positive, default=100, help="of each run")
    parser.add_argument("--every", type=float, default=0.02, help="seconds between checkpoints")
    parser.add_argument("--seconds", type=float, default=0.4, help="a process lives so long after its first checkpoint")
    parser.add_argument("--epochs", type=report.positive, default=2500)
    parser.add_argument("--only", nargs="*", help="of SGD and Adam")
    arguments = parser.parse_args()
    report.set_threads(1)
    names = report.chosen(parser, arguments.only, ("SGD", "Adam"))
    results = [measure(name, arguments.kills, arguments.every, arguments.seconds, arguments.epochs) for name in names]
    columns = ("optimiser", "steps", "kills", "before the first checkpoint", "while one was written",
               "steps lost, most", "mean", "equal to the bit")
    report.table("runs that were killed and went on", columns, [
        (r["optimizer"], r["steps"], r["kills"], r["before_the_first"], r["while_writing"], r["steps_lost_most"],
         f"{r['steps_lost_mean']:.0f}", "yes" if r["to_the_bit"] else "NO") for r in results])  # fmt: skip
    report.finish(arguments, report.machine(), results)
    if not all(r["to_the_bit"] for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
