"""The program itself: processes, exit codes, help."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import tapegrad
from tapegrad.cli.settings import parse_hidden

from .commands import compiled, subprocess_run, succeed


class TestProgram:
    def test_version_and_help(self):
        assert succeed("--version") == f"tapegrad {tapegrad.__version__}\n"
        for arguments in ((), ("--help",)):
            assert "train" in succeed(*arguments) and "predict" in succeed(*arguments)
        assert "--weight-decay" in succeed("train", "--help")

    def test_module_and_bad_input_in_a_process_of_its_own(self, tmp_path):
        done = subprocess_run("train", tmp_path / "absent.csv", "--target", "y")
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr == f"tapegrad: {tmp_path / 'absent.csv'}: No such file or directory\n"

    @pytest.mark.parametrize("library", ["typer", "rich", "safetensors"])
    def test_missing_extra_is_one_line(self, tmp_path, library):
        code = (
            f"import sys; sys.modules[{library!r}] = None\n"
            "sys.argv[0] = 'tapegrad'\nfrom tapegrad.cli import main; main()"
        )
        done = subprocess_run("train", "--save", tmp_path / "m.safetensors", code=code)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "pip install 'tapegrad[cli]'" in done.stderr

    @compiled
    @pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
    def test_closed_pipe_is_no_traceback(self, flower_model):
        model, data, _ = flower_model
        process = subprocess.Popen(
            [sys.executable, "-m", "tapegrad", "predict", str(model), str(data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.close()
        error = process.stderr.read()
        process.wait()
        process.stderr.close()
        assert "Traceback" not in error

    @pytest.mark.parametrize(
        ("text", "widths"), [("128,64", (128, 64)), (" 8 , 4 ", (8, 4)), ("none", ()), ("1", (1,))]
    )
    def test_hidden_layers_are_parsed(self, text, widths):
        assert parse_hidden(text) == widths
