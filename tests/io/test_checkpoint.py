"""The folder of a checkpoint: what is in it, whatever happens."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import ArgumentError, DataError
from tapegrad.io.checkpoint import Checkpoint, newest

pytest.importorskip("safetensors")

STATE = {
    "numbers": [1, -2.5, float("inf"), 2**120, True, None, "text"], "pair": (1, (2.0, "x")), 3: {"a": np.float32(0.5)},
    "arrays": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7), np.zeros((0, 2)), np.array([True])],
}


def written(folder, *states, **options):
    """A folder with these states."""
    checkpoint = Checkpoint(folder, **options)
    checkpoint.open()
    for state in states:
        checkpoint.write(state, last=False)
    checkpoint.close()
    return folder


def refuse(text):
    raise AssertionError(text)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_tree_comes_back_as_it_was(tmp_path):
    state, note = newest(written(tmp_path, STATE, note={"made": "today"}), refuse)
    assert state["numbers"] == STATE["numbers"] and state["pair"] == STATE["pair"] and state[3] == {"a": 0.5}
    for back, array in zip(state["arrays"], STATE["arrays"], strict=True):
        assert back.dtype == array.dtype and back.shape == array.shape
        np.testing.assert_array_equal(back, array)
    assert note == {"made": "today"}


def test_keys_that_are_spelled_alike_keep_arrays_of_their_own(tmp_path):
    given = {"a": {1: np.zeros(2), "1": np.ones(2), "b": np.full(2, 2.0)}, "a/b": np.full(2, 3.0)}
    state, _ = newest(written(tmp_path, given), refuse)
    assert [state["a"][key].tolist() for key in (1, "1", "b")] == [[0, 0], [1, 1], [2, 2]]
    assert state["a/b"].tolist() == [3, 3]


def test_what_cannot_be_kept_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot keep 'callback/best', which is a set"):
        written(tmp_path, {"callback": {"best": {1}}})


def test_the_last_two_are_kept_and_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".checkpoint-000009.safetensors.0.part").write_bytes(b"half")
    written(tmp_path, *({"step": k} for k in range(5)))
    assert files(tmp_path) == ["checkpoint-000004.safetensors", "checkpoint-000005.safetensors", "lock"]
    assert newest(tmp_path, refuse)[0] == {"step": 4}


@pytest.mark.parametrize("harm", ["truncated", "empty", "foreign", "another byte", "another format"])
def test_a_file_that_cannot_be_read_gives_way_to_the_one_before_with_a_word(harm, tmp_path):
    written(tmp_path, {"step": 1, "a": np.zeros(50)}, {"step": 2, "a": np.zeros(50)})
    path = tmp_path / "checkpoint-000002.safetensors"
    content = path.read_bytes()
    if harm == "foreign":
        tg.save({"weight": np.zeros(3)}, path)
    else:
        path.write_bytes({"truncated": content[:-100], "empty": b"", "another byte": content[:-1] + b"\1",
                          "another format": content.replace(b'format\\": 1', b'format\\": 7')}[harm])
    told = []
    checkpoint = Checkpoint(tmp_path, resume=True, say=told.append)
    assert checkpoint.open()["step"] == 1
    assert len(told) == 1 and str(path) in told[0] and "going on from the one before, checkpoint-000001" in told[0]
    checkpoint.write({"step": 3}, last=False)
    checkpoint.close()
    assert newest(tmp_path, refuse)[0] == {"step": 3}  # the damaged one is not taken for the newest
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="no checkpoint in it can be read: .*000003.*; .*000002"):
        Checkpoint(tmp_path, resume=True).open()


def test_a_folder_with_a_checkpoint_is_gone_on_from_only_if_asked(tmp_path):
    written(tmp_path, {"step": 1})
    with pytest.raises(ArgumentError, match="holds a checkpoint already; .* resume=True"):
        Checkpoint(tmp_path).open()
    assert Checkpoint(tmp_path / "new" / "folder", resume=True).open() is None
    with pytest.raises(DataError, match="holds no checkpoint"):
        newest(tmp_path / "new" / "folder", refuse)


@pytest.mark.parametrize("every", [-1, float("nan"), float("inf"), "60", True])
def test_seconds_are_checked(every, tmp_path):
    with pytest.raises(ArgumentError, match="every must be seconds"):
        Checkpoint(tmp_path, every)


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = Checkpoint(tmp_path)
    first.open()
    with pytest.raises(DataError, match=rf"another run \(process {os.getpid()}\) keeps its checkpoints there"):
        Checkpoint(tmp_path, resume=True).open()
    code = f"import tapegrad as tg; tg.Checkpoint({str(tmp_path)!r}).open()"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode == 1 and "another run (process" in other.stderr
    first.close()
    assert Checkpoint(tmp_path).open() is None


def in_child(folder, code):
    """What a function `run`, written as code, returns as text in a process of its own."""
    begin = """
import os, resource, sys, numpy as np
from pathlib import Path
from tapegrad.io.checkpoint import Checkpoint
folder = Path(sys.argv[1])
"""
    end = """
try:
    print(run())
except OSError as error:
    print(f"{type(error).__name__}: {error}")
"""
    done = subprocess.run([sys.executable, "-c", begin + inspect.cleandoc(code) + end, folder], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_costs_no_checkpoint_and_no_run(tmp_path):
    """RLIMIT_FSIZE refuses what is larger than so many bytes."""

    first, second = in_child(tmp_path, """
        def run():
            told = []
            checkpoint = Checkpoint(folder, every=5, say=told.append)
            checkpoint.open()
            checkpoint.write({"step": 1}, last=False)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            checkpoint.write({"step": 2, "a": np.zeros(10_000)}, last=False)
            checkpoint.write({"step": 3, "a": np.zeros(10_000)}, last=False)
            checkpoint.write({"step": 4}, last=False)
            checkpoint.write({"step": 5, "a": np.zeros(10_000)}, last=True)
            return "\\n".join(told)
    """).splitlines()  # once each time that it begins
    assert "000002.safetensors: could not be written (File too large); the one before is kept, the next is" in first
    assert "every 5 s" in first and second.endswith("the one before is kept")
    assert files(tmp_path) == ["checkpoint-000001.safetensors", "checkpoint-000002.safetensors", "lock"]
    assert newest(tmp_path, refuse)[0] == {"step": 4}


def test_a_disk_that_is_full_from_the_start_stops_the_run(tmp_path):
    found = in_child(tmp_path, """
        def run():
            checkpoint = Checkpoint(folder)
            checkpoint.open()
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            checkpoint.write({"a": np.zeros(10_000)}, last=False)
            return "written"
    """)
    assert found.startswith("OSError: [Errno 27] File too large: ")
    assert files(tmp_path) == ["lock"]


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    written(tmp_path, {"step": 1})
    tmp_path.chmod(0o555)
    (tmp_path / "lock").chmod(0o444)
    try:
        found = in_child(tmp_path, """
            def run():
                if os.geteuid() == 0:
                    os.setuid(65534)
                return str(Checkpoint(folder, resume=True).open())
        """)
        assert found.startswith("PermissionError: [Errno 13] Permission denied: ")
    finally:
        tmp_path.chmod(0o755)
    with pytest.raises(OSError):
        Checkpoint(tmp_path / "lock" / "run").open()


SCRIPT = """
import sys, numpy as np, tapegrad as tg
from tapegrad import nn, optim
import tapegrad.nn.functional as F
from tapegrad.program.running import epochs as running
running._CHUNK_SECONDS = 2e-4
rng = np.random.default_rng(0)
X, y = rng.normal(size=(203, 8)), rng.integers(0, 3, 203)
tg.manual_seed(1)
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
optim.lr_scheduler.CosineAnnealingLR(optimizer, 500, interval="step")
step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optimizer, accumulate=1)
print("ready", flush=True)
history = step.run(X, y, batch_size=16, epochs=int(sys.argv[3]), checkpoint=tg.Checkpoint(sys.argv[1], 0, resume=True))
tg.save({**model.state_dict(), "loss": history.loss, "lr": history.lr}, sys.argv[2])
"""


@pytest.mark.compiled
@pytest.mark.machine
@pytest.mark.parametrize(("kills", "epochs"), [(4, 300), pytest.param(200, 2500, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_run_ends_in_the_same_bits(kills, epochs, tmp_path):
    rng = np.random.default_rng(16)

    def start(folder):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path / folder, tmp_path / f"{folder}.end",
                                    str(epochs)],
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    assert start("whole").wait() == 0
    killed = 0
    while killed < kills:
        process = start("cut")
        time.sleep(float(rng.uniform(0.0, 0.5)))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        killed += 1
    assert killed >= kills // 4
    assert start("cut").wait() == 0
    assert (tmp_path / "whole.end").read_bytes() == (tmp_path / "cut.end").read_bytes()
