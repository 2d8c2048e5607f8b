"""Tape: its arrays, its listing, its limits, and that it gives back what nobody can reach any more."""

import gc
import re
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import tapegrad as tg

X = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])


def leaf(values, dtype=np.float64):
    return tg.tensor(np.asarray(values, dtype=dtype), requires_grad=True)


def grad(tensor):
    return tensor.grad.numpy()


# ------------------------------------------------------------------
# recording, inspection


def recording():
    """A tape of y = tanh(x @ w) and its sum, after backward."""
    tape = tg.Tape()
    with tape:
        x, w = leaf(X).named("x"), leaf(np.ones((3, 2))).named("w")
        a = (x @ w).named("a")
        y = tg.tanh(a).named("y")
        total = y.sum().named("total")
    total.backward()
    return tape


def test_the_listing_has_a_line_an_instruction_with_op_shapes_and_what_is_saved():
    lines = str(recording()).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["#", "op", "out", "in", "saves"]
    assert [line.split()[1] for line in lines[1:]] == ["matmul", "tanh", "sum"]
    assert "f64[2,3]" in lines[1] and "f64[3,2]" in lines[1] and "f64[2,2]" in lines[1]
    tanh_out = lines[2].split()[2]
    assert lines[2].split()[-1] == tanh_out, "tanh saves its output"
    assert lines[3].split()[-1] == "-", "sum saves nothing"


def test_values_and_adjoints_are_read_by_name_and_by_tensor():
    tape = recording()
    a = X @ np.ones((3, 2))
    np.testing.assert_allclose(tape.value("a"), a)
    np.testing.assert_allclose(tape.adjoint("y"), np.ones((2, 2)))
    np.testing.assert_allclose(tape.adjoint("a"), 1 - np.tanh(a) ** 2, rtol=1e-13)
    np.testing.assert_allclose(tape.adjoint("x"), (1 - np.tanh(a) ** 2) @ np.ones((2, 3)), rtol=1e-13)
    assert tape.adjoint("total") == 1.0
    with tg.Tape() as tape:
        x = leaf(X)
        y = x * 2.0
        y[0].sum().backward()
    np.testing.assert_array_equal(tape.adjoint(y), [[1.0] * 3, [0.0] * 3])
    np.testing.assert_array_equal(tape.adjoint(y[:, 1]), [1.0, 0.0])


def test_a_name_that_was_not_given_is_an_error_that_lists_those_that_were():
    with pytest.raises(tg.TapegradError, match="'x'.*'w'.*'a'"):
        recording().value("b")


def test_an_adjoint_before_backward_is_an_error():
    with tg.Tape() as tape:
        y = (leaf(X) * 2.0).named("y")
    with pytest.raises(tg.TapegradError, match="backward|reverse"):
        tape.adjoint("y")
    assert y.shape == (2, 3)


def test_an_instruction_shows_its_op_operands_and_shapes():
    tape = recording()
    assert [tape.instruction(n)["op"] for n in range(len(tape))] == ["matmul", "tanh", "sum"]
    operands = tape.instruction(1)["operands"]
    assert operands[1]["variable"] == tape.instruction(0)["operands"][0]["variable"]
    assert operands[1]["wanted"]
    with pytest.raises(IndexError):
        tape.instruction(3)


def test_a_view_shares_the_variable_of_what_it_views():
    with tg.Tape() as tape:
        x = leaf(X)
        y = x * 2.0
        tg.exp(y[1:])
    inner = tape.instruction(1)["operands"][1]
    assert inner["variable"] == tape.instruction(0)["operands"][0]["variable"]
    assert inner["offset"] == 3


def test_a_tape_that_keeps_may_be_walked_again_and_reset_forgets():
    with tg.Tape() as tape:
        x = leaf([2.0])
        y = x * x
    y.backward()
    y.backward()
    assert float(x.grad) == 8.0
    tape.reset()
    assert len(tape) == 0
    with pytest.raises(RuntimeError):
        y.backward()


def test_truncate_forgets_the_last_instructions_and_keeps_the_first():
    with tg.Tape() as tape:
        x = leaf([2.0])
        y = x * x
        z = tg.exp(y)
        tape.truncate(1)
        assert len(tape) == 1
        w = y * 3.0
    with pytest.raises(RuntimeError):
        z.backward()
    w.backward()
    assert float(x.grad) == 12.0
    with pytest.raises(IndexError):
        tape.truncate(99)


def test_tapes_nest_and_each_records_what_happens_inside_it():
    with tg.Tape() as outer:
        leaf([1.0]) * 2.0
        with tg.Tape() as inner:
            leaf([1.0]) * 3.0
            leaf([1.0]) * 4.0
        leaf([1.0]) * 5.0
    assert len(outer) == 2 and len(inner) == 2


def test_an_operand_of_another_tape_is_refused_and_not_silently_cut():
    with tg.Tape():
        y = leaf([2.0]) * 2.0
    with tg.Tape():
        with pytest.raises(tg.TapegradError, match="tape|detach"):
            (y * 3.0).backward()


@pytest.mark.parametrize("n", [1, 63, 64, 65, 127, 128, 129, 1000, 5000])
def test_arrays_double_without_losing_an_instruction(n):
    x = leaf([1.0, 2.0])
    with tg.Tape() as tape:
        y = x * 1.0
        for k in range(n - 1):
            y = y + float(k % 3)
        assert len(tape) == n
        y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), np.array([1.0, 2.0]) + sum(k % 3 for k in range(n - 1)))
    np.testing.assert_array_equal(grad(x), [1.0, 1.0])


def test_max_bytes_is_kept_and_the_error_says_what_was_asked_held_and_allowed_and_by_which_op():
    with tg.Tape(max_bytes=1_000_000) as tape:
        x = leaf(np.ones(50_000))
        y = tg.exp(x)
        with pytest.raises(MemoryError) as caught:
            tg.tanh(tg.sin(y))
            tg.cos(tg.sin(y))
        message = str(caught.value)
        assert isinstance(caught.value, tg.TapegradError)
        assert "1,000,000" in message
        assert re.search(r"asks for 4\d\d,\d\d\d bytes", message), "50,000 float64 are 400,000 bytes, and some to align"
        assert any(op in message for op in ("sin", "tanh", "cos"))
        assert tape.live_bytes <= 1_000_000
    np.testing.assert_allclose(y.numpy(), np.e)


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, "1MB"])
def test_max_bytes_that_is_not_a_positive_number_is_an_error(max_bytes):
    with pytest.raises(tg.TapegradError, match="max_bytes"):
        tg.Tape(max_bytes=max_bytes)


# ------------------------------------------------------------------
# lives: chains, loops, threads


@pytest.mark.compiled
@pytest.mark.machine
def test_a_chain_of_a_hundred_thousand_ops_is_walked_and_freed_without_recursion():
    x = leaf(np.float64(0.0))
    y = x
    for _ in range(100_000):
        y = y + 1.0
    assert float(y) == 100_000.0
    y.backward()
    assert float(x.grad) == 1.0
    del y
    gc.collect()


@pytest.mark.compiled
@pytest.mark.machine
def test_a_chain_of_a_hundred_thousand_ops_is_freed_without_a_backward():
    x = leaf(np.float64(0.0))
    y = x
    for _ in range(100_000):
        y = y * 1.0
    alive = weakref.ref(y)
    del y
    gc.collect()
    assert alive() is None
    z = x * 2.0
    z.backward()
    assert float(x.grad) == 2.0


GROWTH = """
import numpy as np, sys
import tapegrad as tg

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

calls = int(sys.argv[1])
w = tg.tensor(np.ones((16, 16), dtype=np.float32), requires_grad=True)
x = tg.tensor(np.ones((8, 16), dtype=np.float32))
def forward():
    return (x @ w).sum()
for _ in range(calls // 10):
    forward()
before = resident()
for _ in range(calls):
    value = forward()
print(resident() - before)
"""


def resident_growth(calls):
    """Bytes by which the resident size of a new process grows over so many forward calls without a backward."""
    done = subprocess.run([sys.executable, "-c", GROWTH, str(calls)], capture_output=True, text=True, check=True)
    return int(done.stdout)


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident size from /proc")


@pytest.mark.compiled
@LINUX
@pytest.mark.machine
def test_forward_calls_without_backward_run_in_constant_memory():
    assert resident_growth(100_000) < 2_000_000


@pytest.mark.compiled
@LINUX
@pytest.mark.slow
def test_a_million_forward_calls_without_backward_run_in_constant_memory():
    assert resident_growth(1_000_000) < 2_000_000


def test_a_tape_does_not_grow_over_forward_calls_whose_results_are_dropped():
    x = leaf(X)
    kept = x * 2.0  # one living tensor must not keep the dead ones behind it alive
    with tg.Tape(keep=False) as tape:
        first = x * 3.0
        sizes = []
        for _ in range(3000):
            tg.exp(x * 2.0).sum()
            sizes.append((len(tape), tape.live_bytes))
        assert max(n for n, _ in sizes) < 50
        assert max(b for _, b in sizes) < 100_000
        first.sum().backward()
    np.testing.assert_array_equal(grad(x), np.full((2, 3), 3.0))
    kept.sum().backward()
    np.testing.assert_array_equal(grad(x), np.full((2, 3), 5.0))


def test_an_accumulated_loss_over_a_loop_is_walked_once_at_the_end():
    x = leaf([2.0])
    total = 0.0
    for k in range(1000):
        total = total + x * float(k)
    total.backward()
    assert float(x.grad) == 499_500.0


def train(seed, steps=60):
    """Train a small regression in this thread, op by op; the parameters at the end."""
    rng = np.random.default_rng(seed)
    width = 4 + seed
    data, target = rng.normal(size=(32, 3)), rng.normal(size=(32, 1))
    parameters = [rng.normal(size=shape) for shape in [(3, width), (width,), (width, 1)]]
    for _ in range(steps):
        w, b, v = (leaf(p) for p in parameters)
        loss = tg.mean(tg.square(tg.tanh(data @ w + b) @ v - target))
        loss.backward()
        parameters = [p - 0.1 * grad(t) for p, t in zip(parameters, (w, b, v))]
    return parameters


@pytest.mark.compiled
def test_threads_train_different_models_at_once_as_they_would_alone():
    seeds = range(6)
    alone = [train(seed) for seed in seeds]
    together = {}
    threads = [threading.Thread(target=lambda s=seed: together.__setitem__(s, train(s))) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in seeds:
        for a, b in zip(alone[seed], together[seed]):
            np.testing.assert_array_equal(a, b)


def test_a_tensor_recorded_in_another_thread_can_be_read_there_but_not_joined_silently():
    made = []

    def record():
        x = leaf([2.0])
        made.extend([x, x * x])

    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    x, y = made
    assert float(y) == 4.0
    try:
        (y * 3.0).backward()
    except RuntimeError:
        pass
    except tg.TapegradError:
        pass
    else:
        assert float(x.grad) == 12.0


def test_dead_tensors_give_their_bytes_back_at_once():
    with tg.Tape(keep=False) as tape:
        x = tg.tensor(np.ones(100_000), requires_grad=True)
        y = tg.exp(x)
        held = tape.live_bytes
        z = tg.exp(y)
        assert tape.live_bytes >= held + 800_000
        del z
        assert tape.live_bytes < held + 1000
        np.testing.assert_allclose(y.numpy()[0], np.e, rtol=1e-15)
