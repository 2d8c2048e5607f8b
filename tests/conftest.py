"""Shared fixtures. The folder of the tests is put on the path, so that every test can ``import naive``."""

import gc
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def pytest_generate_tests(metafunc):
    """A class with a list ``cases`` runs each of its tests that take a ``case`` once a case."""
    cases = getattr(metafunc.cls, "cases", None)
    if cases is not None and "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


def pytest_configure(config):
    for marker in (
        "browser: drives pages in a headless Chromium; an environment of their own runs them",
        "compiled: too long, or without meaning, where kernels run as plain Python",
        "grid: says for more cases, dtypes or layouts what other tests say for some; one environment runs them",
        "machine: of machine code, memory and files, which do not depend on the version of Python",
        "optimised: of what LLVM's optimisations make of loops",
    ):
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(config, items):
    """Tests marked ``slow`` run only where ``-m`` asks for them, ``compiled`` ones only where the JIT is enabled."""
    from tapegrad.engine.language import enabled

    if not enabled():
        for item in items:
            if "compiled" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="the JIT is disabled"))
    if not config.getoption("-m"):
        slow = [item for item in items if "slow" in item.keywords]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if "slow" not in item.keywords]


def pytest_collection_finish(session):
    """What stays for the whole run, as 64,000 tests do, is not gone through by every collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same seed, so that its outcome does not depend on the tests before it."""
    import tapegrad as tg

    tg.manual_seed(0)


@pytest.fixture
def file(tmp_path):
    """A function that writes text or bytes to a file and gives its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
