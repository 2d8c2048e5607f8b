"""Random expression graphs of up to 60 ops with shared subexpressions.

Hypothesis draws a program: a list of ops, each of which reads any values made before it. It is run by
tapegrad op by op, run by tapegrad through `tg.compile`, run by the plain-Python tape of `naive`, and, where
no kink is near, differentiated along a random direction by central differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import naive
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import optim

SHAPES = [(), (1,), (3,), (1, 3), (2, 1), (2, 3)]
KEYS = [..., np.s_[::-1], np.s_[..., None], None, np.array([0, 0]), np.s_[-1:], np.s_[1:], np.s_[..., ::2]]
LIMIT = 4.0
KINK = 0.02


class TensorFunctions:
    """tapegrad under the names that `naive.TapeFunctions` has."""

    def __getattr__(self, name):
        return getattr(tg, name)

    @staticmethod
    def index(a, key):
        return a[key]


UNARY = ["negative", "sin", "cos", "tanh", "sigmoid", "arctan", "relu", "abs", "square"]
SAFE = {  # functions of limited domain, on an argument that is surely in it
    "exp": lambda f, a: f.exp(f.tanh(a)),
    "log": lambda f, a: f.log(f.add(f.square(a), f.sigmoid(a))),
    "log1p": lambda f, a: f.log1p(f.square(a)),
    "sqrt": lambda f, a: f.sqrt(f.add(f.square(a), f.exp(f.sin(a)))),
}
KINDS = ["unary", "safe", "binary", "binary", "divide", "reduce", "layout", "rows", "where", "join"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]


@dataclass
class Program:
    """Inputs and a list of steps; a step is a function of (functions, values so far) that gives the next value."""

    inputs: list[np.ndarray]
    steps: list = field(default_factory=list)
    smooth: bool = True

    def run(self, functions, inputs):
        values = list(inputs)
        for step in self.steps:
            values.append(step(functions, values))
        # every value contributes to the result, so that none is dead
        total = functions.sum(values[0])
        for value in values[1:]:
            total = functions.add(total, functions.mean(value))
        return total


@st.composite
def programs(draw, largest=60):
    """A program whose values stay below `LIMIT`; `smooth` tells whether no kink was near."""
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    program = Program([rng.uniform(-2, 2, shape) for shape in shapes])
    values = [naive.Var(x) for x in program.inputs]
    count = draw(st.integers(1, largest))
    for _ in range(count):
        step = draw(steps(values, program))
        values.append(step(naive.TapeFunctions, values))
        program.steps.append(step)
        if np.abs(values[-1].value).max(initial=0.0) > LIMIT:
            last = len(values) - 1
            program.steps.append(lambda f, v, last=last: f.tanh(v[last]))
            values.append(naive.TapeFunctions.tanh(values[-1]))
    return program


@st.composite
def steps(draw, values, program):
    """One op on values made so far; recent ones and early ones are both likely."""

    def pick(condition=lambda v: True):
        good = [k for k, v in enumerate(values) if condition(v.value)]
        return draw(st.sampled_from(good)) if good else None

    def near_kink(x):
        if np.abs(x).min(initial=1.0) < KINK:
            program.smooth = False

    kind = draw(st.sampled_from(KINDS))
    i = pick()
    x = values[i].value
    if kind == "unary":
        name = draw(st.sampled_from(UNARY))
        if name in ("relu", "abs"):
            near_kink(x)
        return lambda f, v: getattr(f, name)(v[i])
    if kind == "safe":
        safe = SAFE[draw(st.sampled_from(sorted(SAFE)))]
        return lambda f, v: safe(f, v[i])
    if kind in ("binary", "divide", "where", "join"):
        j = pick(lambda y: broadcastable(x.shape, y.shape))
        y = values[j].value
        if kind == "divide":
            return lambda f, v: f.divide(v[i], f.add(f.square(v[j]), f.sigmoid(v[j])))
        if kind == "where":
            mask = np.random.default_rng(len(values)).random(np.broadcast_shapes(x.shape, y.shape)) < 0.5
            return lambda f, v: f.where(mask, v[i], v[j])
        if kind == "join" and x.ndim:
            j = pick(lambda y: y.shape == x.shape)
            return lambda f, v: f.index(f.concatenate([v[i], v[j]], -1), (..., slice(None, None, 2)))
        name = draw(st.sampled_from(BINARY))
        if name in ("maximum", "minimum"):
            near_kink(x - y)
        return lambda f, v: getattr(f, name)(v[i], v[j])
    if kind == "reduce" and x.size:
        name = draw(st.sampled_from(["sum", "mean", "max", "logsumexp"]))
        axis = draw(st.sampled_from([None, *range(x.ndim)]))
        keepdims = draw(st.booleans())
        if name == "max":
            program.smooth = False
        return lambda f, v: getattr(f, name)(v[i], axis=axis, keepdims=keepdims)
    if kind == "rows" and x.ndim and x.size:
        name = draw(st.sampled_from(["softmax", "cumsum", "gram"]))
        if name == "gram" and x.ndim == 2:
            return lambda f, v: f.sum(f.matmul(v[i], f.swapaxes(v[i], 0, 1)), axis=1, keepdims=True)
        if name == "cumsum":
            return lambda f, v: f.cumsum(v[i], -1)
        return lambda f, v: f.softmax(v[i], axis=-1)
    if x.ndim == 2 and x.size:
        name = draw(st.sampled_from(["swap", "flip", "reshape", "index", "broadcast"]))
        if name == "swap":
            return lambda f, v: f.swapaxes(v[i], 0, 1)
        if name == "flip":
            return lambda f, v: f.flip(v[i], 1)
        if name == "reshape":
            shape = (x.shape[1], x.shape[0]) if draw(st.booleans()) else (x.size,)
            return lambda f, v: f.reshape(v[i], shape)
        if name == "broadcast":
            shape = (2, *x.shape)
            return lambda f, v: f.sum(f.broadcast_to(v[i], shape), axis=0)
    if x.ndim in (1, 2) and x.size:
        key = draw(st.sampled_from(KEYS))
        if np.ndim(x[key]) <= 2 and np.size(x[key]):
            return lambda f, v: f.index(v[i], key)
    return lambda f, v: f.sin(v[i])


def broadcastable(a, b):
    try:
        return len(np.broadcast_shapes(a, b)) <= 2
    except ValueError:
        return False


def by_naive_tape(program):
    inputs = [naive.Var(x) for x in program.inputs]
    out = program.run(naive.TapeFunctions, inputs)
    out.backward()
    return float(out.value), [v.adjoint for v in inputs]


def by_tapegrad(program, dtype=np.float64):
    inputs = [tg.tensor(x.astype(dtype), requires_grad=True) for x in program.inputs]
    out = program.run(TensorFunctions(), inputs)
    assert out.dtype == dtype
    out.backward()
    return float(out), [x.grad.numpy() for x in inputs]


def agree(actual, expected, tolerance):
    scale = max([1.0] + [np.abs(g).max(initial=0.0) for g in expected])
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale)


CHECK = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@CHECK
@given(programs())
def test_a_random_graph_has_the_value_and_gradients_of_the_plain_python_tape(program):
    value, gradients = by_tapegrad(program)
    expected_value, expected = by_naive_tape(program)
    np.testing.assert_allclose(value, expected_value, rtol=1e-11, atol=1e-11)
    agree(gradients, expected, 1e-9)


@CHECK
@given(programs())
def test_a_recorded_random_graph_equals_define_by_run(program):
    functions = TensorFunctions()
    number = tuple(range(len(program.inputs)))
    recorded = tg.compile(tg.value_and_grad(lambda *inputs: program.run(functions, inputs), argnums=number))
    value, gradients = by_tapegrad(program)
    for _ in range(2):
        recorded_value, recorded_gradients = recorded(*program.inputs)
        np.testing.assert_allclose(recorded_value, value, rtol=1e-14, atol=1e-14)
        agree(recorded_gradients, gradients, 1e-13)


@CHECK
@given(programs())
def test_a_replayed_random_graph_follows_new_inputs(program):
    functions = TensorFunctions()
    number = tuple(range(len(program.inputs)))
    recorded = tg.compile(tg.value_and_grad(lambda *inputs: program.run(functions, inputs), argnums=number))
    recorded(*[np.ones_like(x) for x in program.inputs])
    value, gradients = recorded(*program.inputs)
    expected_value, expected = by_naive_tape(program)
    np.testing.assert_allclose(value, expected_value, rtol=1e-11, atol=1e-11)
    agree(gradients, expected, 1e-9)


@CHECK
@given(programs(largest=25), st.integers(0, 1000))
def test_a_smooth_random_graph_has_the_slope_of_central_differences(program, seed):
    if not program.smooth:
        return
    rng = np.random.default_rng(seed)
    directions = [rng.uniform(-1, 1, x.shape) for x in program.inputs]

    def f(*inputs):
        return program.run(naive.TapeFunctions, [naive.Var(x) for x in inputs]).value

    slope = naive.directional_derivative(f, program.inputs, directions, step=2e-4)
    coarse = naive.directional_derivative(f, program.inputs, directions, step=4e-4)
    if abs(slope - coarse) > 1e-6 * max(1.0, abs(slope)):  # too curved for differences to judge
        return
    _, gradients = by_tapegrad(program)
    total = sum(np.sum(g * v) for g, v in zip(gradients, directions))
    np.testing.assert_allclose(total, slope, rtol=1e-5, atol=1e-5)


@settings(CHECK, max_examples=60)
@given(programs(largest=20))
def test_a_random_graph_in_float32_is_close_to_float64(program):
    value, gradients = by_tapegrad(program, np.float32)
    expected_value, expected = by_naive_tape(program)
    if not program.smooth or max(np.abs(g).max(initial=0.0) for g in expected) > 1e3:
        return
    np.testing.assert_allclose(value, expected_value, rtol=1e-3, atol=1e-3)
    agree(gradients, expected, 5e-3)


@settings(CHECK, max_examples=80)
@given(programs(largest=40), st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 3))
def test_a_random_graph_trains_in_a_recorded_step_as_define_by_run(program, frozen, data_inputs):
    functions, rng = TensorFunctions(), np.random.default_rng(0)
    split = min(data_inputs, len(program.inputs) - 1)
    frozen = frozen[: len(program.inputs) - split]
    frozen = frozen if not all(frozen) else [False] * len(frozen)
    made = []
    for _ in range(2):
        parameters = [tg.tensor(x, requires_grad=True) for x in program.inputs[split:]]
        optimizer = optim.SGD(parameters, lr=1e-3, momentum=0.9)
        for parameter, no in zip(parameters, frozen):
            parameter.requires_grad_(not no)
        made.append((parameters, optimizer))
    (recorded, o), (manual, m) = made
    step = tg.TrainStep(lambda *data: program.run(functions, [*data, *recorded]), o)
    for _ in range(3):
        data = [rng.uniform(-1, 1, x.shape) for x in program.inputs[:split]]
        loss = program.run(functions, [*map(tg.tensor, data), *manual])
        m.zero_grad()
        loss.backward()
        m.step()
        np.testing.assert_allclose(step(*data), float(loss), rtol=1e-12, atol=1e-12)
        for a, b in zip(recorded, manual):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)


def test_one_value_read_a_hundred_times_gathers_a_hundred_contributions():
    x = tg.tensor(np.array([0.5, -1.5]), requires_grad=True)
    y = tg.sin(x)
    total = y
    for k in range(1, 100):
        total = total + k * y
    total.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), sum(range(1, 100), 1) * np.cos([0.5, -1.5]), rtol=1e-13)


def test_doubling_thirty_times_by_adding_a_value_to_itself():
    x = tg.tensor(np.float64(1.0), requires_grad=True)
    y = x
    for _ in range(30):
        y = y + y
    y.backward()
    assert float(y) == 2.0**30 and float(x.grad) == 2.0**30
