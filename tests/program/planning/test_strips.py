"""Chains of elementwise instructions in strips give what the same gives define by run, to the bit, in less memory."""

from __future__ import annotations

import numpy as np
import pytest
from actions import Actions

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.program.planning import budget, strips
from tapegrad.program.running.account import account

N = 4 * 1024 + 77
UNARY = [tg.tanh, tg.sin, tg.relu, tg.sigmoid, tg.square, tg.negative, tg.exp, lambda t: t * 0.5, lambda t: 1.5 - t,
         lambda t: tg.leaky_relu(t, 0.1), lambda t: tg.clip(t, -0.7, 0.7), lambda t: F.hardtanh(t)]
BINARY = [tg.add, tg.subtract, tg.multiply, tg.maximum, lambda a, b: a / (2.0 + tg.square(b)),
          lambda a, b: tg.where(a > b, a, 0.5 * b), lambda a, b: a * (b > 0.1)]


@pytest.fixture(autouse=True)
def _short_strips(monkeypatch):
    monkeypatch.setattr(strips, "STRIP_BYTES", 4096)
    monkeypatch.setattr(strips, "FEWEST_STRIPS", 4)
    monkeypatch.setattr(budget, "MORE_BYTES", np.inf)


class InStrips(Actions):
    """On tensors of N elements."""

    COUNT, STRETCHES, DEPTH = 25, 2, 2
    KINDS = ["unary"] * 8 + ["binary"] * 6 + ["shift", "first", "mean", "flip", "detach", "scalar", "rows", "halves"]

    def act(self, kind, a, b, number, other):
        if kind == "unary":
            return UNARY[number % len(UNARY)](a)
        if kind == "binary":
            return BINARY[number % len(BINARY)](a, b)
        if kind == "shift":  # each element meets the one before
            return tg.concatenate([a[:1], a[1:] - 0.5 * a[:-1]])
        if kind == "first":  # one element of an array meets all of it
            return a * tg.sin(b[:1].detach()) if number % 2 else a.detach() + b.detach()[0] * a
        if kind == "mean":
            return a - (b.mean().detach() if number % 2 else b.mean())
        if kind == "flip":
            return tg.flip(a, axis=0)
        if kind == "detach":
            return a * tg.sigmoid(b.detach())
        if kind == "scalar":
            return tg.tanh(a * other)
        if kind == "rows":
            return (a[:3072].reshape(32, 96) * b[:96]).reshape(-1).sum() * 1e-3 + a
        whole = tg.concatenate([a, b])
        return tg.tanh(whole[:N]) + tg.sin(whole[N:])

    def loss(self, x, y, scale, checkpoint=False):
        return self.loss_of([x, tg.sin(y), x * y], scale, checkpoint)


def data(dtype, count=N):
    rng = np.random.default_rng(5)
    return [rng.normal(size=count).astype(dtype), rng.normal(size=count).astype(dtype), np.array(0.7, dtype)]


def groups_of(compiled):
    return compiled._last.program.lives.groups


@pytest.mark.compiled
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("seed", range(40))
def test_random_functions_give_the_same_bits_in_strips(seed, parts, monkeypatch):
    monkeypatch.setattr(strips, "PARTS", parts)
    monkeypatch.setattr(strips, "PART_ELEMENTS", 1)
    actions, arguments = InStrips(seed), data(np.float64 if seed % 2 else np.float32)
    want, slopes = tg.value_and_grad(actions.loss, argnums=(0, 1, 2))(*arguments)
    for checkpoint in (False, True):
        compiled = tg.compile(tg.value_and_grad(
            lambda x, y, scale, checkpoint=checkpoint: actions.loss(x, y, scale, checkpoint), argnums=(0, 1, 2)))
        for _ in range(2):
            value, gradients = compiled(*arguments)
            assert value == want
            for found, slope in zip(gradients, slopes):
                np.testing.assert_array_equal(found, slope)
        assert groups_of(compiled)


@pytest.mark.parametrize("at", [0, 2048, N - 1])
def test_an_array_of_which_every_strip_reads_one_element_stays_while_they_do(at):
    # u is read as a whole for the last time where w is computed, of which then an element is read in the same way
    def f(space, x):
        u = x * 1.5
        v = x * u[at]
        w = u - 1.0
        z = v * w[at]
        return (space.sin(v) * w).sum() + (z * z).sum()

    x = np.random.default_rng(2).normal(size=N)
    compiled = tg.compile(lambda x: f(tg, x))
    assert float(compiled(x)) == pytest.approx(f(np, x), rel=1e-12)
    assert groups_of(compiled)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_a_step_that_accumulates_and_one_within_a_budget_give_the_same_bits(seed):
    actions, (x, y, _) = InStrips(seed), data(np.float32, 4 * N)

    def trained(**options):
        weights = nn.Parameter(y[:N].copy()), nn.Parameter(np.array(0.7, np.float32))
        step = tg.TrainStep(lambda x: actions.loss(x.reshape(-1), *weights), optim.SGD(weights, lr=0.1), **options)
        losses = step.run(x.reshape(4, N), batch_size=2 if "accumulate" in options else 1, shuffle=False).loss
        return step, losses.tolist(), [w.numpy() for w in weights]

    def by_run(together):
        weights = nn.Parameter(y[:N].copy()), nn.Parameter(np.array(0.7, np.float32))
        optimizer, losses = optim.SGD(weights, lr=0.1), []
        for first in range(0, 4, together):
            optimizer.zero_grad()
            loss = 0.0
            for row in x.reshape(4, N)[first:first + together]:
                value = actions.loss(tg.tensor(row), *weights) * (1.0 / together)
                value.backward()
                loss += value.item()
            optimizer.step()
            losses.append(loss)
        return losses, [w.numpy() for w in weights]

    step, losses, weights = trained()
    report = step.memory()
    assert step._last.program.lives.groups
    wanted, by_run_weights = by_run(1)
    assert losses == wanted
    for found, want in zip(weights, by_run_weights):
        np.testing.assert_array_equal(found, want)
    _, losses, weights = trained(accumulate=2)
    wanted, by_run_weights = by_run(2)
    np.testing.assert_allclose(losses, wanted, rtol=1e-6)
    for found, want in zip(weights, by_run_weights):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    allowed = int(report.standing_bytes + 0.8 * (report.peak_bytes - report.standing_bytes))
    _, wanted, by_run_weights = trained()
    try:
        tight, losses, weights = trained(memory_budget=allowed)
    except tg.TapeMemoryError:
        return
    assert tight.memory().peak_bytes <= allowed
    assert losses == wanted
    for found, want in zip(weights, by_run_weights):
        np.testing.assert_array_equal(found, want)


def price(spot, volatility, strike):
    spread = volatility * 0.5
    above = (tg.log(spot / strike) + 0.5 * volatility * volatility) / spread
    return (spot * tg.sigmoid(above) - strike * tg.sigmoid(above - spread)).mean()


@pytest.mark.parametrize("count", [4097, 7168])
def test_a_chain_and_its_reverse_are_one_pass_and_nothing_between_exists_whole(count):
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(low, high, count).astype(np.float32) for low, high in ((80, 120), (0.1, 0.5), (80, 120))]
    function = tg.value_and_grad(price, argnums=(0, 1))
    compiled = tg.compile(function)
    value, gradients = compiled(*arrays)
    want, slopes = function(*arrays)
    assert value == want
    for found, slope in zip(gradients, slopes):
        np.testing.assert_array_equal(found, slope)
    program = compiled._last.program
    group, = program.lives.groups
    assert (group.first, group.last + 1) == (0, program.times.end)
    assert len(program.tasks.rows) == 1
    nbytes = (4 * count + 63) // 64 * 64
    assert program.layout.total <= 5 * nbytes + 12 * group.parts * strips.STRIP_BYTES + 1024  # arguments, gradients


@pytest.mark.compiled
def test_arrays_of_less_than_four_strips_run_whole():
    compiled = tg.compile(tg.value_and_grad(price, argnums=(0, 1)))
    compiled(*(np.full(4095, x, np.float32) for x in (100.0, 0.2, 90.0)))
    assert not groups_of(compiled)


@pytest.mark.compiled
def test_strips_take_hardly_more_memory_than_whole_arrays(monkeypatch):
    monkeypatch.setattr(budget, "MORE_BYTES", 1 / 64)
    compiled = tg.compile(tg.value_and_grad(lambda x: tg.sum(tg.negative(x * 2.0))))
    compiled(data(np.float32)[0])  # whole, the product and its negative lie in one array, which the gradient takes
    assert not groups_of(compiled)


@pytest.mark.compiled
def test_no_number_depends_on_what_a_strip_is(monkeypatch):
    x = np.random.default_rng(2).normal(size=100_003).astype(np.float32)
    compiled, found = tg.value_and_grad(lambda x: (tg.exp(tg.sin(x)) * x).mean()), []
    for nbytes, parts in ((4096, 1), (1 << 14, 1), (1 << 14, 2), (1 << 15, 5)):
        monkeypatch.setattr(strips, "STRIP_BYTES", nbytes)
        monkeypatch.setattr(strips, "PARTS", parts)
        monkeypatch.setattr(strips, "PART_ELEMENTS", 1)
        found.append(tg.compile(compiled)(x))
    for value, gradient in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(gradient, found[0][1])


@pytest.mark.compiled
def test_nan_and_infinity_pass_through_strips():
    x = np.linspace(-2, 2, N)
    x[[0, 1500, N - 1]] = np.nan, np.inf, -np.inf
    function = tg.value_and_grad(lambda x: tg.sum(tg.relu(x) * tg.exp(-x)))
    value, gradient = tg.compile(function)(x)
    want, slope = function(x)
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.machine
@pytest.mark.compiled
def test_the_report_states_what_is_allocated_and_names_the_strips():
    weight = nn.Parameter(np.linspace(-1, 1, N).astype(np.float32))
    step = tg.TrainStep(lambda x: (tg.tanh(weight * x) * tg.exp(-x)).mean(), optim.SGD([weight], lr=0.1))
    step(data(np.float32)[0])
    report, program = step.memory(), step._last.program
    assert report.peak_bytes - report.standing_bytes == program.layout.total == program.arena.nbytes
    strip, = (life for life in report.buffers if life.name.startswith("strips"))
    assert strip.nbytes == program.lives.groups[0].nbytes and strip.kind == "temporary"
    whole = [life for life in report.buffers if life.nbytes >= 4 * N]
    assert [life.kind for life in whole] == ["data"]
    live = max(np.sum(list(report.timeline.values()), axis=0))
    assert live <= program.layout.lower_bound < live + 64 * len(report.buffers)
    assert not report.activation_bytes
    assert account(program, 0).to_json()


@pytest.mark.compiled
def test_a_profile_shares_the_time_of_a_group_among_its_instructions():
    weight = nn.Parameter(np.linspace(-1, 1, 40 * N).astype(np.float32))
    step = tg.TrainStep(lambda x: (tg.tanh(weight * x) * tg.exp(-x)).mean(), optim.SGD([weight], lr=0.1))
    rows = list(step.profile(data(np.float32, 40 * N)[0], seconds=0.01))
    assert [row["op"] for row in rows] == ["multiply", "tanh", "negative", "exp", "multiply", "sum"]
    assert all(row["forward"] > 0 for row in rows)
    assert abs(sum(row["share"] for row in rows) - 1) < 0.01


@pytest.mark.compiled
def test_rows_that_fail_are_named_beside_strips():
    table = nn.Parameter(np.zeros((4, N), np.float32))
    step = tg.TrainStep(lambda k: (tg.tanh(table[k] * 2.0) ** 2).mean(), optim.SGD([table], lr=0.1))
    step(np.array([1, 3]))
    with pytest.raises(tg.IndexRangeError, match="7"):
        step(np.array([1, 7]))


@pytest.mark.compiled
@pytest.mark.parametrize("function", [tg.relu, lambda t: tg.leaky_relu(t, 0.1), lambda t: tg.clip(t, -0.3, 0.3),
                                      F.hardtanh], ids=["relu", "leaky_relu", "clip", "hardtanh"])
def test_a_mask_that_strips_wrote_is_read_by_the_whole(function):
    """The adjoint of the scalar, a sum, ends the group in reverse; forward the mask is written strip by strip."""
    x, _, scale = data(np.float32)

    def loss(x, scale):
        return (tg.concatenate([function(x * scale), x]) * np.arange(2 * N)).mean()

    compiled = tg.compile(tg.value_and_grad(loss, argnums=(0, 1)))
    found, wanted = compiled(x, scale)[1], tg.value_and_grad(loss, argnums=(0, 1))(x, scale)[1]
    times, groups = compiled._last.program.times, groups_of(compiled)
    grouped = {(times.instructions[t], times.is_adjoint[t]) for g in groups for t in range(g.first, g.last + 1)}
    masks = {n for n, op in enumerate(str(compiled._last.program.tape).splitlines()[1:]) if "_mask" in op}
    assert masks and all((n, False) in grouped and (n, True) not in grouped for n in masks)
    for one, other in zip(found, wanted):
        np.testing.assert_array_equal(one, other)
