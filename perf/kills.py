"""A training run that is killed at random moments (kill -9) and goes on each time, against one that nothing stops.

A process is killed at a moment drawn evenly from its start to some time after its first checkpoint; the next one goes
on from what it finds. What a kill costs are the steps since the last checkpoint. In the end weights, running
statistics, optimiser state and history have to be equal to the bit to those of the run that nothing stopped.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

CHILD = """
import sys, numpy as np, tapegrad as tg
from tapegrad import nn, optim
import tapegrad.nn.functional as F
folder, end, every, epochs, optimizer, progress = sys.argv[1:]
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2003, 64)), rng.integers(0, 3, 2003)
tg.manual_seed(1)
model = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 3))
options = {"momentum": 0.9} if optimizer == "SGD" else {}
opt = getattr(optim, optimizer)(model.parameters(), lr=1e-3, **options)
optim.lr_scheduler.CosineAnnealingLR(opt, 1000, interval="step")
step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), opt)
seen = open(progress, "r+b", buffering=0)
def note(epoch, history):
    seen.seek(0)
    seen.write(len(history).to_bytes(8, "little"))
print("ready", flush=True)
history = step.run(X, y, batch_size=128, epochs=int(epochs), callback=note,
                   checkpoint=tg.Checkpoint(folder, float(every), resume=True))
states = {f"{k}.{n}": a for k, state in opt.state_dict()["state"].items() for n, a in state.items() if n != "step"}
tg.save({**model.state_dict(), **states, "loss": history.loss, "lr": history.lr}, end)
"""


def measure(optimizer: str, kills: int, every: float, seconds: float, epochs: int) -> dict[str, Any]:
    """Kill one run so often, and compare its end with that of a whole one."""
    import numpy as np

    from tapegrad.io.checkpoint import newest

    rng, progress = np.random.default_rng(16), report.Progress(kills + 1)
    lost: list[int] = []
    before = writing = done = 0
    with tempfile.TemporaryDirectory() as name:
        folder, seen = Path(name), Path(name) / "progress"
        seen.write_bytes(bytes(8))

        def start(run: str) -> subprocess.Popen[str]:
            process = subprocess.Popen([sys.executable, "-c", CHILD, folder / run, folder / f"{run}.end", str(every),
                                        str(epochs), optimizer, seen], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            return process

        progress(f"{optimizer}: the run that nothing stops")
        began = time.perf_counter()
        whole = start("whole")
        while not list(folder.glob("whole/checkpoint-*")) and whole.poll() is None:
            time.sleep(0.005)
        longest = time.perf_counter() - began + seconds
        assert whole.wait() == 0
        while done < kills:
            progress(f"{optimizer}: kill {done + 1}")
            cut = start("cut")
            time.sleep(float(rng.uniform(0.0, longest)))
            cut.send_signal(signal.SIGKILL)
            if cut.wait() == 0:
                break  # it came to its end first
            done += 1
            writing += bool(list(folder.glob("cut/.checkpoint-*")))
            if list(folder.glob("cut/checkpoint-*")):
                state, _ = newest(folder / "cut", sys.exit)
                lost.append(max(0, int.from_bytes(seen.read_bytes(), "little") - state["steps"]))
            else:
                before += 1
        progress(f"{optimizer}: to the end")
        assert start("cut").wait() == 0
        equal = (folder / "whole.end").read_bytes() == (folder / "cut.end").read_bytes()
    progress.end()
    return {"optimizer": optimizer, "kills": done, "before_the_first": before, "while_writing": writing,
            "steps_lost_most": max(lost, default=0), "steps_lost_mean": float(np.mean(lost)) if lost else 0.0,
            "to_the_bit": equal}


def main() -> None:
    parser = report.parser(__doc__, plot=False)
    parser.add_argument("--kills", type=report.positive, default=100, help="of each run")
    parser.add_argument("--every", type=float, default=0.02, help="seconds between checkpoints")
    parser.add_argument("--seconds", type=float, default=0.4, help="a process lives so long after its first checkpoint")
    parser.add_argument("--epochs", type=report.positive, default=4000)
    parser.add_argument("--only", nargs="*", help="of SGD and Adam")
    arguments = parser.parse_args()
    names = report.chosen(parser, arguments.only, ("SGD", "Adam"))
    results = [measure(name, arguments.kills, arguments.every, arguments.seconds, arguments.epochs) for name in names]
    report.table("runs that were killed and went on",
                 ("optimiser", "kills", "before the first checkpoint", "while one was written", "steps lost, most",
                  "mean", "equal to the bit"),
                 [(r["optimizer"], r["kills"], r["before_the_first"], r["while_writing"], r["steps_lost_most"],
                   f"{r['steps_lost_mean']:.0f}", "yes" if r["to_the_bit"] else "NO") for r in results])  # fmt: skip
    report.finish(arguments, report.machine(), results)
    if not all(r["to_the_bit"] for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
