"""Time by instruction, and ``tapegrad profile``."""

import json

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

typer_testing = pytest.importorskip("typer.testing")


def invoke(*arguments):
    from tapegrad.cli.app import app

    return typer_testing.CliRunner().invoke(app, ["profile", *map(str, arguments)])


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    path = tmp_path / "data.csv"
    rows = "\n".join(",".join(f"{v:.4f}" for v in (*row, row @ [1, 2, 3])) for row in x)
    path.write_text(f"a,b,c,y\n{rows}\n")
    return path


def test_the_matrix_products_take_most_of_the_time_of_a_wide_network():
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512))
    model[2].freeze()
    step = tg.TrainStep(lambda x: F.mse_loss(model(x), x), optim.SGD(model.parameters(), lr=0.1))
    x = np.random.default_rng(0).normal(size=(256, 512)).astype(np.float32)
    step(x)
    before = [p.numpy() for p in model.parameters()]
    rows = list(step.profile(x, seconds=0.2))
    assert [row["op"] for row in rows][:3] == ["linear", "relu_mask", "linear"]
    assert sum(row["share"] for row in rows if row["op"] == "linear") > 0.5
    assert abs(sum(row["share"] for row in rows) - 1.0) < 1e-2
    for p, values in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.numpy(), values)
    assert np.isfinite(step(x))  # the recording runs as a whole again


def test_the_command_prints_memory_and_time_by_instruction(table):
    result = invoke(table, "--target", "y", "--hidden", "8,8", "--batch-size", 32, "--freeze", "2")
    assert result.exit_code == 0, result.output
    for word in ("peak", "with nothing frozen", "memory by instruction", "time by instruction", "a whole step takes"):
        assert word in result.output, word
    assert result.output.count("linear") >= 6


def test_the_command_gives_json_and_draws(table, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "memory.png"
    result = invoke(table, "--target", "y", "--hidden", "8", "--json", "--plot", picture)
    read = json.loads(result.output)
    assert read["batch_size"] == 64
    assert read["memory"]["peak_bytes"] > 0
    assert {row["op"] for row in read["times"]} >= {"linear"}
    assert picture.stat().st_size > 5000


def test_bad_input_of_the_command_is_one_line(table, tmp_path):
    for arguments in ((table, "--target", "y", "--freeze", "9"), (table, "--plot", tmp_path / "no" / "m.png"),
                      (tmp_path / "none.csv",)):
        result = invoke(*arguments)
        assert result.exit_code == 2, arguments
        assert "Traceback" not in result.output
