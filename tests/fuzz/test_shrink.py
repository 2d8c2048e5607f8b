"""Failing programs become small, and print as scripts that need tapegrad alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from .generate import generate
from .judge import Judge
from .run import Failure, Setup, as_script, attempt
from .shrink import shrink
from .world import Wrong


def drawn(text):
    """The first program with `text` in a line."""
    return next(p for p, _ in filter(None, map(generate, range(300)))
                if any(text in line.text for line in p.lines) and len(p.lines) > 8)


@pytest.mark.parametrize("text", ["cumsum", "layer_norm", "gru_layer"])
def test_a_failing_program_shrinks_to_the_line_that_fails(text):
    small = shrink(drawn(text), lambda p: any(text in line.text for line in p.lines))
    assert len(small.lines) <= 2 and small.leaves and Judge(small).expected(0) is not None


def test_stretches_terms_and_inputs_that_do_not_matter_go():
    program = next(p for p, _ in filter(None, map(generate, range(300)))
                   if p.stretches and p.inputs and len(p.terms) > 3)
    small = shrink(program, lambda p: any("tg." in line.text for line in p.lines))
    assert not small.stretches and not small.inputs and len(small.terms) == 1


@pytest.mark.compiled
@pytest.mark.parametrize("way", ["define_by_run", "compiled", "step", "within_budget", "several_batches", "frozen"])
def test_the_script_of_a_failure_prints_the_number_that_is_wrong(way, tmp_path):
    program = next(p for p, _ in filter(None, map(generate, range(300)))
                   if p.inputs and p.of("buffer") and p.scale == "tiny")
    setup = Setup(way, np.float64, False, 1)
    judge = Judge(program)
    assert attempt(program, judge, setup)[1] is None
    expected = Judge(program).expected(0)
    what = "loss of step 0" if way == "several_batches" else "loss"
    wrong = Wrong(what, 0, expected.loss, expected.loss, 0.0)  # what the script finds is right
    path = tmp_path / "script.py"
    path.write_text(as_script(Failure(0, setup, program, wrong)))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, right = done.stdout.split(" is ")[1].split(" must be ")
    assert abs(float(found) - float(right)) <= 1e-9 * abs(float(right))
