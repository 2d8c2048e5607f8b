"""Every script of perf/ answers --help, and runs in its smallest setting: a table, JSON, a picture."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).resolve().parent.parent / "perf"
SCRIPTS = sorted(path.name for path in PERF.glob("*.py") if "report.parser(" in path.read_text(encoding="utf-8"))

#: the smallest setting of each script
SMALLEST = {
    "calls.py": ["--repeats", "2", "--steps", "256"],
    "compare.py": ["--list"],
    "derivatives.py": ["--quick", "--only", "Jacobian, MLP"],
    "embedding.py": ["--rows", "50", "--width", "4", "--batch", "4", "--repeats", "2", "--seconds", "0.001"],
    "estimators.py": ["--sets", "iris", "--networks", "4", "--epochs", "2", "--repeats", "1"],
    "explain.py": ["--quick", "--repeats", "1"],
    "growth.py": ["--calls", "200"],
    "kills.py": ["--kills", "1", "--only", "SGD", "--epochs", "20"],
    "limits.py": ["--quick", "--only", "T.exp("],
    "loops.py": ["--quick", "--only", "GARCH"],
    "memory_budget.py": ["--depth", "4", "--rows", "64", "--width", "32", "--repeats", "2", "--no-measure"],
    "memory_frozen.py": ["--depths", "4", "4", "--rows", "64", "--width", "32"],
    "memory_plan.py": ["--networks", "MLP", "--freeze", "none", "all but last", "--rows", "64", "--width", "32",
                       "--no-measure"],
    "monitor.py": ["--repeats", "2", "--steps", "8", "--every", "4"],
    "ops.py": ["--quick", "--only", "T.exp("],
    "parallel.py": ["--repeats", "1", "--seconds", "0.01", "--only", "64-128"],
    "profile_step.py": ["--seconds", "0.01", "--top", "2"],
    "recording.py": ["--quick", "--repeats", "1"],
    "scalar_graph.py": ["--ops", "50", "--repeats", "2", "--seconds", "0.001"],
    "startup.py": ["--repeats", "1", "--cold-repeats", "1"],
    "sweep.py": ["--runs", "4", "--width", "4", "--epochs", "2", "--repeats", "1"],
    "tables.py": ["--only", "digits", "--seeds", "1", "--epochs", "1", "--no-peers"],
}
NEEDS = {"estimators.py": "sklearn.neural_network", "parallel.py": "mpi4py"}
LONG = {"recording.py", "startup.py"}  # record large graphs; compile everything, twice

pytestmark = pytest.mark.compiled


def run(script, *options):
    done = subprocess.run([sys.executable, str(PERF / script), *options], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_answers_help(script):
    said = run(script, "--help")
    assert said.startswith("usage:") and "--json" in said
    assert script in SMALLEST, f"say in SMALLEST how {script} runs in a second"


@pytest.mark.parametrize("script", [pytest.param(script, marks=[pytest.mark.slow] if script in LONG else [])
                                    for script in SCRIPTS])
def test_a_script_runs_in_its_smallest_setting(script, tmp_path):
    options = SMALLEST[script]
    if script in NEEDS:
        pytest.importorskip(NEEDS[script])
    if "--list" in options:
        assert run(script, *options)
        return
    written = tmp_path / "results.json"
    printed = run(script, *options, "--json", str(written))
    assert re.search(r"^-+  -", printed, re.MULTILINE), "no table"
    answer = json.loads(written.read_text())
    assert answer["machine"]["cores"] and answer["results"]


def test_a_memory_script_measures_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    if not Path("/proc/self/status").exists():
        pytest.skip("resident sizes are read from /proc")
    picture, written = tmp_path / "frozen.png", tmp_path / "frozen.json"
    run("memory_frozen.py", "--stack", "convolution stack", "--train", "1", "--depths", "2", "2", "--rows", "8192",
        "--width", "64", "--plot", str(picture), "--json", str(written))
    assert picture.read_bytes()[:4] == b"\x89PNG"
    (result,) = json.loads(written.read_text())["results"]
    ours = result["tapegrad"]
    assert ours["lower_bound"] <= ours["planned"] < ours["unfrozen"]
    assert abs(ours["measured"] - ours["planned"]) < 0.5 * ours["planned"]
