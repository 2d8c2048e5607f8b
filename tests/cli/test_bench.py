"""``tapegrad bench``, and that the works which it shares with perf/compare.py fit the package's models."""

import json

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.cli import works

typer_testing = pytest.importorskip("typer.testing")


def invoke(*arguments):
    from tapegrad.cli.app import app

    return typer_testing.CliRunner().invoke(app, ["bench", *arguments])


@pytest.mark.compiled
def test_the_command_gives_the_time_of_each_repeat():
    result = invoke("--only", "8-32", "--quick", "--repeats", "2", "--json")
    assert result.exit_code == 0, result.output
    (name, times), = json.loads(result.output).items()
    assert name.startswith("8-32-32-1")
    assert len(times["tapegrad"]) == 2
    assert all(0 < t < 1e6 for t in times["tapegrad"])


@pytest.mark.compiled
def test_the_command_prints_a_row_a_work():
    result = invoke("--only", "scalar ops", "--quick", "--repeats", "1")
    assert result.exit_code == 0, result.output
    assert result.output.count("scalar ops") == 2


def test_an_unknown_work_is_one_line_that_lists_those_there_are():
    result = invoke("--only", "nothing like it")
    assert result.exit_code == 2
    assert "LeNet" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", works.NETWORKS)
def test_parameters_have_the_names_and_shapes_of_the_models(name):
    work = works.NETWORKS[name]
    model = work.build(nn, np.arange(works.CONTEXT))
    assert {n: p.shape for n, p in model.named_parameters()} == {n: v.shape for n, v in work.parameters().items()}


def test_a_graph_reads_only_what_was_made_before():
    work = works.WORKS["10,000 scalar ops, float64"]
    made = work.inputs
    for kind, places in work.plan():
        assert len(places) == works.COUNTS[kind]
        assert max(places) < made
        assert min(places) >= max(0, made - work.window)
        made += 4 if works.KINDS[kind] == "softmax" else 1
