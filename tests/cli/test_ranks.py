"""``tapegrad train --mpi`` under mpiexec."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad as tg

from .commands import compiled, flowers, refuse, run

MPIEXEC = Path(sys.executable).with_name("mpiexec")
over_mpi = pytest.mark.skipif(not MPIEXEC.exists(), reason="needs mpi4py and mpich")
pytestmark = compiled


def train(ranks, *arguments):
    command = [MPIEXEC, "-n", ranks, sys.executable, "-m", "tapegrad", "train", *arguments, "--mpi"]
    paths = os.pathsep.join([str(Path(tg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=240,
                          env={**os.environ, "PYTHONPATH": paths})


@pytest.fixture
def table(tmp_path):
    (tmp_path / "flowers.csv").write_text(flowers(203))
    return [tmp_path / "flowers.csv", "--target", "kind", "--categorical", "place", "--hidden", "16", "--dropout", 0.2,
            "--dtype", "float64", "--json"]


@over_mpi
def test_ranks_print_and_save_what_one_process_does_and_others_go_on(table, tmp_path):
    alone = json.loads(run("train", *table, "--epochs", 4).stdout)
    begun = train(2, *table, "--epochs", 2, "--checkpoint", tmp_path / "kept")
    assert begun.returncode == 0, begun.stderr
    together = train(3, "--resume", tmp_path / "kept", "--epochs", 4, "--save", tmp_path / "model.safetensors")
    assert together.returncode == 0, together.stderr
    found = json.loads(together.stdout)  # rank 0's, and nobody else's
    assert (tmp_path / "model.safetensors").exists()
    for key in ("loss", "log_loss", "accuracy", "steps"):
        assert found[key] == pytest.approx(alone[key], rel=1e-12)


@over_mpi
def test_bad_input_of_all_ranks_is_told_once(tmp_path):
    done = train(2, tmp_path / "missing.csv", "--target", "kind")
    assert done.returncode == 2 and done.stderr.count("missing.csv: No such file or directory") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_mpi_without_mpi4py_says_what_to_install(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert "pip install 'tapegrad[mpi]'" in refuse("train", *table, "--mpi")


@over_mpi
def test_mpi_leaves_no_room_for_other_trainings(table):
    done = train(2, *table, "--tune", 4)
    assert done.returncode == 2
    assert done.stderr.count("tapegrad: --mpi trains one network on all processes; leave --tune out") == 1
