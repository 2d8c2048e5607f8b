"""Explanations: every number of the lectures at its node, and those of any program."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.explain.explanation import Explanation
from tapegrad.explain.lectures import LECTURES, deep_arguments, deep_network, lecture


def sigma(a):
    return 1.0 / (1.0 + np.exp(-a))


def check(e, values=None, adjoints=None):
    """The named nodes hold these values and adjoints."""
    for name, value in (values or {}).items():
        np.testing.assert_allclose(e[name].value, value, rtol=1e-12, err_msg=f"value of {name}")
    for name, value in (adjoints or {}).items():
        np.testing.assert_allclose(e[name].adjoint, value, rtol=1e-9, atol=1e-14, err_msg=f"adjoint of {name}")


# ------------------------------------------------------------------ the lectures


def test_the_product_of_a_sum():
    """f = (x + y) z: q = 3, f = -12; df/dq = z, df/dz = q, df/dx = df/dy = z."""
    e = lecture(1).explain()
    check(e, {"q": 3, "f": -12}, {"x": -4, "y": -4, "z": 3, "q": -4, "f": 1})
    assert [edge.derivative for edge in e["f"].edges] == [-4, 3]
    assert [edge.derivative for edge in e["q"].edges] == [1, 1]
    assert str(e).splitlines()[-1].split() == ["4", "f", "=", "q", "*", "z", "-12", "f", "=", "q", "z", "df/dq", "=",
                                               "-4", "df/dz", "=", "3", "1"]


def test_a_sum_times_a_third_variable():
    check(lecture(2).explain(), {"c": 3, "e": 15}, {"a": 5, "b": 5, "c": 5, "d": 3})


def test_two_paths_add_up():
    """e = (a + b)(b + 1): de/db = de/dc dc/db + de/dd dd/db = 2 * 1 + 3 * 1 = 5."""
    e = lecture(3).explain()
    check(e, {"c": 3, "d": 2, "e": 6}, {"a": 2, "b": 5, "c": 2, "d": 3})
    paths = e.paths("e", "b")
    assert [[node.name for node in path.nodes] for path in paths] == [["b", "c", "e"], ["b", "d", "e"]]
    assert [path.derivatives for path in paths] == [[2, 1], [3, 1]]
    assert [float(path.contribution) for path in paths] == [2, 3]
    assert float(paths.total) == 5
    assert str(paths).splitlines()[-1] == "de/db = 2*1 + 3*1 = 5"


def test_the_log_likelihood():
    """l = ln s, s = sigma(w . x): dl/dw = (1 - s) x."""
    w, x = LECTURES[3].arguments
    s = sigma(w @ x)
    check(lecture(4).explain(), {"s": s, "l": np.log(s)}, {"a": 1 - s, "w": (1 - s) * x, "x": (1 - s) * w})


def test_two_linear_layers():
    x, w1, b1, w2, b2 = LECTURES[4].arguments
    h = w1 * x + b1
    error = 2 * (w2 * h + b2 + 1)
    check(lecture(5).explain(), {"h": h}, {"w2": error * h, "b2": error, "w1": x * error * w2, "b1": error * w2})


def test_one_hidden_sigmoid_layer():
    """delta_j = 2 (yhat - y) w2_j h_j (1 - h_j); dL/dW1 = delta x^T."""
    x, w1, b1, w2, b2 = LECTURES[5].arguments
    h = sigma(w1 @ x + b1)
    error = 2 * (w2 @ h + b2 - 0.7)
    delta = error * w2 * h * (1 - h)
    check(lecture(6).explain(), {"h": h}, {"a": delta, "W1": np.outer(delta, x), "b1": delta, "w2": error * h})


def test_the_sigmoid_networks_seven_partials():
    x, alpha, beta = LECTURES[6].arguments
    z = sigma(alpha @ x)
    y = sigma(beta @ z)
    dy = 0.8 / y + 0.2 / (y - 1)
    db = dy * y * (1 - y)
    da = db * beta * z * (1 - z)
    e = lecture(7).explain()
    check(e, {"z": z, "y": y}, {"y": dy, "b": db, "beta": db * z, "z": db * beta, "a": da, "alpha": np.outer(da, x),
                                "x": da @ alpha})
    assert e["y"].edges[0].derivative == pytest.approx(y * (1 - y), rel=1e-12)
    paths = e.paths("J", "b")
    assert len(paths) == 2 and float(paths.total) == pytest.approx(db, rel=1e-12)


def test_the_chain_to_one_weight_of_three_layers():
    """dL/dW_111 = (sum over the paths from h1_1 to L) * h1_1 (1 - h1_1) * x_1."""
    x, *_ = LECTURES[7].arguments
    e = lecture(8).explain()
    p, y = e["p"].value, np.array([0.0, 1.0])
    check(e, {}, {"z3": p - y, "p": -y / p})
    dz2, h1 = e["z2"].adjoint, e["h1"].value
    factor = sum(dz2[j] * e["W2"].value[j, 0] for j in range(3))
    weight = e.paths("L", "W1").total[0, 0]
    assert weight == pytest.approx(factor * h1[0] * (1 - h1[0]) * x[0], rel=1e-10)
    assert weight == pytest.approx(e["W1"].adjoint[0, 0], rel=1e-12)


@pytest.mark.parametrize("depth", [2, 5, 20])
def test_local_errors_through_many_layers(depth):
    """delta_D = (1 - h_D^2)(h_D - y); delta_k = (1 - h_k^2) W_(k+1)^T delta_(k+1); dJ/dW_k = delta_k h_(k-1)^T."""
    x, weights = deep_arguments(depth)
    e = tg.explain(deep_network, x, weights)
    h = [x]
    for w in weights:
        h.append(np.tanh(w @ h[-1]))
    delta = (1 - h[-1] ** 2) * (h[-1] - 0.5)
    for k in range(depth, 0, -1):
        check(e, {f"h{k}": h[k]}, {f"a{k}": delta, f"W[{k - 1}]": np.outer(delta, h[k - 1])})
        figures = {each.layer: each for each in e.local_errors()}[f"a{k}"]
        assert figures.adjoint == pytest.approx(np.linalg.norm(delta), rel=1e-9)
        assert figures.value == pytest.approx(np.linalg.norm(weights[k - 1] @ h[k - 1]), rel=1e-9)
        if k > 1:
            delta = (1 - h[k - 1] ** 2) * (weights[k - 1].T @ delta)


def test_there_are_nine_lectures():
    assert len(LECTURES) == 9
    for number in (0, 10):
        with pytest.raises(tg.TapegradError, match="1 to 9"):
            lecture(number)


# ------------------------------------------------------------------ any program


UNARY = ["tanh", "exp", "sin", "square", "sigmoid", "abs", "relu"]
BINARY = ["add", "subtract", "multiply", "maximum", "squared_error"]
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3)]


@st.composite
def programs(draw):
    """Ops over two leaves, views of them, constants, and results."""
    steps = draw(st.lists(st.tuples(st.sampled_from(UNARY + BINARY + ["sum", "slice", "constant"]), st.integers(0, 50),
                                    st.integers(0, 50)), min_size=1, max_size=8))
    return draw(st.sampled_from(SHAPES)), draw(st.sampled_from(SHAPES)), steps


def run(steps, x, y):
    made = [x, y]
    for name, j, k in steps:
        a, b = made[j % len(made)], made[k % len(made)]
        if name in UNARY:
            made.append(getattr(tg, name)(a * 0.5))
        elif name == "sum":
            made.append(tg.sum(a, axis=0) if a.ndim else a * 1.0)
        elif name == "slice":
            made.append(a[::-1] if a.ndim else a)
        elif name == "constant":
            made.append(a * np.linspace(0.1, 0.9, 3))
        else:
            made.append(getattr(tg, name)(a, b))
    return tg.sum(made[-1]) + 0.1 * tg.sum(x) + 0.1 * tg.sum(y)


@settings(deadline=None)
@given(programs())
def test_contributions_add_up_to_the_adjoint_that_the_compiled_walk_gives(program):
    first, second, steps = program
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=first), rng.normal(size=second)
    e = tg.explain(lambda x, y: run(steps, x, y), x, y)
    dx, dy = tg.grad(lambda x, y: run(steps, x, y), argnums=(0, 1))(x, y)
    check(e, {"x": x, "y": y}, {"x": dx, "y": dy})
    for node in e.nodes:
        if node.adjoint is not None and node is not e.graph.output:
            total = sum(edge.placed(edge.contribution_here()) for edge in e.graph.users[node.id]
                        if edge.target.adjoint is not None)
            np.testing.assert_allclose(total, node.adjoint, rtol=1e-9, atol=1e-12, err_msg=node.formula)
    for name, expected in (("x", dx), ("y", dy)):
        np.testing.assert_allclose(e.paths(input=name, limit=10**6).total, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_instructions_of_one_op_have_each_its_own_slope(dtype):
    numbers = [0.0, -0.0, 2.0, -3.0, 1e30, np.inf, np.nan]
    e = tg.explain(lambda x: tg.stack([tg.tanh(a * b) + tg.exp(a) * 3.0 - b * 5.0 for a in x for b in x]).sum(),
                   np.array(numbers, dtype))
    rules = {"tanh": lambda edge: 1.0 - edge.target.value ** 2, "exp": lambda edge: edge.target.value}
    edges = [edge for node in e.nodes for edge in node.edges if edge.target.op.name in rules]
    assert len(edges) == 2 * len(numbers) ** 2
    with np.errstate(all="ignore"):
        for edge in edges:
            np.testing.assert_allclose(edge.derivative, rules[edge.target.op.name](edge).item(), rtol=1e-6, atol=1e-6)


def test_too_many_paths_are_counted_and_refused():
    def doubling(x):
        for _ in range(40):
            x = x + x
        return x

    with pytest.raises(tg.TapegradError, match="1,099,511,627,776 paths lead from x to"):
        tg.explain(doubling, 1.0).paths(input="x")


def test_a_node_that_is_not_there_is_named_with_those_that_are():
    e = lecture(1).explain()
    with pytest.raises(tg.TapegradError, match="no node is named 'w'; there are x, y, z, q, f"):
        e.paths(input="w")
    with pytest.raises(tg.TapegradError, match="from which input"):
        e.paths("f")
    assert "= 0: no path" in str(e.paths("x", "y"))
    assert float(e.paths("q", "q").total) == 1


def network():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    rng = np.random.default_rng(0)
    return model, rng.normal(size=(16, 4)).astype(np.float32), rng.integers(0, 3, 16)


def test_a_training_step_is_explained_without_being_changed():
    model, x, y = network()
    other, *_ = network()

    def step_of(module):
        return tg.TrainStep(lambda x, y: F.cross_entropy(module(x), y), optim.SGD(module.parameters(), lr=0.1))

    first, second = step_of(model), step_of(other)
    tg.manual_seed(1)
    e = first.explain(x, y)
    assert model[0].weight.grad is None
    losses = [first(x, y) for _ in range(3)]
    tg.manual_seed(1)
    assert losses == [second(x, y) for _ in range(3)]  # statistics, masks, parameters
    assert model[1].running_mean.numpy().tobytes() == other[1].running_mean.numpy().tobytes()
    assert {node.name for node in e.nodes if node.kind == "parameter"} == {
        "0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"}
    assert [node.module for node in e.graph.ops] == ["0", "1", "2", "3", "4", ""]
    assert all(node.where[0] == __file__ for node in e.graph.ops)


def test_the_steps_adjoints_are_those_of_backward():
    model, x, y = network()
    model.eval()
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1))
    e = step.explain(x, y)
    F.cross_entropy(model(tg.tensor(x)), y).backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(e[name].adjoint, parameter.grad.numpy(), err_msg=name)
    before = model[0].weight.grad.numpy().copy()
    step.explain(x, y)
    np.testing.assert_array_equal(model[0].weight.grad.numpy(), before)


def test_names_are_the_users():
    w = tg.tensor([2.0, 3.0], dtype=np.float64, requires_grad=True)

    def loss(params, x):
        z = (params["a"] * x).named("scaled")
        inner = z @ w
        return inner * params["b"][0]

    e = tg.explain(loss, {"a": np.ones(2), "b": [0.5]}, x=np.array([1.0, 2.0]))
    assert [node.name for node in e.nodes] == ["params['a']", "params['b'][0]", "x", "w", "scaled", "inner", "f"]
    assert e["w"].kind == "parameter" and e["x"].kind == "input"
    assert e["inner"].formula == "inner = scaled @ w"
    assert e["f"].where[0] == __file__


def test_local_names_are_told_beside_a_profiler_and_of_a_function_that_calls_itself():
    def power(x, n):
        p = x * 1.0 if n == 1 else power(x, n - 1) * x
        return p

    sys.setprofile(lambda *_: None)
    try:
        e = tg.explain(power, 2.0, 3)
    finally:
        sys.setprofile(None)
    check(e, {"p": 8.0}, {"x": 12.0, "p": 1.0})
    assert e["p"] is e.graph.output


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_recorded_tensor_is_explained_as_its_function_is(dtype):
    rng = np.random.default_rng(1)
    models = [nn.Sequential(nn.Linear(6, 8, dtype=dtype), nn.LayerNorm(8, dtype=dtype), nn.GELU(),
                            nn.Linear(8, 3, dtype=dtype)),
              nn.Sequential(nn.Conv1d(1, 2, 3, dtype=dtype), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
                            nn.Linear(4, 3, dtype=dtype))]
    for model, shape in zip(models, [(5, 6), (5, 1, 6)]):
        x, y = rng.normal(size=shape).astype(dtype), rng.integers(0, 3, 5)
        loss = F.cross_entropy(model(tg.tensor(x)), y)
        e, f = tg.explain(loss), tg.explain(lambda x, m=model, y=y: F.cross_entropy(m(x), y), x)
        loss.backward()
        assert [node.op.name for node in e.graph.ops] == [node.op.name for node in f.graph.ops]
        for a, b in zip(e.graph.ops, f.graph.ops):
            np.testing.assert_array_equal(a.value, b.value)
            np.testing.assert_array_equal(a.adjoint, b.adjoint)
        found = {node.value.tobytes(): node.adjoint for node in e.nodes if node.kind == "parameter"}
        for parameter in model.parameters():
            np.testing.assert_array_equal(found[parameter.numpy().tobytes()], parameter.grad.numpy())


def test_a_tape_is_explained_by_the_names_on_it():
    with tg.Tape() as tape:
        x = tg.tensor(-2.0, requires_grad=True).named("x")
        q = (x * x).named("q")
        f = q + x
    e = tape.explain()
    check(e, {"q": 4, "f": 2}, {"x": -3, "q": 1})
    check(tape.explain("q"), {}, {"x": -4})
    f.backward()
    assert float(tape.adjoint("q")) == 1
    with pytest.raises(tg.TapegradError, match="nothing is recorded"):
        tg.Tape().explain()


def test_what_was_not_kept_is_said():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = (x + tg.tensor([3.0, 4.0])).sum()
    with pytest.raises(tg.GradientError, match="was not kept.*tg.explain\\(f, x\\)"):
        tg.explain(loss)
    with pytest.raises(tg.TapegradError, match="requires a gradient"):
        tg.explain(tg.tensor(1.0))


def test_a_custom_op_without_a_second_rule_is_explained_by_its_adjoint():
    def cube(x, y):
        for k in range(x.size):
            y[k] = x[k] ** 3

    def slope(x, g, dx):
        for k in range(x.size):
            dx[k] += 3 * x[k] ** 2 * g[k]

    op = tg.custom_op(cube, slope)
    e = tg.explain(lambda x: (op(x) * x).sum(), np.array([1.0, 2.0, -1.0]))
    check(e, {}, {"x": 4 * np.array([1.0, 8.0, -1.0])})
    np.testing.assert_allclose(e.paths(input="x").total, e["x"].adjoint)


@pytest.mark.parametrize("result", [3.0, None, "text"])
def test_what_is_no_tensor_is_refused(result):
    with pytest.raises(tg.TapegradError, match="it is to return one tensor"):
        tg.explain(lambda x: result, 1.0)
    with pytest.raises(tg.TapegradError, match="takes a function"):
        tg.explain(result if result is None else 3.0)


def test_results_with_several_elements_are_explained_by_their_sum():
    e = tg.explain(lambda x: x * x, np.array([1.0, 3.0]))
    check(e, {"f": [1, 9]}, {"x": [2, 6], "f": [1, 1]})
    empty = tg.explain(lambda x: x * x, np.zeros((0, 3)))
    assert empty["f"].value.shape == (0, 3)
    constant = tg.explain(lambda x: tg.tensor(2.0), 1.0)
    assert constant.graph.output.kind == "constant" and len(constant.paths(input="x")) == 0
    same = tg.explain(lambda x: x, 2.0)
    check(same, {"x": 2}, {"x": 1})


def test_views_are_told_as_indices():
    e = tg.explain(lambda x: x[1] * x[0, 2] + x.T[0].sum() + x[:, ::-1].sum() + x.reshape(6)[3], np.ones((2, 3)))
    parts = {edge.name for edge in e.graph.edges if edge.source.name == "x"}
    assert {"x[1]", "x[0, 2]", "x[:, 0]", "x[:, ::-1]", "x[1, 0]"} == parts


# ------------------------------------------------------------------ what is kept


def test_what_is_stored_follows_the_save_rules():
    """tanh keeps its output, linear its input; a frozen layer between keeps nothing."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2))
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optim.SGD(model.parameters(), lr=0.1))
    stored = step.explain(x).stored()
    kept = {(k.by.module, k.node.name): k for k in stored}
    assert kept["0", "x"].nbytes == x.nbytes and kept["0", "x"].read_for == ("w",)
    assert kept["1", "%1"].read_for == ("x",) and kept["2", "%1"].nbytes == 7 * 5 * 4
    assert kept["2", "2.weight"].nbytes == 0
    assert stored.nbytes == 7 * 3 * 4 + 2 * (7 * 5 * 4) + 7 * 2 * 4
    assert list(stored.released) == ["0", "2", "4"]
    assert stored.released["0"] == 7 * 3 * 4 and stored.released["4"] == stored.nbytes
    assert "84 bytes fewer" in str(stored)


def test_bytes_in_time_rise_and_fall():
    e = tg.explain(lambda x: tg.exp(tg.sin(x) + 1.0).sum(), np.ones(100))
    memory = e.to_dict()["memory"]
    assert [m["walk"] for m in memory] == ["forward"] * 4 + ["reverse"] * 4
    assert memory[0]["bytes"] == 800  # the sine
    assert memory[2]["bytes"] == 1600  # the sum before exp, and exp, which its adjoint reads
    assert memory[-1]["bytes"] == 800 + 800 + 8  # the adjoints of the sine and of x, and the result


# ------------------------------------------------------------------ as data


def test_everything_is_json():
    model, x, y = network()
    e = tg.explain(lambda x: F.cross_entropy(model(x), y), x)
    data = json.loads(e.to_json(allow_nan=False))
    ids = {node["id"] for node in data["nodes"]}
    assert data["schema"] == 1 and data["output"] in ids and set(data["forward"]) < ids
    assert data["reverse"] == data["forward"][::-1]
    assert all(edge["source"] in ids and edge["target"] in ids for edge in data["edges"])
    assert {module["path"] for module in data["modules"]} == {"Sequential", "0", "1", "2", "3", "4"}
    weight = next(node for node in data["nodes"] if node["name"] == "0.weight")
    assert sum(weight["value"]["histogram"]["counts"]) == 32
    few = tg.explain(lambda x: x * 2.0, np.array([3.0, np.nan, -np.inf, 0.0])).to_dict()["nodes"][0]["value"]
    assert (few["nan"], few["infinite"], few["zeros"], few["mean"], few["norm"]) == (1, 1, 1, 1.5, "nan")
    assert few["elements"] == [3.0, "nan", "-inf", 0.0]
    nothing = tg.explain("log(x) / y", x=0.0, y=0.0)
    assert json.loads(nothing.to_json(allow_nan=False))["nodes"][0]["value"]["number"] == 0


def test_notebooks_get_a_table_with_everything_escaped():
    e = tg.explain(lambda x: (x * 2.0).named("<b>"), 1.0)
    text = e._repr_html_()
    assert "&lt;b&gt;" in text and "<b>" not in text and text.count("<tr>") == 1 + len(e)
    assert repr(e).startswith("<Explanation of")


def test_latex_is_the_chain_rule_of_the_notes():
    lines = lecture(1).explain().latex().splitlines()
    assert lines[1:3] == [r"q &= x + y \\", r"f &= q z \\"]
    assert lines[-2] == (r"\frac{\partial f}{\partial x} &= \frac{\partial f}{\partial q} \cdot 1 "
                         r"= (-4) \cdot 1 = -4")
    assert isinstance(tg.explain("x ** 2 / sqrt(x)", x=2.0), Explanation)
