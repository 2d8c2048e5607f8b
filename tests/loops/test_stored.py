"""What one process derived and compiled, the next one loads; each test runs a small program in processes of its own."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tapegrad
from tapegrad.engine.language import enabled

pytestmark = [pytest.mark.machine,
              pytest.mark.skipif(not enabled(), reason="nothing is compiled with the JIT disabled")]

PROGRAM = """
import json, math, warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    from numba.core import event
    import tapegrad as tg

    OFFSET = np.array([1.0, 2.0, 3.0])
    MATRIX = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, 0.0], [0.0, 1.0, 4.0]])

    @tg.njit
    def inner(x):
        return x * x

    @tg.njit
    def outer(p, y):
        s = 0.0
        z = np.linalg.solve(MATRIX, p)
        for i in range(len(y)):
            s = math.tanh(s * p[i]) + inner(y[i]) * OFFSET[i] + z[i] + math.lgamma(1.0 + p[i] ** 2)
        return s

    with event.install_recorder("numba:compile") as compiled:
        p, y = np.array([0.3, -0.2, 0.5]), np.array([0.5, 1.0, -1.5])
        value, gradient = tg.value_and_grad(outer)(p, y)
        again = outer(p, y)
    plain = outer.py_func(p, y)
assert abs(again - value) < 1e-12 and abs(plain - value) < 1e-12
print(json.dumps({
    "value": float(value), "gradient": gradient.tolist(), "compiled": len(compiled.buffer),
    "source": outer.adjoint_source,
    "warnings": [str(w.message) for w in caught if w.category is RuntimeWarning],
}))
"""


def run(folder, cache, program=PROGRAM):
    """What the program says, run from a file in `folder`."""
    file = Path(folder) / "program.py"
    file.write_text(program)
    env = {**os.environ, "PYTHONPATH": str(Path(tapegrad.__file__).resolve().parent.parent),
           "TAPEGRAD_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, env=env, timeout=300,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def numbers(said):
    return said["value"], said["gradient"]


def kept(cache):
    """The files of derived functions."""
    return sorted(cache.rglob("loop-*"))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A process with an empty cache, its cache and what it said."""
    folder = tmp_path_factory.mktemp("loops")
    return folder, run(folder, folder / "cache")


def test_a_new_process_compiles_nothing_and_has_the_same_numbers(first):
    folder, said = first
    again = run(folder, folder / "cache")
    assert said["compiled"] > 0 and again["compiled"] == 0
    assert numbers(again) == numbers(said) and again["source"] == said["source"]
    assert not said["warnings"] and not again["warnings"]


@pytest.mark.parametrize("before, after", [("return x * x", "return x * x * x"), ("1.0, 2.0, 3.0", "1.0, 2.0, 4.0")],
                         ids=["a function that is called", "a captured constant"])
def test_an_edit_is_derived_anew(first, tmp_path, before, after):
    folder, said = first
    edited = run(tmp_path, folder / "cache", PROGRAM.replace(before, after))
    assert edited["compiled"] > 0 and not edited["warnings"]
    assert edited["value"] != said["value"]


def test_damaged_files_are_made_anew_with_one_warning(first):
    folder, said = first
    for k, path in enumerate(kept(folder / "cache")):
        content = path.read_bytes()
        path.write_bytes(content[:-10] if k % 2 else content[:200] + b"?" + content[201:])
    mended = run(folder, folder / "cache")
    assert numbers(mended) == numbers(said) and mended["compiled"] > 0
    assert len(mended["warnings"]) == 1 and "damaged" in mended["warnings"][0]
    after = run(folder, folder / "cache")
    assert after["compiled"] == 0 and not after["warnings"]


def test_a_folder_that_cannot_be_written_costs_one_warning(first, tmp_path):
    folder, said = first
    (tmp_path / "cache").write_text("not a folder")
    alone = run(folder, tmp_path / "cache")
    assert numbers(alone) == numbers(said)
    assert len(alone["warnings"]) == 1 and "TAPEGRAD_CACHE_DIR" in alone["warnings"][0]


def test_processes_that_compile_at_once_do_not_disturb_each_other(first, tmp_path):
    _, said = first
    with ThreadPoolExecutor(2) as pool:
        folders = [tmp_path / "one", tmp_path / "other"]
        for folder in folders:
            folder.mkdir()
        together = list(pool.map(lambda folder: run(folder, tmp_path / "cache"), folders))
    assert all(numbers(one) == numbers(said) and not one["warnings"] for one in together)
    assert run(tmp_path, tmp_path / "cache")["compiled"] == 0
    assert not list(tmp_path.rglob("*.part"))
