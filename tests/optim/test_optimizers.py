"""The optimisers against PyTorch 2.13 and Optax 0.2.8 (recorded by `record_pytorch` and `record_optax`), and what they
promise besides."""

import json
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

from . import cases

RECORD = dict(np.load(Path(__file__).with_name("pytorch.npz")))
OTHERS = dict(np.load(Path(__file__).with_name("optax.npz")))
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def start(dtype):
    return [tg.tensor(a.astype(dtype), requires_grad=True) for a in cases.unflat(RECORD["start"])]


def make(name, parameters, **more):
    kind, arguments, _ = cases.EVERY[name]
    return getattr(optim, kind)(cases.groups(name, parameters), **arguments, **more)


def expected(name, dtype):
    """The parameters after 50 steps."""
    if name in cases.OTHERS:
        return OTHERS[dtype][list(cases.OTHERS).index(name)]
    return RECORD[f"optimizers/{dtype}"][list(cases.OPTIMIZERS).index(name)]


def fill(parameters, step):
    for parameter, gradient in zip(parameters, cases.unflat(RECORD["gradients"][step])):
        parameter.grad = gradient


def run(optimizer, parameters, steps):
    for step in steps:
        fill(parameters, step)
        optimizer.step()


def values(parameters):
    return cases.flat([p.numpy() for p in parameters])


def assert_near(actual, expected, dtype):
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.EVERY)
def test_fifty_steps_are_those_of_pytorch_and_optax(name, dtype):
    parameters = start(dtype)
    run(make(name, parameters), parameters, range(cases.STEPS))
    assert_near(values(parameters), expected(name, dtype), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.SHAPED)
def test_wide_and_stacked_matrices_are_updated_as_by_pytorch(name, dtype):
    kind, arguments, shape = cases.SHAPED[name]
    rng = np.random.default_rng(5)
    w = tg.tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)
    gradients, optimizer = rng.normal(size=(cases.STEPS, *shape)).astype(dtype), getattr(optim, kind)([w], **arguments)
    for gradient in gradients:
        w.grad = gradient
        optimizer.step()
    assert_near(w.numpy(), RECORD[f"shaped/{name}/{dtype}"], dtype)


@pytest.mark.parametrize(("kind", "arguments"), [
    ("Adamax", {}), ("RAdam", {}), ("Adafactor", {}), ("ASGD", {"t0": 2.0}), ("Rprop", {}), ("Lion", {}), ("LAMB", {}),
    ("Muon", {})])
def test_compiled_epochs_whose_updates_are_shared_among_threads_end_where_steps_do(kind, arguments):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(24, 150)), rng.normal(size=(24, 130))
    shapes = ((150, 130),) if kind == "Muon" else ((150, 130), (130,))  # more than two parts of 8192 elements

    def trained(recorded):
        rng = np.random.default_rng(4)
        given = [tg.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]
        optimizer = getattr(optim, kind)(given, **arguments)

        def loss(x, y):
            d = tg.tanh(x @ given[0]) * (1.0 if len(given) == 1 else given[1]) - y
            return (d * d).mean()

        if recorded:
            tg.TrainStep(loss, optimizer).run(x, y, batch_size=8, epochs=2, shuffle=False)
        else:
            for first in (0, 8, 16, 0, 8, 16):
                optimizer.zero_grad()
                loss(tg.tensor(x[first:first + 8]), tg.tensor(y[first:first + 8])).backward()
                optimizer.step()
        return [p.numpy() for p in given]

    for ours, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("name", cases.EVERY)
def test_recorded_rows_and_steps_share_state_and_counts(name):
    parameters = start("float64")
    optimizer = make(name, parameters)
    for step in range(cases.STEPS):
        fill(parameters, step)
        if step % 3:
            optimizer.update_rows(parameters).run()
        else:
            optimizer.step()
    assert_near(values(parameters), expected(name, "float64"), "float64")


def pytorch_state(name):
    """The state dict that PyTorch's optimiser had after 25 steps."""
    state = {}
    for key, value in RECORD.items():
        if key.startswith(f"half/{name}/"):
            k, entry = key.split("/")[2:]
            state.setdefault(int(k), {})[entry] = value
    return state


@pytest.mark.parametrize("name", cases.HALF)
def test_state_loaded_from_pytorch_goes_on_as_pytorch_did(name):
    parameters = [tg.tensor(a, requires_grad=True) for a in cases.unflat(RECORD[f"half/{name}"])]
    optimizer = make(name, parameters)
    own = optimizer.state_dict()
    optimizer.load_state_dict({"state": pytorch_state(name), "param_groups": own["param_groups"]})
    run(optimizer, parameters, range(cases.STEPS // 2, cases.STEPS))
    assert_near(values(parameters), expected(name, "float64"), "float64")


@pytest.mark.parametrize("name", cases.HALF)
def test_state_dict_has_pytorchs_entries_and_values(name):
    parameters = start("float64")
    optimizer = make(name, parameters)
    run(optimizer, parameters, range(cases.STEPS // 2))
    ours, theirs = optimizer.state_dict(), pytorch_state(name)
    assert {k: set(entries) for k, entries in ours["state"].items()} == {k: set(e) for k, e in theirs.items()}
    for k, entries in theirs.items():
        for key, value in entries.items():
            np.testing.assert_allclose(ours["state"][k][key], value, rtol=1e-12, atol=1e-14)
    assert [group["params"] for group in ours["param_groups"]] in ([[0, 1, 2]], [[0], [1, 2]], [[0]])


@pytest.mark.parametrize("name", cases.EVERY)
def test_state_dict_moves_a_run_to_another_optimizer(name):
    parameters = start("float32")
    optimizer = make(name, parameters)
    run(optimizer, parameters, range(20))
    others = [tg.tensor(p.numpy(), requires_grad=True) for p in parameters]
    other = make(name, others)
    run(other, others, range(3))  # some state of its own, to be replaced
    for mine, theirs in zip(others, parameters):
        mine.copy_(theirs.numpy())
    other.load_state_dict(optimizer.state_dict())
    run(optimizer, parameters, range(20, 30))
    run(other, others, range(20, 30))
    np.testing.assert_array_equal(values(others), values(parameters))


def test_state_dict_is_a_copy():
    parameters = start("float32")
    optimizer = optim.Adam(parameters)
    run(optimizer, parameters, range(1))
    state = optimizer.state_dict()
    before = state["state"][0]["exp_avg"].copy()
    run(optimizer, parameters, range(1, 3))
    np.testing.assert_array_equal(state["state"][0]["exp_avg"], before)
    assert state["state"][0]["step"] == 1


def test_groups_that_went_through_json_load():
    parameters = start("float32")
    optimizer = optim.Adam(parameters, betas=(0.8, 0.9))
    saved = json.loads(json.dumps(optimizer.state_dict()))
    saved["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_changed_hyperparameters_take_effect_at_the_next_step():
    w = tg.tensor(np.zeros(3), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    w.grad = np.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), -1.25)
    optimizer.param_groups[0]["maximize"] = True
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), -1.0)


def test_momentum_switched_on_later_starts_from_the_gradient():
    w = tg.tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0, dampening=0.5)
    w.grad = np.ones(2)
    optimizer.step()
    assert optimizer.state_nbytes == 0
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()  # m = g
    optimizer.step()  # m = 0.5 m + 0.5 g
    np.testing.assert_array_equal(w.numpy(), -3.0)
    assert optimizer.state_nbytes == w.nbytes


def test_parameters_without_gradient_or_frozen_stay_and_have_no_state():
    moving, idle, frozen = (tg.tensor(np.ones(4), requires_grad=True) for _ in range(3))
    optimizer = optim.Adam([moving, idle, frozen])
    moving.grad = np.ones(4)
    frozen.grad = np.ones(4)
    frozen.requires_grad_(False)
    optimizer.step()
    assert (moving.numpy() != 1.0).all()
    assert (idle.numpy() == 1.0).all() and (frozen.numpy() == 1.0).all()
    assert optimizer.state_nbytes == 2 * moving.nbytes
    assert set(optimizer.state_dict()["state"]) == {0}
    frozen.requires_grad_(True)
    optimizer.step()
    assert (frozen.numpy() != 1.0).all()
    assert optimizer.state_dict()["state"][0]["step"] == 2
    assert optimizer.state_dict()["state"][2]["step"] == 1


def test_parameter_that_was_never_trainable_joins_when_it_becomes_so():
    w, later = tg.tensor(np.ones(4), requires_grad=True), tg.tensor(np.ones(2))
    optimizer = optim.SGD([w, later], lr=1.0)
    w.grad = np.ones(4)
    optimizer.step()
    later.requires_grad_(True)
    later.grad = np.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(later.numpy(), 0.0)
    np.testing.assert_array_equal(w.numpy(), -1.0)


def test_values_and_gradients_lie_flat_and_aligned():
    parameters = start("float32")
    before = values(parameters)
    parameters[1].grad = np.full(5, 2.0)
    optimizer = optim.SGD(parameters)
    np.testing.assert_array_equal(values(parameters), before)
    np.testing.assert_array_equal(parameters[1].grad.numpy(), 2.0)
    (segment,) = optimizer.store.segments
    assert segment.offsets == [0, 16, 32]
    for parameter, offset in zip(parameters, segment.offsets):
        assert parameter.buffer.address % 64 == 0
        np.testing.assert_array_equal(segment.values[offset:offset + parameter.size], parameter.numpy().ravel())
    np.testing.assert_array_equal(segment.gradients[16:21], 2.0)


def test_two_optimizers_over_one_parameter_share_its_memory():
    w = tg.tensor(np.zeros(3), requires_grad=True)
    first = optim.SGD([w], lr=1.0)
    address = w.buffer.address
    second = optim.SGD([w], lr=10.0)
    assert w.buffer.address == address and not second.store.segments
    w.grad = np.ones(3)
    first.step()
    second.step()
    first.step()
    np.testing.assert_array_equal(w.numpy(), -12.0)


def test_optimizers_over_disjoint_parameters_do_not_touch_each_other():
    a, b = tg.tensor(np.zeros(3), requires_grad=True), tg.tensor(np.zeros(3), requires_grad=True)
    first, second = optim.SGD([a], lr=1.0), optim.SGD([b], lr=1.0)
    a.grad = b.grad = np.ones(3)
    first.step()
    assert (b.numpy() == 0).all()
    second.step()
    assert (b.numpy() == -1).all() and (a.numpy() == -1).all()


def test_added_group_keeps_steps_and_state():
    parameters = start("float64")
    optimizer = optim.Adam(parameters[:1], lr=0.01)
    old_rows = optimizer.update_rows()
    run(optimizer, parameters, range(2))
    optimizer.add_param_group({"params": parameters[1], "lr": 0.1})
    assert optimizer.layout != old_rows.layout
    run(optimizer, parameters, range(2, 5))
    steps = {k: state["step"] for k, state in optimizer.state_dict()["state"].items()}
    assert steps == {0: 5, 1: 3}


def test_zero_grad_forgets_or_clears():
    w = tg.tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w])
    w.grad = np.ones(3)
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(w.grad.numpy(), 0.0)
    optimizer.zero_grad()
    assert w.grad is None


def test_step_runs_a_closure_and_gives_its_loss():
    w = tg.tensor(np.ones(1), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)

    def closure():
        w.grad = np.ones(1)
        return 7.0

    assert optimizer.step(closure) == 7.0
    assert w.item() == 0.5


def test_update_rows_say_where_the_learning_rates_lie():
    parameters = start("float32")
    optimizer = make("adam_groups", parameters)
    rows = optimizer.update_rows([parameters[0], parameters[2]])
    assert rows is optimizer.update_rows([parameters[2], parameters[0]])
    assert rows.words.view(np.float64)[rows.lr_words].tolist() == [0.01, 0.002]
    assert rows.lr_groups.tolist() == [0, 1]
    assert len(rows.opcodes) == len(rows.starts) == 2
    rows.words.view(np.float64)[rows.lr_words] = 0.0
    for p in parameters:
        p.grad = np.ones(p.shape)
    before = values(parameters)
    rows.run()
    np.testing.assert_array_equal(values(parameters), before)
    optimizer.sync_hyperparameters()
    assert rows.words.view(np.float64)[rows.lr_words].tolist() == [0.01, 0.002]


def test_a_model_trains_as_in_pytorch():
    parameters = [tg.tensor(RECORD[f"model/start/{k}"], requires_grad=True) for k in range(4)]
    x, y = tg.tensor(RECORD["model/x"]), tg.tensor(RECORD["model/y"])
    optimizer = optim.AdamW(parameters, lr=0.02, weight_decay=0.05)
    losses = []
    for _ in range(cases.STEPS):
        hidden = tg.tanh(tg.linear(x, parameters[0], parameters[1]))
        difference = tg.linear(hidden, parameters[2], parameters[3]) - y
        loss = (difference * difference).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, RECORD["model/losses"], rtol=1e-10)
    for k, parameter in enumerate(parameters):
        np.testing.assert_allclose(parameter.numpy(), RECORD[f"model/end/{k}"], rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ what is refused


def leaf(dtype="float32"):
    return tg.tensor(np.ones(2, dtype), requires_grad=True)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "LBFGS", "Adamax",
                                  "RAdam", "Adafactor", "ASGD", "Rprop", "Lion", "LAMB"])
def test_bad_parameter_lists_are_refused(kind):
    make = getattr(optim, kind)
    w = leaf()
    with pytest.raises(ValueError, match="empty parameter list"):
        make([])
    with pytest.raises(ValueError, match="group 0 is empty"):
        make([{"params": []}])
    with pytest.raises(TypeError, match="one tensor"):
        make(w)
    with pytest.raises(TypeError, match="no Tensor but ndarray"):
        make([np.ones(2)])
    with pytest.raises(TypeError, match="int64"):
        make([tg.tensor([1, 2])])
    with pytest.raises(TypeError, match="float64, the parameters before it float32"):
        make([w, leaf("float64")])
    with pytest.raises(ValueError, match="result of an operation"):
        make([w * 2.0])
    with pytest.raises(ValueError, match="already"):
        make([w, w])
    with pytest.raises(TypeError, match="a set"):
        make([{"params": {w}}])
    with pytest.raises(ValueError, match="lr must not be negative"):
        make([w], lr=-1.0)


def test_a_parameter_in_two_groups_is_refused_by_name():
    w = leaf()
    with pytest.raises(ValueError, match=r"parameter 0 \(weight\) of group 1 is in this optimiser already"):
        optim.SGD([{"params": [("weight", w)]}, {"params": [("weight", w)]}])


def test_a_refused_group_changes_nothing():
    w, v = leaf(), leaf()
    optimizer = optim.SGD([w], lr=1.0)
    with pytest.raises(ValueError):
        optimizer.add_param_group({"params": [v, w]})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [v]})
    v.grad = np.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(v.numpy(), 0.0)


@pytest.mark.parametrize(("kind", "arguments", "message"), [
    ("SGD", {"momentum": -0.1}, "momentum"), ("SGD", {"weight_decay": -1.0}, "weight_decay"),
    ("SGD", {"nesterov": True}, "Nesterov"), ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov"),
    ("Adam", {"betas": (1.0, 0.9)}, r"betas\[0\]"), ("Adam", {"betas": (0.9, -0.1)}, r"betas\[1\]"),
    ("Adam", {"eps": -1.0}, "eps"), ("AdamW", {"weight_decay": -1.0}, "weight_decay"),
    ("RMSprop", {"alpha": -1.0}, "alpha"), ("Adagrad", {"lr_decay": -1.0}, "lr_decay"),
    ("Adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
    ("Adadelta", {"rho": 1.5}, "rho"), ("NAdam", {"momentum_decay": -1.0}, "momentum_decay"),
    ("SGD", {"max_grad_norm": 0.0}, "max_grad_norm"), ("SGD", {"max_grad_value": -1.0}, "max_grad_value"),
    ("SGD", {"lr": float("nan")}, "lr"), ("Adam", {"differentiable": True}, "differentiable"),
    ("Adamax", {"eps": -1.0}, "eps"), ("RAdam", {"betas": (0.9, 1.0)}, r"betas\[1\]"),
    ("Adafactor", {"beta2_decay": 0.1}, "beta2_decay"), ("Adafactor", {"d": 0.5}, "d must"),
    ("Adafactor", {"eps": (-1.0, 1.0)}, "eps1"), ("ASGD", {"weight_decay": -1.0}, "weight_decay"),
    ("Rprop", {"etas": (0.5, 0.9)}, "etas"), ("Lion", {"betas": (-0.1, 0.9)}, r"betas\[0\]"),
    ("LAMB", {"lr": -1.0}, "lr"), ("Muon", {}, r"matrices, and a parameter has shape \[2\]"),
    ("Muon", {"adjust_lr_fn": "half"}, "adjust_lr_fn"), ("Muon", {"ns_steps": 100}, "ns_steps"),
    ("Muon", {"ns_coefficients": (1.0, 2.0)}, "ns_coefficients"),
    ("LBFGS", {"line_search_fn": "wolfe"}, "line_search_fn"), ("LBFGS", {"max_iter": 0}, "max_iter"),
])
def test_hyperparameters_out_of_range_are_refused(kind, arguments, message):
    with pytest.raises(tg.TapegradError, match=message) as caught:
        getattr(optim, kind)([leaf()], **arguments)
    assert isinstance(caught.value, ValueError)


def test_pytorchs_choices_of_implementation_are_taken_and_others_are_not():
    optim.AdamW([leaf()], foreach=False, fused=True, capturable=False)
    with pytest.raises(TypeError, match="'momentun'"):
        optim.SGD([leaf()], momentun=0.9)


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.pop("state"), "the keys 'state' and 'param_groups'"),
    (lambda d: d["param_groups"].append(d["param_groups"][0]), "2 parameter groups, the optimiser 1"),
    (lambda d: d["param_groups"][0]["params"].pop(), "group 0 has 2 parameters in the state dict and 3"),
    (lambda d: d["state"].update({9: {}}), "parameter 9"),
    (lambda d: d["state"][1].update(exp_avg=np.zeros(3)), r"exp_avg of parameter 1 has shape \[3\].*\[5\]"),
])
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    parameters = start("float32")
    optimizer = optim.Adam(parameters)
    run(optimizer, parameters, range(2))
    broken = optimizer.state_dict()
    broken["param_groups"][0]["lr"] = 99.0
    change(broken)
    with pytest.raises(tg.StateDictError, match=message):
        optimizer.load_state_dict(broken)
    assert optimizer.param_groups[0]["lr"] == 1e-3
