"""Sharing: every part once, whoever takes it; the first error; threads that come, sleep, or are not there."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import enabled, words_at
from tapegrad.engine.storage import address_of
from tapegrad.engine.threads import team

DTYPE = np.dtype(np.float64)


def part(op, f, i, b):
    """Count in the place of the part; status 7 in the one that is to fail."""
    row = words_at(op[0])
    i[row[1] + op[1]] += 1
    total = 0.0
    for k in range(row[4]):
        total += 1.0 / (1.0 + k)
    f[row[2] + op[1]] = total
    return 7 if op[1] == row[5] else 0


def work(op, f, i, b):
    """Share out again and again."""
    for _ in range(op[6]):
        status = team.share(op[0], op[7], op, op[3], f, i, b)
        if status != 0:
            return status
    return 0


PART, WORK = Kernel("test.part", part, own=False), Kernel("test.work", work, own=False)


@pytest.fixture(autouse=True)
def _threads():
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


def share_out(parts, amount=10, fails=-1, times=1):
    counts, sums = np.zeros(max(parts, 1), np.int64), np.zeros(max(parts, 1))
    row = np.array([team.team_address(DTYPE), address_of(counts) // 8, address_of(sums) // 8, parts, amount, fails,
                    times, PART.address(DTYPE)], np.int64)
    status = WORK(address_of(row), DTYPE)
    return status, counts, sums


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 7, 64])
def test_every_part_once(threads, parts):
    tg.set_num_threads(threads)
    times = 300 if enabled() else 3
    status, counts, sums = share_out(parts, times=times)
    assert status == 0
    assert (counts[:parts] == times).all()
    assert len(set(sums[:parts].tolist())) <= 1


def test_helpers_sleep_and_are_woken():
    tg.set_num_threads(3)
    for _ in range(20):
        _, counts, _ = share_out(9, 2000)
        assert (counts == 1).all()
        threading.Event().wait(0.002)  # longer than a helper looks for work


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_told_and_the_next_work_goes_well(threads):
    tg.set_num_threads(threads)
    assert share_out(8, fails=3)[0] == 7
    status, counts, _ = share_out(8)
    assert status == 0 and (counts == 1).all()


@pytest.mark.compiled
def test_two_givers_at_once():
    tg.set_num_threads(2)
    results = []

    def give():
        results.append(share_out(6, 50, times=500))

    givers = [threading.Thread(target=give) for _ in range(3)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    assert len(results) == 3
    assert all(status == 0 and (counts == 500).all() for status, counts, _ in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_works_alone():
    tg.set_num_threads(2)
    share_out(4, times=20)
    child = os.fork()
    if child == 0:
        status, counts, _ = share_out(4, times=20)
        os._exit(0 if status == 0 and (counts == 20).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.compiled
def test_products_are_the_same_to_the_bit_with_any_number_of_threads():
    a, b = np.random.default_rng(0).normal(size=(2, 150, 150)).astype(np.float32)
    made = []
    for threads in (1, 2, 4):
        tg.set_num_threads(threads)
        made.append(tg.matmul(a, b).numpy())
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.compiled
def test_helpers_end_before_the_interpreter_does():
    program = ("import threading, numpy as np, tapegrad as tg\n"
               "tg.set_num_threads(3)\n"
               "a = np.ones((200, 200), np.float32); tg.matmul(a, a)\n"
               "import tapegrad.engine.threads.team as team\n"
               "print(len(team._helpers), sum(t.name.startswith('tapegrad') for t in threading.enumerate()))\n"
               "team._dismiss()\n"
               "print(sum(t.name.startswith('tapegrad') for t in threading.enumerate()))\n"
               "print(float(tg.matmul(a, a).numpy()[0, 0]))\n")
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(tg.__file__))}
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "2 2\n0\n200.0\n"), done.stderr


@pytest.mark.compiled
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are not bound to processors on this system")
@pytest.mark.parametrize("processors", [1, None])
def test_a_helper_wakes_on_another_processor_if_there_is_one(processors):
    program = ("import os, sys, time, numpy as np, tapegrad as tg\n"
               "from tapegrad.engine.threads import team\n"
               f"allowed = set(sorted(os.sched_getaffinity(0))[:{processors}])\n"
               "os.sched_setaffinity(0, allowed)\n"
               "tg.set_num_threads(2)\n"
               "a = np.ones((200, 200), np.float32)\n"
               "for _ in range(200):\n"
               "    assert float(tg.matmul(a, a).numpy()[0, 0]) == 200.0\n"
               "    helper, = team._helpers\n"
               "    kept = os.sched_getaffinity(helper.native_id)\n"
               "    assert kept <= allowed and len(kept) >= max(len(allowed) - 1, 1), (kept, allowed)\n"
               "    if len(allowed) > 1 and kept < allowed: break\n"
               "    time.sleep(0.05 if len(allowed) > 1 else 0.001)  # longer than a helper looks for work\n"
               "else: assert len(allowed) == 1, allowed\n")
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(tg.__file__))}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
