"""The folder of compiled code: never old, never in the way.

Each test runs a small program in processes of its own, for what matters is what a *new* process finds. The program
differentiates tanh(x), and says what it got, what it was warned of and whether it had to import numba. It uses a copy
of the package, so that an edit made while the tests run does not look like a fault of the cache.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tapegrad

X = [0.5, -1.25, 2.0]

PROGRAM = """
import json, sys, warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    import tapegrad as tg
    from tapegrad.engine.kernels import compile_seconds

    x = tg.tensor(json.loads(sys.argv[1]), dtype=np.float64, requires_grad=True)
    y = tg.tanh(x)
    y.backward(gradient=np.ones(len(x)))
print(json.dumps({
    "value": y.numpy().tolist(), "gradient": x.grad.numpy().tolist(), "numba": "numba" in sys.modules,
    "compiled": compile_seconds() > 0, "package": tg.__file__,
    "warnings": [str(w.message) for w in caught if w.category is RuntimeWarning],
}))
"""

pytestmark = [pytest.mark.machine, pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"),
                                                      reason="nothing is compiled with the JIT disabled")]


def copy_of_package(folder):
    """The package's sources, copied into `folder`."""
    source = Path(tapegrad.__file__).resolve().parent
    return shutil.copytree(source, folder / "tapegrad", ignore=shutil.ignore_patterns("__pycache__"))


def environment(package, cache, **changes):
    """The environment of a process that uses `package` and the cache folder `cache`; None removes a variable."""
    result = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    for name, value in {"TAPEGRAD_CACHE_DIR": cache, **changes}.items():
        result.pop(name, None)
        if value is not None:
            result[name] = str(value)
    return result


def run(env, cwd, program=PROGRAM):
    """What the program says, in a process that starts in folder `cwd`."""
    done = subprocess.run([sys.executable, "-c", program, json.dumps(X)], env=env, cwd=cwd, capture_output=True,
                          text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def right(answer):
    """Whether the value is tanh(x) and the gradient 1 - tanh(x)**2."""
    return close(answer["value"], np.tanh(X)) and close(answer["gradient"], 1 / np.cosh(X) ** 2)


def close(actual, expected):
    """Whether they agree to 1e-12."""
    return np.allclose(actual, expected, rtol=1e-12, atol=0)


def object_files(cache):
    """The files of compiled code below a folder."""
    return sorted(Path(cache).rglob("*.o"))


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package that no test changes."""
    return copy_of_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def filled(package, tmp_path_factory):
    """A cache that one process has filled, and what that process said; tests copy it before they change it."""
    cache = tmp_path_factory.mktemp("filled")
    return cache, run(environment(package, cache), cache)


@pytest.fixture
def cache(filled, tmp_path):
    """A filled cache of the test's own."""
    return shutil.copytree(filled[0], tmp_path / "cache")


# ------------------------------------------------------------------ hits


def test_the_first_process_compiles_and_keeps_what_it_compiled(filled):
    cache, answer = filled
    assert right(answer) and answer["compiled"] and answer["warnings"] == []
    assert object_files(cache) and not list(cache.rglob("*.part"))


def test_a_later_process_imports_no_numba_and_compiles_nothing(package, cache, tmp_path):
    before = contents(cache)
    answer = run(environment(package, cache), tmp_path)
    assert right(answer)
    assert not answer["numba"] and not answer["compiled"] and answer["warnings"] == []
    assert contents(cache) == before


def test_importing_the_package_imports_no_numba(package, tmp_path):
    program = "import json, sys, tapegrad.nn, tapegrad.optim; print(json.dumps('numba' in sys.modules))"
    assert run(environment(package, tmp_path), tmp_path, program) is False


# ------------------------------------------------------------------ edits

def edit_kernel(package):
    """tanh(x) + 1 in the place of tanh(x)."""
    file = package / "ops" / "elementwise.py"
    source = file.read_text()
    assert source.count('"tanh(x)"') == 1
    file.write_text(source.replace('"tanh(x)"', '"tanh(x) + 1.0"'))


def edit_function_that_the_kernel_calls(package):
    """2 x in the place of tanh(x), in another file than the kernel's: numba's own cache would not notice."""
    with open(package / "engine" / "mathematics" / "vecmath64.py", "a") as file:
        file.write("\n\ndef tanh(x):\n    return 2.0 * x\n")


@pytest.mark.parametrize("edit, formula", [
    (edit_kernel, lambda x: np.tanh(x) + 1),
    (edit_function_that_the_kernel_calls, lambda x: 2 * x),
], ids=["kernel", "function-that-the-kernel-calls"])
def test_an_edit_is_picked_up_by_the_next_process(tmp_path, edit, formula):
    package = copy_of_package(tmp_path)
    original = contents(package)
    env = environment(package, tmp_path / "cache")
    first = run(env, tmp_path)
    assert right(first) and Path(first["package"]).parent == package

    edit(package)
    second = run(env, tmp_path)
    assert close(second["value"], formula(np.array(X))) and second["compiled"]

    for path, content in original.items():  # back to what is in the cache already
        (package / path).write_bytes(content)
    third = run(env, tmp_path)
    assert right(third) and not third["compiled"]


# ------------------------------------------------------------------ many processes


def test_eight_processes_that_start_on_an_empty_cache_all_succeed(package, tmp_path):
    env = environment(package, tmp_path / "cache")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: run(env, tmp_path), range(8)))
    assert all(right(answer) for answer in answers)
    assert all(answer["warnings"] == [] for answer in answers)
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not run(env, tmp_path)["numba"]


# ------------------------------------------------------------------ nowhere to write


def test_a_cache_folder_that_cannot_be_made_costs_one_warning(package, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    answer = run(environment(package, tmp_path / "file" / "cache"), tmp_path)
    assert right(answer) and answer["compiled"]
    assert len(answer["warnings"]) == 1 and str(tmp_path / "file") in answer["warnings"][0]


def test_a_file_in_the_place_of_the_cache_folder_costs_one_warning_and_is_left_alone(package, tmp_path):
    (tmp_path / "cache").write_text("mine")
    answer = run(environment(package, tmp_path / "cache"), tmp_path)
    assert right(answer) and len(answer["warnings"]) == 1
    assert (tmp_path / "cache").read_text() == "mine"


def test_an_unwritable_home_costs_one_warning(package, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    home = tmp_path / "file" / "home"
    answer = run(environment(package, None, HOME=home, XDG_CACHE_HOME=None, LOCALAPPDATA=home), tmp_path)
    assert right(answer) and len(answer["warnings"]) == 1
    assert "TAPEGRAD_CACHE_DIR" in answer["warnings"][0]


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "getuid"), reason="users by number are POSIX's")
def test_a_user_without_a_home_costs_one_warning(package, tmp_path):
    """As in a container that is run under a user number which the system does not know."""
    program = PROGRAM.replace("import numpy as np", "import pathlib; pathlib.Path.home = classmethod(no_home)\n"
                              "    import numpy as np", 1)
    program = "def no_home(cls): raise RuntimeError('Could not determine home directory.')\n" + program
    answer = run(environment(package, None, HOME=None, XDG_CACHE_HOME=None), tmp_path, program)
    assert right(answer) and len(answer["warnings"]) == 1
    assert "TAPEGRAD_CACHE_DIR" in answer["warnings"][0]


def test_a_read_only_installation_works_and_is_left_as_it_was(tmp_path):
    package = copy_of_package(tmp_path / "site")
    before = contents(package)
    folders = [package.parent, package, *(path for path in package.rglob("*") if path.is_dir())]
    for folder in folders:  # root may write all the same, hence the comparison
        folder.chmod(0o555)
    try:
        answer = run(environment(package, tmp_path / "cache"), tmp_path)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert right(answer) and answer["warnings"] == []
    assert contents(package) == before


# ------------------------------------------------------------------ damage


def spoil_by_truncation(file):
    """As after a full disk or a power cut."""
    file.write_bytes(file.read_bytes()[:-100])


def spoil_by_garbage(file):
    """Bytes that were never a cache file."""
    file.write_bytes(np.random.default_rng(0).bytes(5000))


def spoil_by_one_bit(file):
    """One flipped bit in the machine code: the checksum is wrong."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def spoil_by_emptying(file):
    """A file that was created and never written."""
    file.write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_by_truncation, spoil_by_garbage, spoil_by_one_bit, spoil_by_emptying])
def test_damaged_files_cost_one_warning_and_are_replaced(package, cache, tmp_path, spoil):
    names = [file.name for file in object_files(cache)]
    for file in object_files(cache):
        spoil(file)
    answer = run(environment(package, cache), tmp_path)
    assert right(answer) and answer["compiled"]
    assert len(answer["warnings"]) == 1 and "damaged" in answer["warnings"][0]

    again = run(environment(package, cache), tmp_path)
    assert right(again) and not again["numba"] and again["warnings"] == []
    assert [file.name for file in object_files(cache)] == names


def test_a_missing_file_is_made_again_without_a_warning(package, cache, tmp_path):
    lost = object_files(cache)[0]
    lost.unlink()
    answer = run(environment(package, cache), tmp_path)
    assert right(answer) and answer["compiled"] and answer["warnings"] == []
    assert lost.exists()


def test_leftovers_of_a_killed_process_do_no_harm(package, cache, tmp_path):
    leftover = object_files(cache)[0].with_name("tmpabcdefg.part")
    leftover.write_bytes(b"half a file")
    answer = run(environment(package, cache), tmp_path)
    assert right(answer) and not answer["numba"] and answer["warnings"] == []


def test_a_folder_in_the_place_of_a_file_costs_one_warning(package, cache, tmp_path):
    file = object_files(cache)[0]
    file.unlink()
    file.mkdir()
    answer = run(environment(package, cache), tmp_path)
    assert right(answer) and len(answer["warnings"]) == 1
