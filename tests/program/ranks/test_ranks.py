"""Trainings of several processes over MPI: as one process, to rounding; and how they end when one of them fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.engine.language import enabled
from tapegrad.errors import ArgumentError, CaptureError, CopyError, MissingExtraError
from tapegrad.program.capture import Capture
from tapegrad.program.ranks.cores import Cores, threads_of
from tapegrad.program.ranks.reduction import elements_of_row

HERE = Path(__file__).parent
MPIEXEC = Path(sys.executable).with_name("mpiexec")
over_mpi = pytest.mark.skipif(not (enabled() and MPIEXEC.exists()), reason="needs compiled kernels, mpi4py and mpich")


def mpiexec(ranks, script, *arguments):
    """The finished processes, and after how many seconds."""
    began = time.monotonic()
    done = subprocess.run([str(MPIEXEC), "-n", str(ranks), sys.executable, *map(str, [script, *arguments])],
                          capture_output=True, text=True, timeout=500, env={**os.environ, "PYTHONPATH": os.pathsep.join(
                              [str(Path(tg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])})
    return done, time.monotonic() - began


# ------------------------------------------------------------------ equality


@pytest.fixture(scope="module", params=[2, 3])
def differences(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("equal")
    done, _ = mpiexec(request.param, HERE / "training.py", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / f"equal{request.param}.json").read_text())


@over_mpi
def test_ranks_train_as_one_process_does_to_rounding(differences):
    bounds = {"float32": 1e-6, "RMSprop": 1e-11, "Muon": 1e-12}  # roots of small differences of large numbers
    bounds["compressed, part of the rounding that is allowed"] = 1.0
    wrong = {name: d for name, d in differences.items() if not d <= bounds.get(name, 1e-13)}
    assert len(differences) > 40 and not wrong


# ------------------------------------------------------------------ failures

FAILURES = {
    "raises": "rank 1 of 2 failed: ValueError: the disk is full",
    "all raise": "rank 0 of 2 failed: ValueError: it is late in 3",
    "is stopped": "rank 1 has not answered for 3 s, in the callback after epoch 3 (timeout=3 s)",
    "raises in a walk": "rank 1 of 2 failed: ValueError: the memory is full",
    "is stopped in a walk": "rank 1 has not answered for 3 s, in a training step (timeout=3 s)",
    "is caught in a walk": "rank 1 has failed in the middle of a step whose sums had begun",
    "another model": "rank 1 is not as rank 0: optimiser, group 0, shapes of its parameters, number 0: [9, 5] "
                     "on rank 0, [10, 5] on rank 1",
    "other rows": "rank 1 is not as rank 0: data, rows is 64 on rank 0, 60 on rank 1",
    "another loss": "rank 1 is not as rank 0: loss_fn differs",
    "other parameters": "rank 1 begins with other parameters than rank 0: parameter 0 [9, 5] differs",
    "another batch": "runs another step than the others do",
}


@over_mpi
@pytest.mark.parametrize("how", FAILURES)
def test_failing_rank_ends_the_job_with_one_message(how, tmp_path):
    done, seconds = mpiexec(2, HERE / "failing.py", how, tmp_path / "kept")
    ours = [line for line in done.stderr.splitlines() if line.startswith("tapegrad: ")]
    assert done.returncode != 0 and seconds < 60.0
    assert len(ours) == 1 and FAILURES[how] in ours[0] and ours[0].endswith("; the job of 2 ranks ends")
    assert done.stderr.count("Traceback") == ("raise" in how)


@over_mpi
def test_killed_rank_leaves_a_checkpoint_from_which_one_process_goes_on(tmp_path):
    whole, _ = mpiexec(2, HERE / "failing.py", "nothing", tmp_path / "whole")
    killed, seconds = mpiexec(2, HERE / "failing.py", "is killed", tmp_path / "kept")
    # mpiexec itself notices, and kills rank 0 before that can tell the rank
    assert killed.returncode != 0 and seconds < 60.0 and "Killed" in killed.stdout + killed.stderr
    resumed, _ = mpiexec(1, HERE / "failing.py", "nothing", tmp_path / "kept")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole.stdout and resumed.stdout.startswith("done 36 ")


# ------------------------------------------------------------------ one process


class Alone:
    """What a communicator of mpi4py has, of one process."""

    def __getattr__(self, name):
        return {"Get_size": lambda: 1, "Get_rank": lambda: 0}.get(name) or pytest.fail(f"{name} was asked for")

    Iallreduce = Ibarrier = Dup = allgather = None


def _step(**options):
    model = nn.Linear(2, 1)
    return tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.1), **options)


def test_communicator_of_one_process_is_none():
    assert _step(comm=Alone()).ranks is None


def test_what_is_no_communicator_is_refused():
    with pytest.raises(ArgumentError, match=r"intracommunicator of mpi4py .* not int; .*pip install 'tapegrad\[mpi\]'"):
        _step(comm=2)
    with pytest.raises(ArgumentError, match="timeout must be seconds"):
        _step(comm=Alone(), timeout=0)


def test_missing_mpi4py_is_named_with_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingExtraError, match=r"comm='world' needs mpi4py .*pip install 'tapegrad\[mpi\]'"):
        _step(comm="world")


def test_mpi4py_is_imported_by_nobody_but_the_user():
    code = "import sys, tapegrad as tg; from tapegrad import nn, optim; m = nn.Linear(2, 1); " \
           "tg.TrainStep(lambda x: m(x).sum(), optim.SGD(m.parameters())); assert 'mpi4py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)




def test_ranks_of_one_machine_share_its_cores():
    free = Cores("one", frozenset(range(8)), 8)
    assert [threads_of([free] * 3, rank) for rank in range(3)] == [(2, False)] * 3
    assert threads_of([free, Cores("other", frozenset(range(4)), 4)], 1) == (4, False)
    halves = [Cores("one", frozenset(range(4)), 8), Cores("one", frozenset(range(4, 8)), 8)]
    assert threads_of(halves, 1) == (4, False)


def test_rank_that_is_bound_to_one_core_of_many_is_told_of():
    bound = [Cores("one", frozenset([k]), 8) for k in range(8)]
    assert threads_of(bound[:2], 0) == (1, True) and threads_of(bound, 0) == (1, False)


def _of_ranks():
    """A recording of several ranks in the making."""
    capture = Capture(np.dtype(np.float32))
    capture.ranks = 8
    return capture


def test_batch_normalisation_of_one_rank_alone_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with _of_ranks() as capture:
        with pytest.raises(ArgumentError, match="give batch normalisation sync=True"):
            model(capture.input((4, 2), np.dtype(np.float32)))


def test_what_ranks_cannot_share_is_refused():
    @tg.njit
    def noisy(x):
        total = 0.0
        for k in range(x.shape[0]):
            total += x[k] * np.random.random()
        return total

    with _of_ranks() as capture:
        x = capture.input((4, 2), np.dtype(np.float32))
        with pytest.raises(CaptureError, match="noisy draws random numbers, and with comm= .* draw them outside"):
            noisy(x[:, 0])
        tg.randn(4, 2), tg.randperm(4)
        shapes = list(capture.drawn)
    with pytest.raises(CaptureError, match=r"draws random numbers of shape \[4\] for 4 rows and of \[5\] for 5"):
        elements_of_row(shapes[1], ((5,), False), 4)
    with pytest.raises(CaptureError, match="which ranks cannot draw each for its rows alone"):
        elements_of_row(((4, 4), True), ((5, 5), True), 4)
    assert elements_of_row(shapes[0], ((5, 2), True), 4) == 2
    assert elements_of_row(((3, 8), True), ((3, 10), True), 4) == 2


def test_sync_changes_nothing_in_one_process():
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3, sync=True)
    assert (one(tg.tensor(x)).numpy() == other(tg.tensor(x)).numpy()).all()
    assert (one.running_var.numpy() == other.running_var.numpy()).all()
    for shape in ((7, 3), (4, 3, 5), (4, 3, 2, 5), (2, 3, 2, 4, 3)):
        x = np.random.default_rng(1).normal(size=shape)
        plain = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[x.ndim](3, dtype=float)
        assert (nn.SyncBatchNorm(3, dtype=float)(tg.tensor(x)).numpy() == plain(tg.tensor(x)).numpy()).all()
    deep = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), nn.SyncBatchNorm(3), nn.ReLU(), nn.BatchNorm1d(3))
    assert nn.SyncBatchNorm.convert_sync_batchnorm(deep) is deep
    assert deep[0][0].sync and deep[1].sync and deep[3].sync and not nn.BatchNorm2d(3).sync


def test_step_of_several_ranks_has_no_copies():
    step = _step()
    step.ranks = object()
    with pytest.raises(CopyError, match="several processes"):
        step.__reduce__()
