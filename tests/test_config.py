"""`tg.config` and thread counts: what is chosen, what is told, and that an old recording keeps its library."""

import ctypes
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.engine import providers
from tapegrad.errors import ArgumentError, MissingExtraError

try:
    metadata.version("mkl")
    HAS_MKL = True
except metadata.PackageNotFoundError:
    HAS_MKL = False

needs_mkl = pytest.mark.skipif(not HAS_MKL, reason="the mkl wheel is not installed")
VARIABLES = ("TAPEGRAD_BLAS", "TAPEGRAD_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(autouse=True)
def _as_before():
    """Provider and thread count are the process's: every test leaves them as it found them."""
    name, threads = tg.config.blas, tg.get_num_threads()
    yield
    tg.config.blas = name
    tg.set_num_threads(threads)


@pytest.fixture
def counting(monkeypatch):
    """A third provider, "counting": SciPy's routine, and the list of the products that went through it."""
    calls, keep = [], []
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)

    def find(dtype):
        routine = prototype(providers._load("openblas").address(dtype))

        def gemm(*words):
            calls.append(tuple(ctypes.c_int32.from_address(w).value for w in words[2:5]))
            routine(*words)

        keep.append(prototype(gemm))
        return ctypes.cast(keep[-1], ctypes.c_void_p).value

    load = providers._load
    made = providers.Provider("counting", "1", find, None, None, limit=0)
    monkeypatch.setattr(providers, "NAMES", ("openblas", "counting", "mkl"))
    monkeypatch.setattr(providers, "_load", lambda name: made if name == "counting" else load(name))
    before = tg.config.blas
    yield calls
    tg.config.blas = before


def in_a_process(program, **variables):
    """What `program` prints as JSON, or its standard error, in a process with these environment variables alone."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env |= {"PYTHONPATH": str(Path(tg.__file__).resolve().parent.parent), **variables}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def pair(m, n, k, dtype=np.float32):
    """Two matrices, (m, k) and (k, n)."""
    r = np.random.default_rng(m + n + k)
    return r.normal(size=(m, k)).astype(dtype), r.normal(size=(k, n)).astype(dtype)


class TestProvider:
    def test_mkl_is_the_default_where_its_wheel_is_installed(self):
        told = in_a_process("import json, tapegrad as tg; print(json.dumps([tg.config.blas, tg.get_num_threads()]))",
                            TAPEGRAD_NUM_THREADS="3")
        assert told == ["mkl" if HAS_MKL else "openblas", 3]

    def test_the_environment_chooses(self):
        program = ("import json, tapegrad as tg; i = tg.config.info()\n"
                   "print(json.dumps([tg.config.blas, i['blas'], i['blas_file']]))")
        chosen, loaded, file = in_a_process(program, TAPEGRAD_BLAS="openblas")
        assert (chosen, loaded) == ("openblas", "openblas")
        assert file is None or "mkl" not in Path(file).name

    def test_an_unknown_name_in_the_environment_is_told_with_its_variable(self):
        told = in_a_process("import tapegrad as tg; tg.matmul([[1.0]], [[1.0]])", TAPEGRAD_BLAS="atlas")
        assert "TAPEGRAD_BLAS" in told and "'atlas'" in told and "'openblas', 'mkl'" in told

    def test_an_unknown_name_is_refused_and_changes_nothing(self):
        before = tg.config.blas
        with pytest.raises(ArgumentError, match="no BLAS provider 'atlas'; choose one of 'openblas', 'mkl'"):
            tg.config.blas = "atlas"
        assert tg.config.blas == before

    def test_a_misspelt_setting_is_refused(self):
        with pytest.raises(AttributeError):
            tg.config.blass = "openblas"

    def test_mkl_without_its_wheel_names_the_command(self, monkeypatch):
        monkeypatch.setattr(providers, "_mkl_file", lambda: None)
        tg.config.blas = "openblas"
        with pytest.raises(MissingExtraError, match=r"pip install 'tapegrad\[mkl\]'"):
            tg.config.blas = "mkl"
        assert tg.config.blas == "openblas"
        assert tg.config.info()["blas_available"] == ["openblas"]

    def test_a_default_that_cannot_be_loaded_is_told_once_and_done_without(self, monkeypatch, tmp_path):
        broken = tmp_path / "libmkl_rt.so.2"
        broken.write_bytes(b"not a library")
        monkeypatch.delenv("TAPEGRAD_BLAS", raising=False)
        monkeypatch.setattr(providers, "_mkl_file", lambda: broken)
        monkeypatch.setattr(providers, "_load", providers._load.__wrapped__)
        monkeypatch.setattr(providers, "_loaded", [])
        monkeypatch.setattr(providers, "_chosen", None)
        with pytest.warns(RuntimeWarning, match="cannot use MKL") as told:
            assert tg.config.info()["blas"] == "openblas"
            assert tg.config.blas == "openblas"
        assert len(told) == 1

    def test_one_that_was_asked_for_and_cannot_be_loaded_is_an_error(self, monkeypatch, tmp_path):
        tg.config.blas = "openblas"
        broken = tmp_path / "libmkl_rt.so.2"
        broken.write_bytes(b"not a library")
        monkeypatch.setattr(providers, "_mkl_file", lambda: broken)
        monkeypatch.setattr(providers, "_load", providers._load.__wrapped__)
        with pytest.raises(MissingExtraError, match="tg.config.blas: MKL cannot be loaded"):
            tg.config.blas = "mkl"
        assert tg.config.blas == "openblas"

    @needs_mkl
    def test_mkl_comes_from_its_wheel(self):
        tg.config.blas = "mkl"
        info = tg.config.info()
        assert info["blas"] == "mkl" and "Math Kernel Library" in info["blas_version"]
        file = Path(info["blas_file"])
        assert file.name.startswith("libmkl_rt") and file.is_relative_to(Path(sys.prefix).resolve())


class TestSwitching:
    def test_ops_follow_at_once(self, counting):
        a, b = pair(65, 70, 66)
        tg.config.blas = "counting"
        y = tg.matmul(a, b)
        tg.config.blas = "openblas"
        z = tg.matmul(a, b)
        assert counting == [(70, 65, 66)]
        for t in (y, z):
            np.testing.assert_allclose(t.numpy(), a @ b, rtol=1e-4, atol=1e-4)

    def test_a_recorded_function_keeps_its_library_and_a_new_shape_takes_the_new(self, counting):
        double = tg.compile(lambda u, v: 2.0 * tg.matmul(u, v))
        a, b = pair(65, 70, 66)
        tg.config.blas = "counting"
        double(a, b)
        tg.config.blas = "openblas"
        replayed = double(a, b)
        assert counting == [(70, 65, 66)] * 2
        double(a[:60], b)
        assert len(counting) == 2
        np.testing.assert_allclose(replayed, 2 * (a @ b), rtol=1e-4, atol=1e-4)

    def test_the_reverse_walk_uses_the_library_of_its_forward_op(self, counting):
        a, b = pair(65, 70, 66, np.float64)
        u, v = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
        tg.config.blas = "counting"
        y = tg.matmul(u, v)
        tg.config.blas = "openblas"
        y.backward(gradient=np.ones((65, 70)))
        assert len(counting) == 3
        np.testing.assert_allclose(u.grad.numpy(), np.ones((65, 70)) @ b.T, rtol=1e-12)
        np.testing.assert_allclose(v.grad.numpy(), a.T @ np.ones((65, 70)), rtol=1e-12)

    def test_a_train_step_goes_on_training_after_a_switch(self, counting):
        x, w = pair(96, 1, 40)
        model = nn.Linear(40, 33)
        step = tg.TrainStep(lambda u: ((model(u) - 1.0) ** 2).mean(), optim.SGD(model.parameters(), lr=1.0))
        tg.config.blas = "counting"
        first = step(x)
        tg.config.blas = "openblas"
        products = len(counting)
        losses = [step(x) for _ in range(20)]
        assert products >= 2 and len(counting) == 21 * products
        assert step.recordings == 1 and losses[-1] < 0.5 * first

    @needs_mkl
    def test_both_libraries_agree(self):
        # on both sides of the size from which on a product is MKL's
        for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-12)):
            for m, n, k in ((1, 1, 1), (3, 5, 0), (64, 64, 64), (96, 96, 96), (97, 96, 96), (200, 150, 180)):
                a, b = pair(m, n, k, dtype)
                for name in ("mkl", "openblas"):
                    tg.config.blas = name
                    np.testing.assert_allclose(tg.matmul(a, b).numpy(), a @ b, rtol=tolerance, atol=tolerance)


class TestThreads:
    @pytest.mark.parametrize("n", [1, 2, 3, np.int64(2)])
    def test_what_is_set_is_what_a_witness_sees(self, n):
        threadpoolctl = pytest.importorskip("threadpoolctl")
        file = tg.config.info()["blas_file"]
        tg.set_num_threads(n)
        seen = {os.path.realpath(d["filepath"]): d["num_threads"] for d in threadpoolctl.threadpool_info()}
        assert tg.get_num_threads() == n
        assert seen[file] == n

    @pytest.mark.parametrize("n", [0, -1, 2.0, "2", None, True])
    def test_what_is_no_count_is_refused(self, n):
        before = tg.get_num_threads()
        with pytest.raises(ArgumentError, match="whole number of at least 1"):
            tg.set_num_threads(n)
        assert tg.get_num_threads() == before

    @pytest.mark.parametrize("name", ["openblas", pytest.param("mkl", marks=needs_mkl)])
    def test_limits_of_threadpoolctl_hold_for_as_long_as_they_last(self, name):
        threadpoolctl = pytest.importorskip("threadpoolctl")
        tg.config.blas = name
        tg.set_num_threads(3)
        a, b = pair(200, 200, 200)
        with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
            inside = tg.get_num_threads()
            y = tg.matmul(a, b).numpy()
            after_product = tg.get_num_threads()
            tg.set_num_threads(2)
            chosen_inside = tg.get_num_threads()
        assert (inside, after_product, chosen_inside, tg.get_num_threads()) == (1, 1, 2, 3)
        tg.set_num_threads(2)
        assert tg.get_num_threads() == 2
        np.testing.assert_allclose(y, a @ b, rtol=1e-4, atol=1e-4)

    def test_a_count_set_before_the_library_is_loaded_holds_once_it_is(self):
        program = ("import json, sys, tapegrad as tg; tg.set_num_threads(3); early = 'scipy.linalg' in sys.modules\n"
                   "tg.matmul([[1.0]], [[1.0]]); print(json.dumps([early, tg.get_num_threads()]))")
        assert in_a_process(program, TAPEGRAD_NUM_THREADS="2") == [False, 3]

    @pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
    def test_what_is_no_count_in_the_environment_is_told_with_its_variable(self, text, monkeypatch):
        monkeypatch.setenv("TAPEGRAD_NUM_THREADS", text)
        monkeypatch.setattr(providers, "_threads", None)
        with pytest.raises(ArgumentError, match=f"TAPEGRAD_NUM_THREADS must be a whole number .* not '{text}'"):
            providers.requested_threads()

    @needs_mkl
    def test_small_products_leave_the_thread_count_of_mkl_alone(self):
        tg.config.blas = "mkl"
        tg.set_num_threads(3)
        for size in (8, 96, 100):
            tg.matmul(*pair(size, size, size))
            assert tg.get_num_threads() == 3

    @needs_mkl
    def test_a_limit_that_a_thread_has_set_in_mkl_for_itself_is_put_back(self):
        tg.config.blas = "mkl"
        tg.set_num_threads(3)
        set_local = ctypes.CDLL(tg.config.info()["blas_file"]).MKL_Set_Num_Threads_Local
        set_local(2)
        try:
            tg.matmul(*pair(8, 8, 8))
            assert tg.get_num_threads() == 2
        finally:
            set_local(0)
        assert tg.get_num_threads() == 3


class TestReport:
    def test_versions_are_those_that_are_installed(self):
        info = tg.config.info()
        for name in ("numpy", "numba", "llvmlite", "scipy"):
            assert info[name] == metadata.version(name)
        assert info["python"] == sys.version.split()[0] and info["tapegrad"] == tg.__version__

    def test_the_cache_is_measured_and_the_library_exists(self):
        info = tg.config.info()
        folder = Path(info["cache_folder"])
        assert info["cache_bytes"] >= 0 and (folder.exists() or info["cache_bytes"] == 0)
        assert info["blas_file"] is None or Path(info["blas_file"]).is_file()
        assert info["compile_seconds"] >= 0.0 and info["num_threads"] >= 1 and info["cpu"] and info["cpu_features"]

    def test_bytes_of_the_cache_are_those_of_its_files(self, tmp_path, monkeypatch):
        (tmp_path / "a.o").write_bytes(b"x" * 1000)
        (tmp_path / "b.o").write_bytes(b"x" * 234)
        monkeypatch.setattr("tapegrad.engine.cache._folder", tmp_path)
        info = tg.config.info()
        assert (info["cache_folder"], info["cache_bytes"]) == (str(tmp_path), 1234)
        monkeypatch.setattr("tapegrad.engine.cache._folder", tmp_path / "none")
        assert tg.config.info()["cache_bytes"] == 0

    def test_show_prints_every_line_of_it_and_returns_nothing(self, capsys):
        assert tg.config.show() is None
        lines = capsys.readouterr().out.splitlines()
        info = tg.config.info()
        assert len(lines) == 1 + len(info)
        for line, name in zip(lines[1:], info):
            assert line.startswith(name.replace("_", " "))
        assert any(line.split() == ["scipy", metadata.version("scipy")] for line in lines)
        assert repr(tg.config) == f"<tg.config: blas='{tg.config.blas}'>"

    def test_all_of_it_can_be_written_as_json(self):
        info = tg.config.info()
        assert json.loads(json.dumps(info)) == info
