"""Commands as the tests of the command line give them, and a table to learn from."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from tapegrad.cli.app import app
from tapegrad.engine.language import enabled

FLOWER = ("--target", "kind", "--categorical", "place")
FAST = ("--epochs", 2, "--hidden", "8")

compiled = pytest.mark.skipif(not enabled(), reason="too many training steps for kernels that are not compiled")


def run(*arguments):
    """The result of a command in this process."""
    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # the streams are apart anyway since click 8.2
        runner = CliRunner()
    return runner.invoke(app, [str(argument) for argument in arguments], prog_name="tapegrad")


def succeed(*arguments):
    """The standard output of a command that must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refuse(*arguments, status=2):
    """The one line on standard error of a command that must fail."""
    result = run(*arguments)
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    assert result.stdout == "" and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert result.stderr.startswith("tapegrad: ")
    return result.stderr


def subprocess_run(*arguments, code=None):
    """A command in a process of its own."""
    start = ["-m", "tapegrad"] if code is None else ["-c", code]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, text=True)


def flowers(rows=150, seed=0):
    """Three kinds of flower, told apart by two lengths; a constant column and a place that says nothing."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(rows) % 3
    long = 3.0 + 2.0 * kinds + rng.normal(0, 0.4, rows)
    wide = 1.0 + 0.5 * kinds + rng.normal(0, 0.2, rows)
    names = np.array(["daisy", "rose", "tulip, red"])[kinds]
    places = np.array(["north", "south"])[rng.integers(0, 2, rows)]
    lines = ["long,wide,same,place,kind"]
    lines += [
        f'{a:.3f},{b:.3f},7,{place},"{name}"' for a, b, place, name in zip(long, wide, places, names, strict=True)
    ]
    return "\n".join(lines) + "\n"


def predictions(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
