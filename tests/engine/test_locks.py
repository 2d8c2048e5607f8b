"""Processes that are forked while other threads are at work: what they need there is free."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SECONDS = 240  # a child that has not ended by then hangs

PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import tapegrad as tg
from tapegrad import nn, optim
import tapegrad.nn.functional as F

def forked(child, seconds=100):
    '''Run `child` in a forked process; its exit status, or "hangs".'''
    pid = os.fork()
    if pid == 0:
        import faulthandler; faulthandler.dump_traceback_later(int(seconds) - 10)
        signal.alarm(int(seconds))
        try:
            child()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return "hangs" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else status

def train():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)
    step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optimizer)
    losses = [step(x) for _ in range(3)]
    assert losses[2] < losses[0], losses
    F.dropout(tg.tensor(x), 0.5).sum()
    step.run(x, batch_size=2, epochs=1)

def during(work, count, pause):
    '''What `forked(train)` gives, `count` times while another thread does `work` over and over.'''
    going = True
    def again():
        while going:
            work()
            time.sleep(0.0005)
    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    found = []
    for k in range(count):
        time.sleep(pause)
        found.append(forked(train))
    going = False
    thread.join()
    return found
"""


def run(code, **environment):
    """The output of `code` after the prelude, run in a process of its own."""
    root = Path(__file__).parents[2]
    given = {**os.environ, "PYTHONPATH": str(root), **environment}
    process = subprocess.Popen([sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code], env=given,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, error = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"hangs for {SECONDS} seconds")
    assert process.returncode == 0, error
    return out.strip()


def test_a_process_forked_while_a_thread_compiles_compiles_too(tmp_path):
    assert run("""
def compiles():
    x = tg.tensor([[0.3, 0.4]], dtype=np.float64, requires_grad=True)
    for f in (tg.exp, tg.sin, tg.cos, tg.sqrt, tg.log):
        f(x)
def compiles_too():
    assert tg.tanh(tg.tensor([0.5])).item() > 0.4
thread = threading.Thread(target=compiles)
thread.start()
found = []
while thread.is_alive():
    time.sleep(0.4)
    found.append(forked(compiles_too))
thread.join()
print(*{*found})
""", TAPEGRAD_CACHE_DIR=str(tmp_path)) == "0"


def test_a_process_forked_while_a_thread_loads_kernels_trains():
    code = """
from tapegrad.engine.kernels import Kernel
from tapegrad.ops.elementwise import UNARY
train()
kernel = UNARY["tanh"].forward
def loads():
    Kernel(kernel.name, kernel.function).address(np.dtype(np.float32))
loads()
print(during(loads, 6, 0.01))
"""
    assert run(code) == str([0] * 6)


def test_a_process_forked_while_a_thread_draws_random_numbers_trains():
    code = """
from tapegrad.engine import random
train()
generator, layer = random.generator(), nn.Linear(300, 300)
print(during(lambda: generator.standard_normal(300000), 8, 0.01))
print(during(lambda: nn.init.normal_(layer.weight), 8, 0.01))
print(during(lambda: random.dropout_key(), 8, 0.001))
"""
    assert run(code).split("\n") == [str([0] * 8)] * 3


def test_a_process_forked_while_a_thread_trains_trains_the_same_model():
    code = """
x = np.ones((4, 3), np.float32)
model = nn.Linear(3, 1)
step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optim.SGD(model.parameters(), lr=1e-3))
step(x)
def trains():
    step(x)
    (model(tg.tensor(x)) ** 2).mean().backward()
    step.run(x, batch_size=2, epochs=2)
going = True
def again():
    while going:
        trains()
threads = [threading.Thread(target=again, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
found = []
for k in range(8):
    time.sleep(0.01)
    found.append(forked(trains))
going = False
for thread in threads:
    thread.join()
print(found)
"""
    assert run(code) == str([0] * 8)


def test_a_process_forked_while_a_thread_chooses_libraries_and_threads_trains():
    code = """
from tapegrad.engine import providers
from tapegrad.engine.threads import team
train()
def chooses():
    providers.choose("openblas")
    providers.loaded()
    tg.set_num_threads(1)
    team.grow()
print(during(chooses, 20, 0.003))
"""
    assert run(code) == str([0] * 20)


def test_a_fork_waits_until_a_kernel_is_compiled():
    from tapegrad.engine import kernels, locks

    held, told = threading.Event(), []

    def holds():
        with kernels._lock.now:
            held.set()
            time.sleep(0.3)
            told.append("compiled")

    thread = threading.Thread(target=holds)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if told == ["compiled"] and kernels._lock.now.acquire(timeout=0) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()
    assert not locks._taken and kernels._lock.now.acquire(timeout=0)
    kernels._lock.now.release()


def test_a_fork_does_not_wait_for_a_lock_for_ever(monkeypatch):
    from tapegrad.engine import locks

    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    lock, held, going = locks.Lock(locks.LIBRARIES), threading.Event(), threading.Event()

    def holds():
        with lock.now:
            held.set()
            going.wait()

    thread = threading.Thread(target=holds)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock.now.acquire(timeout=0) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    going.set()
    thread.join()


def test_every_lock_of_the_package_is_one_that_a_fork_renews():
    import tapegrad

    root = Path(tapegrad.__file__).parent
    others = ("threading.Lock(", "threading.RLock(", "threading.Condition(", "threading.Semaphore(", "cached_property",
              "from threading import Lock", "from threading import RLock", "from threading import Condition")
    own = ("locks.py", "writers.py")  # which renew what they make, as other tests here see
    made = [f"{path.name}: {word}" for path in root.rglob("*.py") if path.name not in own
            for word in others if word in path.read_text()]
    assert made == []
