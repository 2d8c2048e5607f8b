"""`tg.checkpoint`, define by run and in recorded steps: the same gradients to the bit from fewer bytes."""

import gc
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import InPlaceError, RecomputationError
from tapegrad.ops.table import ADJOINT, FORWARD

X = np.random.default_rng(0).normal(size=(256, 16)).astype(np.float32)
DEPTH = 8


def network(dtype=np.float32):
    """Blocks whose forward pass draws random numbers and moves running statistics."""
    tg.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.25)) for _ in range(DEPTH)]
    return nn.ModuleList(blocks).to(dtype)


def plain(blocks, x):
    for block in blocks:
        x = block(x)
    return x


def in_stretches(blocks, x):
    for first in range(0, len(blocks), 2):
        x = tg.checkpoint(plain, blocks[first:first + 2], x)
    return x


def nested(blocks, x):
    if len(blocks) == 1:
        return blocks[0](x)
    middle = len(blocks) // 2
    x = tg.checkpoint(nested, blocks[:middle], x)
    return nested(blocks[middle:], x)


def trained(walk, recorded, dtype):
    """Losses of three steps and every array of the model after them."""
    model = network(dtype)
    blocks = list(model)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def loss_of(x):
        return (walk(blocks, x) ** 2).mean()

    if recorded:
        step = tg.TrainStep(loss_of, optimizer)
        losses = [step(X) for _ in range(3)]
    else:
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = loss_of(tg.tensor(X.astype(dtype)))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, {name: np.array(array) for name, array in model.state_dict().items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("recorded", [False, True], ids=["define by run", "recorded"])
@pytest.mark.parametrize("walk", [in_stretches, nested])
def test_training_is_the_same_to_the_bit(walk, recorded, dtype):
    losses, arrays = trained(plain, recorded, dtype)
    again_losses, again_arrays = trained(walk, recorded, dtype)
    assert losses == again_losses
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again_arrays[name], err_msg=name)


def kept_bytes(walk):
    """Bytes of a define-by-run tape after the forward pass, and the most during backward()."""
    blocks = list(network())
    tape = tg.current_tape()
    x = tg.tensor(np.ones((4096, 16), np.float32))
    gc.collect()
    before = tape.live_bytes
    loss = (walk(blocks, x) ** 2).mean()
    kept = tape.live_bytes - before
    tape.storage.peak_bytes = tape.storage.live_bytes
    loss.backward()
    return kept, tape.storage.peak_bytes - before


def test_what_a_stretch_computes_is_not_kept_and_returns_while_the_reverse_walks():
    (all_kept, all_peak), (kept, peak), (nested_kept, nested_peak) = map(kept_bytes, (plain, in_stretches, nested))
    activation = 4096 * 16 * 4
    assert all_kept > 2 * DEPTH * activation
    assert kept < (DEPTH / 2 + 1.1) * activation  # the results of the stretches
    assert nested_kept < 6.1 * activation  # three results and the last block
    assert nested_peak < peak < 0.6 * all_peak


def test_backward_returns_values_and_adjoints_while_it_walks():
    tape = tg.current_tape()
    x = tg.tensor(np.linspace(0.0, 1.0, 1 << 18, dtype=np.float32), requires_grad=True)
    y = x
    for _ in range(16):
        y = tg.sin(y)
    loss = y.sum()
    del y
    gc.collect()
    before = tape.live_bytes
    tape.storage.peak_bytes = before
    loss.backward()
    # the first adjoints come on top of what is kept; sixteen at once would be 16 MiB
    assert tape.storage.peak_bytes - before <= 4 * x.nbytes


def test_a_recorded_plan_says_what_runs_again():
    model = network()
    blocks = list(model)
    step = tg.TrainStep(lambda x: (in_stretches(blocks, x) ** 2).mean(), optim.SGD(model.parameters(), lr=0.1))
    step(X)
    report = step.memory()
    assert report.recomputed > 0 and 0.5 < report.extra < 1.0
    assert "run again" in str(step.tape) and "instructions again" in str(report)
    assert any(life.kind == "recomputed" for life in report.buffers)
    assert "run again" in " ".join(row["read by the adjoint of"] for row in report.by_layer())


def test_a_value_used_outside_its_stretch_and_a_captured_tensor_are_right():
    w = tg.tensor(np.linspace(0.1, 0.9, 5), requires_grad=True)

    def gradient(checkpoint):
        w.grad = None
        outer = tg.exp(w)
        inner = []

        def stretch(x):
            y = tg.sin(x * outer)
            inner.append(y)
            return tg.tanh(y) * w

        z = checkpoint(stretch, w * 2.0) if checkpoint else stretch(w * 2.0)
        (z * inner[0].detach() + inner[0]).sum().backward()
        return w.grad.numpy()

    np.testing.assert_array_equal(gradient(tg.checkpoint), gradient(None))


def test_a_graph_that_is_retained_can_be_walked_twice():
    w = tg.tensor([0.3, 0.6], dtype=np.float64, requires_grad=True)
    loss = tg.checkpoint(lambda w: tg.exp(tg.sin(w)) * w, w).sum()
    loss.backward(retain_graph=True)
    once = w.grad.numpy().copy()
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * once, rtol=1e-15)
    with pytest.raises(tg.GraphReleasedError):
        loss.backward()


def test_several_results_keywords_and_nothing_to_differentiate():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    a, (b, n) = tg.checkpoint(lambda w, *, scale: (tg.square(w) * scale, (tg.sqrt(w), 3)), w, scale=2.0)
    (a.sum() + b.sum() * n).backward()
    np.testing.assert_allclose(w.grad.numpy(), 4 * np.array([1.0, 2.0]) + 1.5 / np.sqrt([1.0, 2.0]), rtol=1e-6)
    assert not tg.checkpoint(lambda x: x * 2.0, tg.tensor([1.0])).requires_grad


def test_a_value_and_gradient_runs_again_when_compiled():
    def f(w, x):
        return tg.checkpoint(lambda w: tg.tanh(tg.tanh(x @ w)), w).sum()

    x = np.random.default_rng(0).normal(size=(8, 4))
    w = np.random.default_rng(1).normal(size=(4, 3))
    value, gradient = tg.compile(tg.value_and_grad(f))(w, x)
    want, want_gradient = tg.value_and_grad(f)(w, x)
    assert value == want
    np.testing.assert_array_equal(gradient, want_gradient)


def test_an_input_changed_in_place_before_backward_is_found():
    w = tg.tensor([0.5, 1.0], requires_grad=True)
    loss = tg.checkpoint(lambda w: tg.tanh(w + 1.0) * 2.0, w).sum()
    w.copy_(np.array([0.0, 0.0], np.float32))
    with pytest.raises(InPlaceError, match="changed in place"):
        loss.backward()


def unsteady(x, y):
    for k in range(x.size):
        y[k] = x[k] * np.random.random()


def unsteady_adjoint(g, y, dx):
    for k in range(y.size):
        dx[k] += g[k] * y[k]


def test_an_op_that_gives_another_result_when_it_runs_again_is_found():
    op = tg.custom_op(unsteady, unsteady_adjoint)
    w = tg.tensor([0.5, 1.0], requires_grad=True)
    loss = tg.checkpoint(lambda w: tg.tanh(op(w)), w).sum()
    with pytest.raises(RecomputationError, match="unsteady.*another result"):
        loss.backward()


def test_an_error_inside_a_stretch_leaves_later_recordings_ordinary():
    w = tg.tensor([0.5, 1.0], requires_grad=True)
    with pytest.raises(ZeroDivisionError):
        tg.checkpoint(lambda w: tg.exp(w) / (1 // 0), w)
    tape = tg.current_tape()
    y = tg.tanh(w)
    assert "run again" not in str(tape)
    y.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 1 - np.tanh([0.5, 1.0]) ** 2, rtol=1e-6)


def detached(u, v):
    return v * tg.tanh(u).detach()


def detached_by_halves(u, v):
    # what one stretch detaches, the next one within the same outer stretch reads
    d = tg.checkpoint(lambda u: tg.tanh(u * 1.0).detach() * 1.0, u)
    return tg.checkpoint(lambda v, d: v * d, v, d)


@pytest.mark.parametrize("function", [detached, detached_by_halves])
@pytest.mark.parametrize("count", [3, 5000])
def test_a_value_that_a_stretch_detaches_is_computed_again(function, count):
    # L = sum (v tanh(u))^2 with tanh(u) held fixed: dL/dv = 2 v tanh(u)^2
    gc.collect()
    held_by_others = len(tg.current_tape(np.float64))
    u0, v0 = np.linspace(-1, 1, count), np.linspace(0.5, 2, count)
    u, v = tg.tensor(u0, requires_grad=True), tg.tensor(v0, requires_grad=True)
    y = tg.checkpoint(function, u, v)
    other = [tg.sin(u * float(k)) for k in range(8)]  # takes the bytes of what has gone
    tg.square(y).sum().backward()
    np.testing.assert_allclose(v.grad.numpy(), 2 * v0 * np.tanh(u0) ** 2, rtol=1e-12)
    assert u.grad is None
    del other
    y = tg.checkpoint(function, u, v)
    del y
    assert len(tg.current_tape(np.float64)) == held_by_others


FIRST_IN_STRIPS = """
import numpy as np, tapegrad as tg
x = np.linspace(0.1, 1.0, 100_000)
chain = lambda x: tg.sinh(tg.expm1(tg.sinh(tg.expm1(x * 0.5))))
recorded = tg.compile(tg.grad(lambda x: chain(x).sum()))
want = recorded(x)
assert recorded._last.program.lives.groups
t = tg.tensor(x, requires_grad=True)
tg.checkpoint(chain, t).sum().backward()
np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-12)
"""


def test_a_stretch_may_run_ops_again_that_a_recording_has_first_used_in_strips():
    subprocess.run([sys.executable, "-c", FIRST_IN_STRIPS], check=True)


def test_the_walks_find_a_kernel_whoever_asked_for_it_first():
    bent = tg.custom_op(lambda x, y: None, lambda g, dx: None)
    op = bent._op(((1, False),), 1)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        assert FORWARD[dtype][op.opcode] == ADJOINT[dtype][op.opcode] == 0
        assert op.forward.address(dtype) == FORWARD[dtype][op.opcode] != 0
        assert op.adjoint.address(dtype) == ADJOINT[dtype][op.opcode] != 0


# ------------------------------------------------------------------ derivatives of derivatives


def smooth(dtype=np.float64):
    tg.manual_seed(3)
    blocks = [nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.25)) for _ in range(4)]
    return nn.ModuleList(blocks).to(dtype)


def penalized(model, walk, x):
    """A loss with a gradient's norm in it."""
    def loss(x):
        return (walk(list(model), x) ** 2).mean()

    return loss(x) + (tg.grad(loss)(x) ** 2).sum()


SMALL = np.random.default_rng(1).normal(size=(7, 5))
DIRECTION = np.random.default_rng(2).normal(size=(7, 5))
HIGHER = {
    "gradient penalty": lambda model, walk: tg.grad(lambda x: penalized(model, walk, x))(SMALL),
    "jvp": lambda model, walk: tg.jvp(lambda x: walk(list(model), x), (SMALL,), (DIRECTION,))[1],
    "hvp": lambda model, walk: tg.hvp(lambda x: (walk(list(model), x) ** 2).mean(), SMALL, DIRECTION),
    "hvp of a recording": lambda model, walk: tg.compile(
        lambda x: tg.hvp(lambda x: (walk(list(model), x) ** 2).mean(), x, DIRECTION))(SMALL),
    "gradient of each": lambda model, walk: tg.vmap(
        tg.grad(lambda x: (walk(list(model.eval()), x) ** 2).sum()))(SMALL[:, None]),
}


@pytest.mark.parametrize("walk", [in_stretches, nested])
@pytest.mark.parametrize("what", HIGHER)
def test_higher_derivatives_are_those_without_checkpoints(what, walk):
    found = []
    for way in (plain, walk):
        model = smooth()
        model.freeze()
        found.append((np.asarray(HIGHER[what](model, way)), {k: np.asarray(v) for k, v in model.state_dict().items()}))
    (value, state), (other, other_state) = found
    np.testing.assert_allclose(other, value, rtol=1e-12, atol=1e-14)
    for name, array in state.items():
        np.testing.assert_array_equal(other_state[name], array)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("walk", [in_stretches, nested])
def test_a_gradient_penalty_trains_as_without_checkpoints(walk, recorded):
    found = []
    for way in (plain, walk):
        model = smooth()
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def loss(x, model=model, way=way):
            return penalized(model, way, x)

        if recorded:
            step = tg.TrainStep(loss, optimizer)
            values = [step(SMALL) for _ in range(3)]
        else:
            values = []
            for _ in range(3):
                x = tg.tensor(SMALL, requires_grad=True)
                y = (way(list(model), x) ** 2).mean()
                g, = tg.autograd.grad(y, [x], create_graph=True)
                total = y + (g**2).sum()
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                values.append(total.item())
        found.append((values, [p.numpy() for p in model.parameters()]))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-12)
    for a, b in zip(found[0][1], found[1][1]):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-14)


def test_a_parameter_that_moved_since_is_found_when_a_segment_is_computed_again_for_a_derivative():
    w = tg.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    y = tg.checkpoint(lambda w: tg.exp(tg.sin(w) * w), w).sum()
    with tg.no_grad():
        w.copy_(np.array([3.0, 4.0]))
    with pytest.raises(InPlaceError):
        tg.autograd.grad(y, [w], create_graph=True)
