"""Work that another process does first, for what it compiles."""

import os
import time

import pytest

from tapegrad.cli import ahead
from tapegrad.cli.ahead import compiled_ahead

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "get_num_threads", lambda: 2)
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    return tmp_path


def test_the_work_is_done_in_another_process_before_the_end(cache):
    with compiled_ahead(lambda: (cache / "done").write_text(str(os.getpid())), "float64"):
        pass
    assert int((cache / "done").read_text()) != os.getpid()


def test_nothing_is_done_where_there_is_machine_code_or_one_processor(cache, monkeypatch):
    (cache / "add.forward.float64.o").touch()
    with compiled_ahead(lambda: (cache / "done").touch(), "float64"):
        pass
    assert not (cache / "done").exists()
    monkeypatch.setattr(ahead, "get_num_threads", lambda: 1)
    with compiled_ahead(lambda: (cache / "done").touch(), "float32"):
        pass
    assert not (cache / "done").exists()


def test_what_goes_wrong_there_is_not_heard_of(cache, capfd):
    with compiled_ahead(lambda: 1 / 0, "float64"):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_here_ends_it_there(cache, error):
    def work():
        (cache / "process").write_text(str(os.getpid()))
        time.sleep(600)

    with pytest.raises(error):
        with compiled_ahead(work, "float64"):
            while not (cache / "process").exists() or not (cache / "process").read_text():
                time.sleep(0.01)
            raise error
    with pytest.raises(ProcessLookupError):
        os.kill(int((cache / "process").read_text()), 0)


def test_who_waits_in_vain_goes_on(cache, monkeypatch):
    monkeypatch.setattr(ahead, "_PATIENCE", 0.05)
    with compiled_ahead(lambda: time.sleep(600), "float64"):
        pass
