"""`tg.sweep`: runs in processes, a file that is gone on from, failures that take nothing else with them."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.engine.language import enabled
from tapegrad.errors import ArgumentError, DataError, ShapeError
from tapegrad.sweeps.results import Results

SUFFIXES = (".csv", ".parquet")


def bowl(x, y):
    return {"loss": (x - 3.0) ** 2 + y, "where": f"{x},{y}"}


def rows_of(path):
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def train(width, lr):
    """A network whose weights and whose loss come from the seed of its run."""
    x = np.linspace(-1, 1, 32)[:, None]
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
    step = tg.TrainStep(lambda x: ((model(x) - x) ** 2).mean(), optim.Adam(model.parameters(), lr=lr))
    return step.run(x, batch_size=8, epochs=2, seed=0).loss[-1]


@pytest.mark.skipif(not enabled(), reason="trains networks")
def test_results_do_not_depend_on_how_many_processes_make_them():
    space = {"width": [2, 3], "lr": scipy.stats.loguniform(1e-3, 1e-1)}
    here, two = (tg.sweep(train, space, samples=2, workers=workers).columns for workers in (0, 2))
    with ThreadPoolExecutor(1) as executor:
        handed = tg.sweep(train, space, samples=2, executor=executor).columns
    assert here["loss"] == two["loss"] == handed["loss"] and len(set(here["loss"])) == 4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_run_is_a_row_and_the_best_is_known(suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"runs{suffix}"
    found = tg.sweep(bowl, {"x": [1.0, 2.5, 4], "y": [0, 1]}, workers=2, path=path)
    assert found.best == {**found.best, "run": 3, "x": 2.5, "y": 0, "loss": 0.25, "status": "done"}
    assert [row["loss"] for row in found.ranked] == [0.25, 1.0, 1.25, 2.0, 4.0, 5.0]
    written = rows_of(path)
    assert sorted((float(row["x"]), float(row["y"]), float(row["loss"])) for row in written) == sorted(
        (x, y, (x - 3.0) ** 2 + y) for x in (1.0, 2.5, 4.0) for y in (0.0, 1.0))
    assert list(written[0]) == ["run", "x", "y", "status", "loss", "where", "seconds", "error"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert found.columns["where"][0] == "1.0,0" and "best" not in str(found)
    assert str(found).splitlines()[0].split() == ["run", "x", "y", "loss", "where", "seconds"]
    worst = tg.sweep(bowl, {"x": [1.0, 2.5], "y": 0}, workers=0, mode="max").best
    assert worst["x"] == 1.0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sweep_goes_on_and_grows_without_repeating_a_run(suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path, calls = tmp_path / f"runs{suffix}", []

    def counted(x, y, act):
        calls.append((x, y))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return bowl(x, y)

    space = {"x": [1, 2.5], "y": [0, 1], "act": [abs]}
    with pytest.raises(KeyboardInterrupt):
        tg.sweep(counted, space, path=path, workers=0)
    assert len(rows_of(path)) == 2
    found = tg.sweep(counted, space, path=path, workers=0)
    assert calls[2] == calls[3] and len(calls) == 5 and found.best["act"] is abs
    found = tg.sweep(counted, {**space, "x": [0, 1, 2.5]}, path=path, workers=0)
    assert len(calls) == 7 and [row["run"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert len(rows_of(path)) == 6 and [row["loss"] for row in found] == [9, 10, 4, 5, 0.25, 1.25]


@pytest.mark.parametrize("executor", [False, True])
def test_a_run_that_raises_is_marked_with_its_cause_and_the_rest_goes_on(executor, tmp_path):
    def faulty(k):
        if k == 1:
            raise ValueError("no\nsuch   thing")
        if k == 2:
            raise ShapeError("shapes (2,) and (3,) differ")
        if k == 3:
            sys.exit(7)
        return {"loss": 1.0, **{4: {"k": 2}, 5: {"x": object()}}.get(k, {})}

    with ThreadPoolExecutor(2) as threads:
        found = tg.sweep(faulty, {"k": range(7)}, workers=2, path=tmp_path / "a.csv",
                         executor=threads if executor else None)
    errors = {row["k"]: row["error"] for row in found.failed}
    assert errors[1].startswith("ValueError: no such thing (test_running.py:") and set(errors) == {1, 2, 3, 4, 5}
    assert errors[2] == "shapes (2,) and (3,) differ" and errors[3].startswith("SystemExit: 7")
    assert "named 'k', which is a setting" in errors[4] and "a object as 'x'" in errors[5]
    assert "run 2 failed: ValueError: no such thing" in str(found)
    assert found.best["k"] in (0, 6)
    with pytest.raises(ArgumentError, match="no run has a finite 'accuracy'.*the first that failed: ValueError"):
        tg.sweep(faulty, {"k": range(7)}, path=tmp_path / "a.csv", metric="accuracy").best.keys()
    again = tg.sweep(lambda k: 5.0, {"k": range(7)}, path=tmp_path / "a.csv", retry_failed=True, workers=0)
    assert [row["loss"] for row in again] == [1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0] and not again.failed
    assert len(rows_of(tmp_path / "a.csv")) == 7


def test_a_process_that_dies_takes_its_own_run_with_it_and_no_other():
    def dies(k):
        if k in (1, 4):
            os.kill(os.getpid(), signal.SIGKILL)
        if k == 2:
            os._exit(3)
        return k

    before = set(multiprocessing.active_children())  # of other tests
    found = tg.sweep(dies, {"k": range(6)}, workers=2)
    assert {row["k"]: row["error"] for row in found.failed} == {
        1: "the worker process was ended: SIGKILL (out of memory?)",
        2: "the worker process was ended: exit status 3",
        4: "the worker process was ended: SIGKILL (out of memory?)",
    }
    assert [row.get("loss") for row in found] == [0, None, None, 3, None, 5]
    assert set(multiprocessing.active_children()) <= before


def test_runs_made_by_one_call_get_lists_and_are_told_apart():
    calls = []

    def many(width, lr, seed):
        calls.append((width, tuple(lr), tuple(seed)))
        return [ValueError("bad") if r == 0.3 else {"loss": width + r + s} for r, s in zip(lr, seed, strict=True)]

    space = {"width": [10, 20], "lr": [0.1, 0.2, 0.3], "seed": [0, 1]}
    found = tg.sweep(many, space, together=["lr", "seed"], workers=0)
    assert calls == [(w, (0.1, 0.1, 0.2, 0.2, 0.3, 0.3), (0, 1) * 3) for w in (10, 20)]
    assert [row.get("loss") for row in found] == [
        None if r == 0.3 else w + r + s for w in (10, 20) for r in (0.1, 0.2, 0.3) for s in (0, 1)]
    assert {row["error"] for row in found.failed} == {"ValueError: bad"}


def test_of_runs_made_by_one_call_that_dies_the_culprit_is_found():
    def many(lr, deadly):
        if 3 in lr:
            if deadly:
                os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("three")
        return list(lr)

    for deadly, cause in ((True, "the worker process was ended: SIGTERM"), (False, "ValueError: three")):
        found = tg.sweep(many, {"lr": range(6), "deadly": deadly}, together=["lr"], workers=1)
        assert [row.get("loss") for row in found] == [0, 1, 2, None, 4, 5]
        assert [row["error"][:len(cause)] for row in found.failed] == [cause]


SCRIPT = textwrap.dedent("""
    import os, sys, time, tapegrad as tg
    def train(k):
        time.sleep(0.05 if k < 6 else 60)
        os.write(1, b"%d\\n" % k)
        return k
    tg.sweep(train, {"k": range(40)}, workers=2, path=sys.argv[1])
""")


@pytest.mark.machine
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_killed_leaves_no_process_and_loses_no_run(number, suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"runs{suffix}"
    env = {**os.environ, "PYTHONPATH": str(Path(tg.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=env)
    begun = [process.stdout.readline() for _ in range(6)]
    time.sleep(0.03)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)  # returns when the workers too have let go of the pipe
    made = {int(line) for line in [*begun, *rest.split()]}
    assert 6 <= len(made) < 40
    again = []
    found = tg.sweep(lambda k: again.append(k) or k, {"k": range(40)}, workers=0, path=path)
    assert [row["loss"] for row in found] == list(range(40))
    # printed and not yet written is at most one of each worker
    assert len(again) + len(made) - 40 <= 2 and set(again) | made == set(range(40))
    assert len(rows_of(path)) == 40


def test_a_line_that_was_cut_off_is_no_run(tmp_path):
    path = tmp_path / "runs.csv"
    tg.sweep(bowl, {"x": [1, 2, 3], "y": 0}, path=path, workers=0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = []
    tg.sweep(lambda x, y: again.append(x) or bowl(x, y), {"x": [1, 2, 3], "y": 0}, path=path, workers=0)
    assert again == [3] and len(rows_of(path)) == 3


def test_two_sweeps_on_one_file_are_refused_and_a_file_is_free_afterwards(tmp_path):
    path = tmp_path / "runs.csv"
    first = Results(path, ["x"])
    with pytest.raises(DataError, match=f"another sweep .process {os.getpid()}. writes to it; wait for its end, or"):
        tg.sweep(bowl, {"x": [1], "y": [2]}, path=path)
    first.close()
    path.unlink()
    tg.sweep(bowl, {"x": [1], "y": [2]}, path=path, workers=0)


def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path):
    path = tmp_path / "runs.csv"
    tg.sweep(bowl, {"x": [1, 2], "y": 0}, path=path, workers=0)
    before = rows_of(path)
    with pytest.raises(DataError, match=r"row 2 is of another sweep \(x = 2, y = 0\); give this one another file"):
        tg.sweep(bowl, {"x": [1], "y": 0}, path=path)
    with pytest.raises(DataError, match="is no file of this sweep: it has no column 'z'"):
        tg.sweep(bowl, {"x": [1], "y": 0, "z": 0}, path=path)
    assert rows_of(path) == before
    other = tmp_path / "data.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column 'run'"):
        tg.sweep(bowl, {"x": [1], "y": 0}, path=other)
    assert other.read_text() == "a,b\n1,2\n"
    with pytest.raises(DataError, match="must end in .csv or .parquet"):
        tg.sweep(bowl, {"x": [1], "y": 0}, path=tmp_path / "runs.txt")


def test_repeats_are_compared_by_their_means(tmp_path):
    """Means and deviations by NumPy; the luckiest single run is not the best."""
    losses = {("a", 0): 0.1, ("a", 1): 0.9, ("a", 2): 0.8, ("b", 0): 0.4, ("b", 1): 0.5, ("b", 2): 0.3,
              ("c", 0): 0.01, ("c", 1): np.nan, ("c", 2): 0.02}  # fmt: skip

    def noisy(kind, seed):
        if (kind, seed) == ("d", 1):
            raise ValueError("no")
        return {"loss": losses.get((kind, seed), 0.0), "size": 7 if kind == "b" else 8}

    space = {"kind": ["a", "b", "c", "d"], "seed": [0, 1, 2]}
    found = tg.sweep(noisy, space, repeats=["seed"], workers=0)
    of_b = [losses["b", seed] for seed in range(3)]
    assert found.best == {"run": 4, "kind": "b", "status": "done", "loss": pytest.approx(np.mean(of_b)), "size": 7,
                          "spread": pytest.approx(np.std(of_b, ddof=1)), "runs": 3, "seconds": found.best["seconds"]}
    assert [row["kind"] for row in found.ranked][:2] == ["b", "a"] and len(found.ranked) == 4
    lines = [line.split() for line in str(found).splitlines()]
    assert lines[0] == ["run", "kind", "loss", "spread", "size", "runs", "seconds"]
    assert lines[1][:6] == ["4", "b", "0.4", "0.1", "7", "3"]
    assert tg.sweep(noisy, space, workers=0).best["kind"] == "d"
    if find_spec("matplotlib"):
        found.plot(tmp_path / "runs.svg")
        assert "12 runs, 1 failed; best loss 0.4 ± 0.1 (runs 4, 5, 6)" in (tmp_path / "runs.svg").read_text()


@pytest.mark.parametrize("changed, said", [
    ({"train": 3}, "train must be a function"),
    ({"space": {}}, "space must be a dict"),
    ({"samples": 0}, "samples must be a whole number of at least 1, not 0"),
    ({"workers": -1}, "workers must be a whole number of at least 0"),
    ({"seed": 0.5}, "seed must be a whole number, not 0.5"),
    ({"mode": "least"}, "mode must be 'min' or 'max'"),
    ({"metric": "x"}, "metric must name a column of results, not 'x'"),
    ({"together": "x"}, r"together must be a list of names, such as \['x'\]"),
    ({"repeats": ["seed"]}, "repeats names 'seed', which is not in space"),
    ({"together": ["z"]}, r"together names 'z', which is not in space \(x, y\)"),
])  # fmt: skip
def test_arguments_out_of_range_are_named(changed, said):
    given = {"train": bowl, "space": {"x": [1], "y": [1]}, **changed}
    with pytest.raises(ArgumentError, match=said):
        tg.sweep(given.pop("train"), given.pop("space"), **given)


def test_a_picture_shows_each_setting_that_varies(tmp_path):
    pytest.importorskip("matplotlib")
    space = {"x": scipy.stats.loguniform(0.1, 100), "y": [0, 1], "kind": ["a", "b"]}
    found = tg.sweep(lambda x, y, kind: bowl(x, y)["loss"], space, samples=4, workers=0)
    found.plot(tmp_path / "runs.svg", "all of them")
    found.plot(tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "runs.svg").read_text().count('<g id="axes_') == 4
    with pytest.raises(DataError, match="must end in .png, .svg or .pdf"):
        found.plot(tmp_path / "runs.jpg")


def dies_at_zero(x):
    if x == 0:
        os._exit(1)
    return x * x


@pytest.mark.machine
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_an_executor_that_breaks_fails_its_runs_with_the_cause():
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as executor:
        found = tg.sweep(dies_at_zero, {"x": [2, 1, 0]}, executor=executor, workers=1)
    assert found.columns["loss"] == [4, 1, None] and "the executor gave BrokenProcessPool: " in found[2]["error"]
