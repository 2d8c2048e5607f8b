"""Networks whose memory is measured, written once for tapegrad and PyTorch, and the process that measures one.

A batch of `rows` has rows x width values in whatever shape the network takes, so that an activation of equal layers has
4 x rows x width bytes in all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Any

CHANNELS, SIDE = 16, 32  # of images
TOKENS = 32  # of a sequence


def _stack(nn: Any, width: int, depth: int, activation: str | None) -> Any:
    layers = []
    for _ in range(depth):
        layers.append(nn.Linear(width, width))
        if activation:
            layers.append(getattr(nn, activation)())
    return nn.Sequential(*layers)


def mlp(nn: Any, width: int) -> Any:
    """Three linear layers and ReLU."""
    return nn.Sequential(*_stack(nn, width, 2, "ReLU"), nn.Linear(width, 10))


def deep_mlp(nn: Any, width: int) -> Any:
    """Thirteen linear layers and Tanh."""
    return nn.Sequential(*_stack(nn, width, 12, "Tanh"), nn.Linear(width, 10))


def residual_mlp(nn: Any, width: int) -> Any:
    """Four blocks x + W2 relu(W1 x)."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.second = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            return x + self.second(self.relu(self.first(x)))

    return nn.Sequential(*[Block() for _ in range(4)], nn.Linear(width, 10))


def norm_mlp(nn: Any, width: int) -> Any:
    """Four times linear, layer norm, ReLU."""
    layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def autoencoder(nn: Any, width: int) -> Any:
    """Through a bottleneck of a sixteenth and back, Sigmoid."""
    widths = (width, width // 4, width // 16, width // 4, width)
    return nn.Sequential(*[layer for a, b in zip(widths, widths[1:]) for layer in (nn.Linear(a, b), nn.Sigmoid())],
                         nn.Linear(width, 10))


def shared(nn: Any, width: int) -> Any:
    """One layer applied six times, Tanh between."""

    class Shared(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(width, width), nn.Linear(width, width)
            self.tanh, self.out = nn.Tanh(), nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            x = self.tanh(self.first(x))
            for _ in range(6):
                x = self.tanh(self.again(x))
            return self.out(x)

    return Shared()


def linear_stack(nn: Any, width: int, depth: int) -> Any:
    """`depth` linear layers and nothing else."""
    return _stack(nn, width, depth, None)


def relu_stack(nn: Any, width: int, depth: int) -> Any:
    """`depth` linear layers, ReLU after each."""
    return _stack(nn, width, depth, "ReLU")


def tanh_chain(nn: Any, width: int, depth: int) -> Any:
    """`depth` blocks of a linear layer and Tanh."""
    return nn.Sequential(*[nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)])


def residual_chain(nn: Any, width: int, depth: int) -> Any:
    """`depth` blocks x + W2 relu(W1 norm(x))."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(),
                                       nn.Linear(width, width))

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    return nn.Sequential(*[Block() for _ in range(depth)])


def convolution_stack(nn: Any, width: int, depth: int, relu: bool = False) -> Any:
    """`depth` equal convolutions; with `relu` each followed by one."""
    blocks = [[nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), *([nn.ReLU()] if relu else [])] for _ in range(depth)]
    return nn.Sequential(*[nn.Sequential(*block) for block in blocks])


def convolutions(nn: Any, width: int) -> Any:
    """Four convolutions with batch norm and ReLU, max pooling after the first two, a linear layer."""
    layers: list[Any] = []
    for k, (a, b) in enumerate(((CHANNELS, 16), (16, 32), (32, 32), (32, 32))):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), *([nn.MaxPool2d(2)] if k < 2 else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, 10))


def transformer(nn: Any, width: int, depth: int = 3) -> Any:
    """`depth` encoder layers of four heads."""
    return nn.Sequential(*[nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
                           for _ in range(depth)])


NETWORKS: dict[str, Callable[..., Any]] = {
    "MLP": mlp, "deep MLP": deep_mlp, "residual MLP": residual_mlp, "MLP with norm": norm_mlp,
    "autoencoder": autoencoder, "shared weights": shared, "convolutions": convolutions, "transformer": transformer,
    "linear stack": linear_stack, "ReLU stack": relu_stack, "convolution stack": convolution_stack,
    "convolution-ReLU stack": partial(convolution_stack, relu=True), "chain": tanh_chain, "residual": residual_chain}


def shape_of(network: str, rows: int, width: int) -> tuple[int, ...]:
    """The shape of a batch."""
    if network.startswith("convolution"):
        return max(rows * width // (CHANNELS * SIDE * SIDE), 1), CHANNELS, SIDE, SIDE
    if network == "transformer":
        return max(rows // TOKENS, 1), TOKENS, width
    return rows, width


def layers_of(model: Any) -> list[Any]:
    """The modules that have parameters of their own, in order."""
    return [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]


def trained_layers(pattern: str, count: int) -> list[int]:
    """Which of `count` layers train."""
    if pattern.isdigit():
        return [int(pattern) - 1]
    return {"none": list(range(count)), "all but last": [count - 1], "all but first": [0],
            "every second": list(range(0, count, 2))}[pattern]


def prepared(library: str, task: dict[str, Any], rows: int) -> tuple[Any, Any, int]:
    """A function that makes a step, the step's own object (None for PyTorch), and the bytes of the parameters."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape_of(task["network"], rows, task["width"]), np.float32)
    if library == "torch":
        import torch
        from torch import nn, optim

        torch.manual_seed(0)
    else:
        import tapegrad as tg
        from tapegrad import nn, optim  # type: ignore[assignment]

        tg.manual_seed(0)
    model = NETWORKS[task["network"]](nn, task["width"], *([task["depth"]] if "depth" in task else []))
    layers = layers_of(model)
    trained = trained_layers(task["freeze"], len(layers))
    for k, layer in enumerate(layers):
        for p in layer.parameters(recurse=False):
            p.requires_grad_(k in trained)
    parameters = sum(4 * (p.numel() if library == "torch" else p.size) for p in model.parameters())
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    if library == "torch":
        from torch.utils.checkpoint import checkpoint

        called = by_hand(model, lambda part, x: checkpoint(part, x, use_reentrant=False)) if task.get("hand") else model
        given = torch.from_numpy(x)

        def run() -> float:
            optimizer.zero_grad()
            loss = (called(given) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        return run, None, parameters
    called = by_hand(model, tg.checkpoint) if task.get("hand") else model
    step = tg.TrainStep(lambda x: (called(x) ** 2).mean(), optimizer, memory_budget=task.get("budget"))
    return lambda: step(x), step, parameters


def by_hand(model: Any, checkpoint: Callable[..., Any]) -> Callable[[Any], Any]:
    """The model with a checkpoint around every isqrt(n) of its n blocks, the last ones excepted."""
    blocks = list(model)
    size = isqrt(len(blocks))
    parts = [blocks[k:k + size] for k in range(0, len(blocks), size)]

    def through(part: list[Any], x: Any) -> Any:
        for block in part:
            x = block(x)
        return x

    def call(x: Any) -> Any:
        for part in parts[:-1]:
            x = checkpoint(partial(through, part), x)
        return through(parts[-1], x)

    return call


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def measure_here(task: dict[str, Any]) -> dict[str, Any]:
    """The most resident bytes of a step above those before the model was made; batch included, parameters not."""
    library = task["library"]
    widest = task["width"] * (2 if task["network"] == "transformer" else 1)
    one_layer = {"library": library, "network": "linear stack", "depth": 1, "freeze": "none", "width": widest}
    # code is loaded, and BLAS has its scratch memory
    for warmed, rows in (({**task, "budget": None}, 64), (one_layer, task["rows"])):
        warm, _, _ = prepared(library, warmed, rows)
        warm()
        del warm
    if task.get("budget"):  # and Python the memory that the search for a plan takes and gives back
        try:
            prepared(library, {**task, "budget": 1}, 64)[0]()
        except MemoryError:
            pass
    import gc

    gc.collect()
    before = _status("VmRSS")
    run, step, parameters = prepared(library, task, task["rows"])
    if task.get("budget"):
        run()  # what searching for a plan takes is not the step's
        gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak counts from here
    except OSError:
        pass
    run()
    run()
    batch = 4 * task["rows"] * task["width"]
    seen = _status("VmHWM") - before - parameters - (0 if library == "torch" else batch)  # tapegrad holds a copy
    result: dict[str, Any] = {"measured": seen, "parameters": parameters}
    if step is not None:
        report = step.memory()
        result.update(planned=report.peak_bytes - report.parameter_bytes,
                      lower_bound=report.lower_bound_bytes - report.parameter_bytes,
                      unfrozen=(report.unfrozen or report).peak_bytes - report.parameter_bytes)
    return result


def measure(python: str, task: dict[str, Any]) -> dict[str, Any]:
    """`measure_here` in a fresh process of an interpreter."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONPATH": path}
    ran = subprocess.run([python, os.path.abspath(__file__), json.dumps(task)], capture_output=True, text=True,
                         env=environment)
    if ran.returncode:
        sys.exit(f"measuring {task} failed:\n{ran.stderr}")
    return json.loads(ran.stdout)


def torch_python(given: str | None) -> str | None:
    """An interpreter that can import PyTorch: the one given, else this one if it can."""
    for python in filter(None, (given, sys.executable)):
        if subprocess.run([python, "-c", "import torch, numpy"], capture_output=True).returncode == 0:
            return python
        if given:
            sys.exit(f"{given} cannot import torch and numpy")
    return None


if __name__ == "__main__":
    print(json.dumps(measure_here(json.loads(sys.argv[1]))))
