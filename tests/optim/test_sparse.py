"""Tables whose gradients list their rows, under the optimisers: against PyTorch 2.13 (recorded by `record_sparse`),
against the same table without a list, and where it cannot be."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.engine.storage import array_at
from tapegrad.errors import ArgumentError, GradientError

from . import sparse_cases as cases

RECORD = dict(np.load(Path(__file__).with_name("sparse.npz")))
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def make(name, dtype, table=None):
    kind, arguments, layer, options, calls = cases.CASES[name]
    model = getattr(nn, layer)(cases.ROWS, cases.WIDTH, sparse=True, dtype=dtype, **options)
    model.weight.copy_(cases.start() if table is None else table)
    return model, getattr(optim, kind)(model.parameters(), **arguments), calls


def by_run(model, optimizer, calls, steps):
    losses = []
    for step in steps:
        optimizer.zero_grad()
        for call in range(calls):
            index, weights = cases.batch(step, call)
            loss = cases.loss(model(index), weights)
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
    return losses


def recorded(model, optimizer, calls, steps):
    def loss_fn(*batch):
        parts = [cases.loss(model(index), weights) for index, weights in zip(batch[::2], batch[1::2])]
        return parts[0] if calls == 1 else parts[0] + parts[1]

    step_fn = tg.TrainStep(loss_fn, optimizer)
    return [step_fn(*(a for call in range(calls) for a in cases.batch(step, call))) for step in steps]


@pytest.mark.parametrize("train", [by_run, recorded])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.CASES)
def test_training_a_sparse_table_is_pytorchs(name, dtype, train):
    model, optimizer, calls = make(name, dtype)
    losses = train(model, optimizer, calls, range(cases.STEPS))
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(model.weight.numpy(), RECORD[f"end/{name}/{dtype}"], rtol=tolerance, atol=tolerance)
    expected = RECORD[f"losses/{name}/{dtype}"]
    if train is recorded:
        expected = expected.reshape(-1, calls).sum(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", cases.STATEFUL)
def test_state_is_pytorchs_and_goes_on_from_it(name):
    half = range(cases.STEPS // 2)
    theirs = {key.split("/")[2]: value for key, value in RECORD.items() if key.startswith(f"half/{name}/")}
    model, optimizer, calls = make(name, "float64")
    by_run(model, optimizer, calls, half)
    saved = optimizer.state_dict()
    assert set(saved["state"][0]) == set(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(saved["state"][0][key], value, rtol=1e-12, atol=1e-14)
    for train in (by_run, recorded):
        other, second, _ = make(name, "float64", RECORD[f"half/{name}"])
        second.load_state_dict({"state": {0: theirs}, "param_groups": saved["param_groups"]})
        train(other, second, calls, range(cases.STEPS // 2, cases.STEPS))
        np.testing.assert_allclose(other.weight.numpy(), RECORD[f"end/{name}/float64"], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ the same numbers as without a list


def gradient_memory(weight):
    """All of the memory in which the gradient lies, whether there is a gradient now or not."""
    home = weight.node.home
    return array_at(home.address, weight.shape, (weight.shape[1], 1), weight.dtype, home)


def recordings(layer, optimizer):
    """Recorded steps of several kinds over one table."""
    losses = {"recorded": lambda k: (layer(k) ** 2).sum(), "split": lambda k: (layer(k) ** 2).sum(),
              "tied": lambda k: (layer(k) @ layer.weight.T).tanh().sum(),
              "again": lambda k: tg.checkpoint(lambda: tg.tanh(layer(k) ** 2).sum())}
    return {name: tg.TrainStep(loss, optimizer, accumulate=1 + (name == "split")) for name, loss in losses.items()}


class Twin:
    """A table with a list of rows and one without, treated alike."""

    def __init__(self, rows, kind, **options):
        values = np.random.default_rng(3).normal(size=(rows, 4))
        self.layers = [nn.Embedding.from_pretrained(tg.tensor(values), freeze=False, sparse=s) for s in (True, False)]
        self.optimizers = [getattr(optim, kind)(layer.parameters(), **options) for layer in self.layers]
        self.steps = [recordings(layer, optimizer) for layer, optimizer in zip(self.layers, self.optimizers)]

    def check(self):
        sparse, dense = (layer.weight for layer in self.layers)
        np.testing.assert_allclose(sparse.numpy(), dense.numpy(), rtol=1e-12, atol=1e-14)
        assert (sparse.grad is None) == (dense.grad is None)
        if sparse.grad is not None:
            np.testing.assert_allclose(sparse.grad.numpy(), dense.grad.numpy(), rtol=1e-12, atol=1e-14)
        touched = sparse.node.touched.numbers
        written = sparse.node.home.version != sparse.node.touched._version  # by the user; seen at the next use
        if touched is not None and not written:  # what is not listed is zero, and no row is listed twice
            assert len(set(touched.tolist())) == len(touched)
            others = np.delete(gradient_memory(sparse), touched, axis=0)
            assert not others.any()


def act(twin, rng):
    """One thing that a user may do, drawn at random, to both tables."""
    rows = twin.layers[0].num_embeddings
    index = rng.integers(0, rows, int(rng.choice([2, 4])))
    what = rng.choice(["backward", "backward", "step", "step", "recorded", "recorded", "split", "tied", "tied backward",
                       "again", "again backward", "taken", "zero", "zeros", "set", "write", "clip norm", "clip value",
                       "bound", "freeze", "apart"])
    values = rng.normal(size=4)
    for layer, optimizer, steps in zip(twin.layers, twin.optimizers, twin.steps):
        weight = layer.weight
        trains = weight.requires_grad
        if what == "backward" and trains:
            (layer(index) ** 2).sum().backward()
        elif what == "step":
            optimizer.step()
        elif what in steps and trains:
            steps[what](index)
        elif what == "again backward" and trains:
            tg.checkpoint(lambda layer=layer: tg.tanh(layer(index) ** 2).sum()).backward()
        elif what == "tied backward" and trains:
            (layer(index) @ weight.T).tanh().sum().backward()
        elif what == "taken" and trains:
            (weight[int(index[0])] ** 2).sum().backward()
        elif what == "zero":
            optimizer.zero_grad()
        elif what == "zeros":
            optimizer.zero_grad(set_to_none=False)
        elif what == "set":
            weight.grad = np.outer(np.arange(rows) % 2, values)
        elif what == "write" and weight.grad is not None:
            weight.grad[int(index[0])] = values
        elif what == "clip norm":
            nn.utils.clip_grad_norm_([weight], 0.5, float(index[0] % 3) or np.inf)
        elif what == "clip value":
            nn.utils.clip_grad_value_([weight], 0.3)
        elif what == "bound":
            optimizer.max_grad_norm = None if index[0] % 2 else 0.7
        elif what == "freeze":
            weight.requires_grad_(not trains)
        elif what == "apart" and trains:  # another gradient's walk goes over the table
            tg.value_and_grad(lambda x, layer=layer: (layer(index) * x).sum())(values)
    return str(what)


@pytest.mark.compiled
@pytest.mark.parametrize("kind, options", [("SGD", {"lr": 0.05}), ("SGD", {"lr": 0.02, "momentum": 0.5}),
                                           ("Adagrad", {"lr": 0.1})])
def test_whatever_a_user_does_the_numbers_are_those_without_a_list(kind, options):
    for seed in range(15):
        rng, twin, done = np.random.default_rng(seed), Twin(7, kind, **options), []
        for _ in range(60):
            done.append(act(twin, rng))
            try:
                twin.check()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, after {done}") from error


def test_rows_that_a_step_does_not_touch_are_neither_read_nor_written():
    for kind in ("SGD", "Adagrad", "SparseAdam"):
        layer = nn.Embedding(50, 4, sparse=True)
        optimizer = getattr(optim, kind)(layer.parameters(), lr=0.1, max_grad_norm=1e6, max_grad_value=1e6)
        step = tg.TrainStep(lambda k, layer=layer: (layer(k) ** 2).sum(), optimizer)
        memory = gradient_memory(layer.weight)
        memory[10:] = np.nan  # a walk over all rows would spread or clear it
        for index in ([1, 2, 1], [2, 9, 0], [3, 3, 3]):
            step(np.array(index))
            optimizer.zero_grad()
            (layer(index[:2]) ** 2).sum().backward()
            optimizer.step()
        assert np.isnan(memory[10:]).all() and np.isfinite(memory[:10]).all()
        assert np.isfinite(layer.weight.numpy()).all()
        assert layer.weight.node.touched.numbers.tolist() == [3]
        optimizer.zero_grad(set_to_none=False)
        assert not memory[:10].any() and np.isnan(memory[10:]).all()
        assert layer.weight.node.touched.numbers.tolist() == []


def test_lazy_adam_leaves_rows_and_their_averages_alone():
    layer = nn.Embedding(6, 2, sparse=True, dtype="float64")
    optimizer = optim.SparseAdam(layer.parameters(), lr=0.1)
    step = tg.TrainStep(lambda k: (layer(k) ** 2).sum(), optimizer)
    step([0, 1])
    before, averages = layer.weight.numpy(), optimizer.state[layer.weight]["exp_avg"].copy()
    step([1, 2])
    moved = (layer.weight.numpy() != before).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [1, 2]
    assert np.flatnonzero((optimizer.state[layer.weight]["exp_avg"] != averages).any(axis=1)).tolist() == [1, 2]
    assert optimizer.state_dict()["state"][0]["step"] == 2


def test_lazy_adam_takes_layers_beside_the_tables():
    """With beta at which bias correction is exact, one step is lr g / (|g| + eps / sqrt(1 - beta2))."""
    table, layer = nn.Embedding(5, 3, sparse=True, dtype="float64"), nn.Linear(3, 1, dtype="float64")
    model = nn.Sequential(table, layer)
    optimizer = optim.SparseAdam(model.parameters(), lr=0.1, eps=1e-12)
    before = [p.numpy() for p in model.parameters()]
    tg.TrainStep(lambda k: model(k).sum(), optimizer)([4, 2])
    for parameter, old in zip(model.parameters(), before):
        gradient = parameter.grad.numpy()
        np.testing.assert_allclose(parameter.numpy(), old - 0.1 * np.sign(gradient), atol=1e-8)


# ------------------------------------------------------------------ where it cannot be


@pytest.mark.parametrize("kind, options", [
    ("Adam", {}), ("AdamW", {}), ("RMSprop", {}), ("Adadelta", {}), ("NAdam", {}), ("SGD", {"weight_decay": 0.1}),
    ("Adagrad", {"weight_decay": 0.1})])
def test_other_optimizers_name_sparse_adam(kind, options):
    layer = nn.Embedding(6, 2, sparse=True)
    before = layer.weight.numpy()
    optimizer = getattr(optim, kind)(layer.parameters(), **options)
    with pytest.raises(GradientError, match=rf"{kind}.*\[6, 2\].*SparseAdam"):
        tg.TrainStep(lambda k: layer(k).sum(), optimizer)([1])
    layer([0]).sum().backward()
    with pytest.raises(GradientError, match="SparseAdam"):
        optimizer.step()
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_a_list_that_comes_after_the_optimizer_is_seen():
    w = tg.tensor(np.ones((6, 2)), requires_grad=True)
    adam, sgd = optim.Adam([w]), optim.SGD([w], lr=0.5)
    nn.functional.embedding([1], w).sum().backward()
    sgd.step()
    assert w.numpy()[1].tolist() == [0.5, 0.5]
    sgd.zero_grad()
    nn.functional.embedding([2], w, sparse=True).sum().backward()
    with pytest.raises(GradientError, match="SparseAdam"):
        adam.step()
    sgd.step()
    assert w.numpy()[:, 0].tolist() == [1, 0.5, 0.5, 1, 1, 1]
    sgd.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(GradientError, match="SGD with weight_decay"):
        sgd.step()


def test_frozen_tables_stand_in_any_optimizer():
    table, layer = nn.Embedding(6, 2, sparse=True), nn.Linear(2, 1)
    table.freeze()
    optimizer = optim.Adam([*table.parameters(), *layer.parameters()])
    step = tg.TrainStep(lambda k: layer(table(k)).sum(), optimizer)
    step([1, 2])
    table.unfreeze()
    with pytest.raises(GradientError, match="SparseAdam"):
        step([1, 2])


def test_lazy_adam_checks_its_arguments():
    w = tg.tensor(np.ones((2, 2)), requires_grad=True)
    for bad in ({"lr": 0.0}, {"eps": 0.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}):
        with pytest.raises(ArgumentError):
            optim.SparseAdam([w], **bad)
