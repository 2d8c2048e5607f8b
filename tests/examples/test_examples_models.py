"""The examples run, say what they measured, and draw; their full length only where ``-m slow`` asks for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.datasets import load_oil, load_shakespeare, load_sunspots
from tapegrad.engine.language import enabled
from tapegrad.examples import EXAMPLES, example

pytestmark = pytest.mark.skipif(not enabled(), reason="training takes minutes with the JIT disabled")


def command(*arguments, cwd=None):
    """What ``tapegrad example`` prints, and its exit status."""
    pytest.importorskip("typer")
    env = {**os.environ, "PYTHONPATH": str(Path(tg.__file__).resolve().parent.parent), "COLUMNS": "100"}
    return subprocess.run([sys.executable, "-m", "tapegrad", "example", *arguments], capture_output=True, text=True,
                          cwd=cwd, env=env, stdin=subprocess.DEVNULL)


def test_without_a_name_the_examples_are_listed():
    done = command()
    assert done.returncode == 0
    for name, (shows, epochs) in EXAMPLES.items():
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [name])
        assert shows in line and line.split()[-1] == str(epochs)


def test_an_example_prints_a_table_and_draws_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    done = command("lstm", "--epochs", "1", "--seed", "3", "-o", str(tmp_path / "spots.png"))
    assert done.returncode == 0, done.stderr
    assert "the LSTM" in done.stdout and "spots.png" in done.stdout and "lstm.py" in done.stdout
    assert (tmp_path / "spots.png").read_bytes().startswith(b"\x89PNG")


def test_an_example_gives_its_numbers_as_json_and_names_its_picture_after_itself(tmp_path):
    done = command("lstm", "--epochs", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["example"] == "lstm" and numbers["steps"] == 27
    if numbers["picture"]:
        assert (tmp_path / numbers["picture"]).is_file()


@pytest.mark.parametrize("arguments, said", [
    (("resnet",), "no example is called 'resnet'; there are lenet, charlm, lstm, pinn, ensemble, garch"),
    (("lenet", "--out", "picture.gif"), "a picture ends in .png"),
    (("lenet", "--out", "nowhere/picture.png"), "cannot write there"),
    (("lenet", "--epochs", "0"), "epochs"),
])
def test_what_cannot_be_run_is_said_in_a_line_before_anything_is_trained(tmp_path, arguments, said):
    pytest.importorskip("matplotlib")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_epoch_of_each_example_learns_and_its_picture_can_be_drawn(name, tmp_path, monkeypatch):
    module = example(name)
    if name == "charlm":  # one play of three
        monkeypatch.setattr(module, "load_shakespeare", lambda: load_shakespeare()[:40_000])
    outcome = module.run(epochs=1, seed=1)
    assert all(np.isfinite(value) for value in outcome.numbers.values())
    assert outcome.rows and outcome.title.endswith(("after 1 epoch", "after 100 steps", "after 1 iteration"))
    numbers = outcome.numbers
    assert {"lenet": lambda: 0.2 < numbers["accuracy"] <= 1.0 and numbers["loss"] < np.log(10),
            "charlm": lambda: numbers["held_out_loss"] < 3.4 and outcome.text.startswith("ROMEO."),
            "lstm": lambda: numbers["error_24"] < numbers["as_last_24"],
            "pinn": lambda: numbers["relative_error"] < 1.0,
            "ensemble": lambda: numbers["error"] < 1.0,
            "garch": lambda: numbers["loss"] < numbers["loss_constant"]}[name]()
    pytest.importorskip("matplotlib")
    outcome.save_picture(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 20_000


def test_without_matplotlib_the_table_stands_alone_and_a_picture_that_was_asked_for_is_an_error(monkeypatch, capsys):
    pytest.importorskip("typer")
    from tapegrad.cli import example as command_module

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(tg.TapegradError, match=r"tapegrad\[viz\]"):
        command_module.example("lstm", epochs=1, seed=0, out=Path("picture.png"))
    command_module.example("lstm", epochs=1, seed=0, out=None)
    assert "no picture" in capsys.readouterr().out


def test_an_example_repeats_with_its_seed():
    runs = [example("lstm").run(epochs=1, seed=seed).numbers["loss"] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_the_character_model_sees_nothing_of_the_future():
    charlm = example("charlm")
    model = charlm.CharTransformer(30)
    text = np.random.default_rng(0).integers(0, 30, (2, 20))
    changed = text.copy()
    changed[:, 12:] = 0
    one, other = (model(tg.tensor(t)).numpy() for t in (text, changed))
    np.testing.assert_allclose(one[:, :12], other[:, :12], rtol=1e-5, atol=1e-6)
    assert np.abs(one[:, 12:] - other[:, 12:]).max() > 0.01


def test_the_forecast_of_a_model_that_says_no_change_is_the_last_month():
    lstm = example("lstm")
    model = lstm.Forecaster()
    nn.init.zeros_(model.change.weight)
    nn.init.zeros_(model.change.bias)
    months = np.random.default_rng(0).random((3, 50)).astype(np.float32)
    np.testing.assert_array_equal(lstm.forecast(model, months), np.repeat(months[:, -1:], lstm.AHEAD, axis=1))


def test_the_texts_and_series_are_whole():
    text = load_shakespeare()
    assert len(text) == 415_540 and text.isascii() and "Gutenberg" not in text
    months, number = load_sunspots()
    assert months.shape == number.shape == (3120,) and number.min() == 0.0 and number.max() == 253.8
    assert (np.diff(months) == np.timedelta64(1, "M")).all() and np.isfinite(number).all()
    days, price = load_oil()
    assert days.shape == price.shape == (3269,) and price.min() == 26.19 and price.max() == 145.31
    assert (np.diff(days) > np.timedelta64(0, "D")).all() and (np.diff(days) < np.timedelta64(6, "D")).all()


def test_the_fitted_garch_is_a_maximum_of_its_likelihood_with_the_errors_of_its_curvature():
    """In plain NumPy: no step from the estimate raises the likelihood, and its second differences give the errors."""
    garch = example("garch")
    numbers = garch.run().numbers
    p = np.array([numbers[name] for name in garch.NAMES])
    y = 100.0 * np.diff(np.log(load_oil()[1]))

    def log_likelihood(p):
        s, total = y.var(), 0.0
        for e in y - p[0]:
            total -= 0.5 * (np.log(2.0 * np.pi * s) + e * e / s)
            s = p[1] + p[2] * e * e + p[3] * s
        return total

    best = log_likelihood(p)
    assert best == pytest.approx(-len(y) * numbers["loss"], rel=1e-10)
    h = np.diag([0.05 * numbers[f"error_{name}"] for name in garch.NAMES])
    around = np.array([[[log_likelihood(p + a * u + b * v) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
                        for v in h] for u in h])
    assert around.max() <= best + 1e-6
    curvature = (around[..., 0] - around[..., 1] - around[..., 2] + around[..., 3]) / 4.0
    errors = np.sqrt(np.diag(np.linalg.inv(-curvature))) * h.diagonal()
    np.testing.assert_allclose([numbers[f"error_{name}"] for name in garch.NAMES], errors, rtol=0.01)
    assert numbers["slope"] < 1e-4 and 0.0 < numbers["alpha"] and numbers["persistence"] < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name, seed", [("lenet", 0), ("lenet", 1), ("lenet", 2), ("charlm", 0), ("lstm", 0)])
def test_at_full_length_each_example_reaches_what_it_promises(name, seed):
    numbers = example(name).run(epochs=EXAMPLES[name][1], seed=seed).numbers
    assert {"lenet": lambda: numbers["accuracy"] >= 0.985,
            "charlm": lambda: numbers["held_out_loss"] < 1.85,
            "lstm": lambda: numbers["error_24"] < 0.65 * numbers["as_last_24"]
            and numbers["error_1"] < numbers["as_last_1"]}[name]()
