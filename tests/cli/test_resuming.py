"""``tapegrad train --checkpoint`` and ``--resume``."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.io.checkpoint import Checkpoint
from tapegrad.io.files import load_metadata

from .commands import FLOWER, compiled, flowers, refuse, run, succeed

pytestmark = compiled
LONG = (*FLOWER, "--hidden", "8", "--dropout", 0.2, "--epochs", 20, "--patience", 30, "--quiet")


def same(one, other):
    """Whether two models have the same parameters to the bit, and the same scores."""
    arrays, others = tg.load(one), tg.load(other)
    cards = [json.loads(load_metadata(path)["tapegrad"])["card"] for path in (one, other)]
    return cards[0]["scores"] == cards[1]["scores"] and arrays.keys() == others.keys() and all(
        arrays[name].tobytes() == others[name].tobytes() for name in arrays)


@pytest.fixture
def interrupted(monkeypatch):
    """A function: the checkpoint's so many-th writing is Ctrl-C in the midst of an epoch's end."""

    def at(number):
        writings = []
        write = Checkpoint.write

        def interrupting(self, state, last):
            write(self, state, last)
            writings.append(self)
            if len(writings) == number:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "write", interrupting)

    return at


@pytest.mark.parametrize("members", [1, 2])
def test_the_advice_after_ctrl_c_ends_in_the_model_of_a_run_that_nothing_stopped(
    members, flower_file, tmp_path, interrupted, monkeypatch
):
    options = (*LONG, "--members", members)
    succeed("train", flower_file, *options, "--save", tmp_path / "whole.safetensors")
    monkeypatch.chdir(tmp_path)
    interrupted(5)
    folder = tmp_path / "a run"
    stopped = run("train", flower_file.name, *options, "--save", "cut.safetensors",
                  "--checkpoint", folder, "--checkpoint-every", 0)  # fmt: skip
    assert stopped.exit_code == 130
    (line,) = stopped.stderr.splitlines()
    assert line.startswith("tapegrad: interrupted; go on with: tapegrad train --resume ")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    succeed(*shlex.split(line.partition("go on with: tapegrad ")[2]))
    assert same(tmp_path / "cut.safetensors", tmp_path / "whole.safetensors")


def test_a_run_that_is_over_can_be_given_more_epochs_and_another_place(flower_file, tmp_path):
    options = (*FLOWER, "--hidden", "8", "--val-fraction", 0, "--quiet")
    succeed("train", flower_file, *options, "--epochs", 9, "--save", tmp_path / "whole.safetensors")
    succeed("train", flower_file, *options, "--epochs", 3, "--checkpoint", tmp_path / "run")
    succeed("train", "--resume", tmp_path / "run", "--epochs", 9, "--save", tmp_path / "more.safetensors",
            "--hidden", "8")  # fmt: skip
    assert same(tmp_path / "more.safetensors", tmp_path / "whole.safetensors")


def test_what_does_not_fit_is_one_line_with_advice_that_works(flower_file, tmp_path):
    folder = tmp_path / "run"
    options = (flower_file, *FLOWER, "--hidden", "8", "--quiet")
    assert "--checkpoint-every is for --checkpoint or --resume" in refuse("train", *options, "--checkpoint-every", 5)
    assert f"{folder}: No such file or directory" in refuse("train", "--resume", folder)
    folder.mkdir()
    assert f"{folder}: holds no checkpoint" in refuse("train", "--resume", folder)
    assert f"{flower_file}: is a file" in refuse("train", *options, "--checkpoint", flower_file)
    succeed("train", *options, "--epochs", 3, "--checkpoint", folder)
    text = refuse("train", *options, "--epochs", 3, "--checkpoint", folder)
    assert f"--resume {folder} goes on from it" in text
    text = refuse("train", "--resume", folder, "--hidden", "9")
    assert "the run was begun with --hidden 8, and goes on as it was begun; leave --hidden out" in text
    assert "begun without --lr" in refuse("train", "--resume", folder, "--lr", 0.5)
    assert "leave --checkpoint out" in refuse("train", "--resume", folder, "--checkpoint", folder)
    succeed("train", "--resume", folder)
    flower_file.write_text(flowers(seed=5))
    text = refuse("train", "--resume", folder, "--epochs", 5)
    assert f"{folder}: its checkpoint is of a run with other data: argument 1 has other values" in text


def test_what_was_tuned_is_not_tuned_again(flower_file, tmp_path, monkeypatch):
    options = (flower_file, *FLOWER, "--tune", 3, "--epochs", 8, "--quiet", "--save", tmp_path / "model.safetensors")
    succeed("train", *options, "--checkpoint", tmp_path / "run")
    monkeypatch.setattr("tapegrad.cli.train.choose_among", None)
    succeed("train", "--resume", tmp_path / "run", "--save", tmp_path / "again.safetensors")
    assert same(tmp_path / "again.safetensors", tmp_path / "model.safetensors")


def test_a_damaged_checkpoint_gives_way_to_the_one_before_with_one_line(flower_file, tmp_path):
    succeed("train", flower_file, *LONG, "--checkpoint", tmp_path / "run", "--checkpoint-every", 0)
    before, newest = sorted((tmp_path / "run").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:5000])
    result = run("train", "--resume", tmp_path / "run")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"tapegrad: {newest}: ") and f"going on from the one before, {before.name}" in line


def test_a_checkpoint_of_a_run_in_python_is_told_apart(tmp_path):
    model = nn.Linear(2, 1)
    step = tg.TrainStep(lambda x: model(x).mean(), optim.SGD(model.parameters(), lr=0.1))
    step.run(np.ones((4, 2)), batch_size=2, checkpoint=tg.Checkpoint(tmp_path))
    text = refuse("train", "--resume", tmp_path)
    assert "is of a run in Python" in text and "resume=True" in text
