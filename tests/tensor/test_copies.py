"""Copies and pickles are by value: of tensors, models, what trains them, reports, data, and functions that record."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import data, nn, optim


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


BOTH = pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
ALL = pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])


# ------------------------------------------------------------------ tensors


@ALL
@pytest.mark.parametrize("values", [np.float32(2.5), np.arange(6.0).reshape(2, 3), np.zeros((0, 3), np.float32),
                                    np.arange(3), np.array([True, False])], ids=lambda v: f"{v.dtype}{v.shape}")
def test_the_copy_of_a_tensor_has_values_of_its_own(duplicate, values):
    t = tg.tensor(values)
    twin = duplicate(t)
    assert twin.dtype is t.dtype and twin.shape == t.shape and not twin.requires_grad
    np.testing.assert_array_equal(twin.numpy(), values)
    t.copy_(np.zeros_like(values))
    np.testing.assert_array_equal(twin.numpy(), values)


@ALL
def test_the_copy_of_a_leaf_is_a_leaf_that_trains_by_itself(duplicate):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    twin = duplicate(x)
    assert twin.requires_grad and twin.is_leaf
    (twin * twin).sum().backward()
    assert x.grad is None
    np.testing.assert_array_equal(twin.grad.numpy(), [2.0, 4.0])


def test_a_deep_copy_has_a_gradient_of_its_own_and_a_pickle_none():
    """As PyTorch 2.13 has it, whose parameters are copied without their gradients."""
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * 3.0).sum().backward()
    twin = copy.deepcopy(x)
    x.grad = None
    np.testing.assert_array_equal(twin.grad.numpy(), [3.0, 3.0])
    assert pickled(twin).grad is None and copy.deepcopy(nn.Parameter(twin)).grad is None


@BOTH
@pytest.mark.parametrize("result", [lambda x: tg.exp(x), lambda x: x[::-1, 1:], lambda x: x.T, lambda x: x[0, 0]])
def test_views_and_results_without_history_are_copied_as_they_are(duplicate, result):
    x = tg.tensor(np.random.default_rng(0).normal(size=(5, 7)))
    t = result(x)
    expected = t.numpy()
    twin = duplicate(t)
    np.testing.assert_array_equal(twin.numpy(), expected)
    np.testing.assert_array_equal((twin * 2.0).numpy(), expected * 2.0)


@BOTH
def test_tensors_of_one_memory_share_that_of_the_copies(duplicate):
    for whole in (tg.tensor(np.arange(12.0).reshape(3, 4)), tg.exp(tg.tensor(np.zeros((3, 4))))):
        twin, part, same = duplicate((whole, whole[1], whole.detach()))
        twin.copy_(np.full((3, 4), 5.0))
        np.testing.assert_array_equal(part.numpy(), [5.0] * 4)
        np.testing.assert_array_equal(same.numpy(), twin.numpy())
        assert not (whole.numpy()[0] == 5.0).any()


@BOTH
def test_the_view_of_a_leaf_is_a_view_of_the_leafs_copy(duplicate):
    w = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    twin, row = duplicate([w, w[1]])
    (row * row).sum().backward()
    np.testing.assert_array_equal(twin.grad.numpy(), [[0, 0, 0], [6, 8, 10]])
    assert w.grad is None


@BOTH
def test_a_leaf_made_of_a_part_lies_in_the_copy_of_the_whole(duplicate):
    whole = tg.tensor(np.zeros(6))
    part = whole[2:4].requires_grad_()
    twin, leaf = duplicate((whole, part))
    leaf.copy_([1.0, 2.0])
    np.testing.assert_array_equal(twin.numpy(), [0, 0, 1, 2, 0, 0])
    assert not whole.numpy().any()


def test_pickles_of_equal_results_are_equal():
    """What was in memory before does not get into them, so that joblib's caches find what they have kept."""
    x = tg.tensor(np.arange(70.0))
    pickles = set()
    for k in range(4):
        junk = [tg.exp(tg.tensor(np.full(71, float(k)))) for _ in range(20)]
        del junk
        pickles.add(pickle.dumps(tg.sqrt(x)))
    assert len(pickles) == 1


@pytest.mark.parametrize("how", [copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("make", [lambda x: x * 2.0, lambda x: (x * 2.0)[0], lambda x: tg.exp(x).sum()])
def test_a_recorded_tensor_is_no_leaf_and_an_error_that_names_the_line_and_detach(how, make):
    y = make(tg.tensor([1.0, 2.0], requires_grad=True))
    with pytest.raises(tg.GradientError, match=r"test_copies\.py:\d+.*leaves.*detach\(\)") as caught:
        how([y])
    assert isinstance(caught.value, RuntimeError)  # as PyTorch's
    np.testing.assert_array_equal(copy.deepcopy(y.detach()).numpy(), y.numpy())


def test_the_shallow_copy_of_a_recorded_tensor_keeps_its_history():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (copy.copy(x * x) * 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0])


@ALL
@pytest.mark.parametrize("part", [lambda x: x, lambda x: x[1:]])
def test_within_a_function_that_is_differentiated_a_copy_of_its_argument_is_an_error(duplicate, part):
    with pytest.raises(tg.GradientError, match=r"test_copies\.py:\d+.*detach\(\)"):
        tg.grad(lambda x: (duplicate(part(x)) * x[1:]).sum())(np.array([1.0, 3.0]))


def test_the_shallow_copy_of_a_result_counts_in_the_gradient():
    gradient = tg.grad(lambda x: (copy.copy(x * 2.0) * x).sum())  # of 2 x^2
    np.testing.assert_array_equal(gradient(np.array([1.0, 3.0])), [4.0, 12.0])


def test_within_a_recording_a_copy_is_an_error_that_says_so():
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    model = nn.Linear(2, 1)
    for function in (lambda x: x * copy.deepcopy(p), lambda x: copy.deepcopy(model)(x),
                     lambda x: copy.deepcopy(x) * 2.0, lambda x: x * copy.copy(p)):
        with pytest.raises(tg.CaptureError, match="recording"):
            tg.compile(function)(np.ones((1, 2), np.float32))
    fast = tg.compile(tg.value_and_grad(lambda x: (copy.copy(x) * x).sum()))
    np.testing.assert_array_equal(fast(np.array([3.0]))[1], [6.0])


def test_a_tape_is_an_error_that_says_so():
    with tg.Tape() as tape:
        tg.exp(tg.tensor([1.0], requires_grad=True))
    step = tg.TrainStep(lambda x: (nn.Parameter([1.0]) * x).sum(), optim.SGD([nn.Parameter([1.0])], lr=0.1))
    for how in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(tg.errors.CopyError, match="tape"):
            how(tape)
    assert step.history.loss.size == 0


def test_a_pickle_is_read_in_another_process(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model(tg.tensor(np.ones((5, 3), np.float32)))
    whole = tg.tensor(np.arange(6.0))
    (tmp_path / "things").write_bytes(pickle.dumps((model, whole, whole[::2], tg.exp(whole))))
    program = ("import pickle, sys\n"
               "model, whole, part, result = pickle.load(open(sys.argv[1], 'rb'))\n"
               "whole.copy_(whole * 2.0)\n"
               "print(part.tolist(), result.numpy()[1].round(6), model[1].running_mean.numpy().sum().item())\n")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "things")], capture_output=True, text=True,
                          check=True)
    mean = model[1].running_mean.numpy().sum().item()
    assert done.stdout.split() == ["[0.0,", "4.0,", "8.0]", "2.718282", f"{mean}"]


# ------------------------------------------------------------------ modules


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.table.weight
        self.register_buffer("scale", np.full(4, 0.5, np.float32), persistent=False)
        self.frozen = nn.Linear(4, 4).freeze()
        self.shape = (4, 7)

    def forward(self, k):
        return self.out(self.frozen(self.norm(self.table(k)) * self.scale))


@BOTH
def test_the_copy_of_a_model_has_parameters_buffers_and_running_statistics_of_its_own(duplicate):
    model, k = Tied(), np.array([0, 3, 3, 5])
    model(k)
    model.table.weight.note = "kept"
    before = model.state_dict()
    twin = duplicate(model)
    assert twin.out.weight is twin.table.weight is not model.table.weight and twin.table.weight.note == "kept"
    assert not twin.frozen.weight.requires_grad and twin.table.weight.requires_grad and twin.shape == (4, 7)
    assert repr(twin) == repr(model) and "scale" not in twin.state_dict()
    optimizer = optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(3):
        F.cross_entropy(twin(k), k).backward()
        optimizer.step()
    twin.norm.running_var.copy_(np.zeros(4))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert all(p.grad is None for p in model.parameters())
    assert not np.array_equal(twin.norm.running_mean.numpy(), model.norm.running_mean.numpy())


@BOTH
def test_the_copy_of_a_model_that_an_optimiser_holds_is_held_by_none(duplicate):
    model = nn.Linear(2, 2)
    optim.Adam(model.parameters())
    twin = duplicate(model).double()
    assert twin.weight.dtype == np.float64 and model.weight.dtype == np.float32
    np.testing.assert_array_equal(twin.weight.numpy(), model.weight.numpy())


def test_a_shallow_copy_has_the_same_parameters_and_names_of_its_own():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    twin = copy.copy(model)
    assert twin[0] is model[0]
    twin.append(nn.Linear(2, 3))
    twin.register_buffer("seen", np.zeros(1))
    assert len(model) == 2 and "seen" not in model.state_dict() and len(list(twin.parameters())) == 4
    fast = tg.compile(twin)
    assert fast(np.ones((1, 2), np.float32)).shape == (1, 3)
    twin.append(nn.Linear(3, 1))
    assert fast(np.ones((1, 2), np.float32)).shape == (1, 1)


@BOTH
def test_a_table_whose_gradient_lists_rows_still_does(duplicate):
    table = nn.Embedding(50, 3, sparse=True)
    optimizer = optim.SparseAdam(table.parameters(), lr=0.1)
    step = tg.TrainStep(lambda k: table(k).square().sum(), optimizer)
    step(np.array([4, 9]))
    twin, other = duplicate((table, optimizer))
    for k in ([3, 14], [14, 15]):
        mine, theirs = step(np.array(k)), tg.TrainStep(lambda k: twin(k).square().sum(), other)(np.array(k))
        assert mine == theirs
    assert twin.weight.node.touched.numbers.tolist() == [14, 15]
    np.testing.assert_array_equal(twin.weight.numpy(), table.weight.numpy())


# ------------------------------------------------------------------ functions that record


def cube(x):
    return (x * x * x).sum()


@tg.compile
def decorated(x):
    return x * 2.0


def bent(x, y):
    for k in range(x.size):
        y[k] = 2.0 * x[k]


def bent_adjoint(g, dx):
    for k in range(g.size):
        dx[k] += 2.0 * g[k]


@ALL
def test_a_compiled_function_is_copied_as_its_recipe_and_recorded_again(duplicate):
    fast = tg.compile(tg.value_and_grad(cube))
    fast(np.array([2.0]))
    twin = duplicate(fast)
    assert twin is not fast and twin.recordings == 0
    value, gradient = twin(np.array([2.0]))
    assert value == 8.0 and gradient == [12.0] and twin.recordings == 1 and fast.recordings == 1


@BOTH
def test_a_compiled_model_is_copied_with_the_model(duplicate):
    model = nn.Linear(2, 1)
    fast = tg.compile(model)
    x = np.ones((1, 2), np.float32)
    before = fast(x).item()
    twin, other = duplicate((model, fast))
    twin.weight.copy_(np.zeros((1, 2)))
    twin.bias.copy_([7.0])
    assert other(x).item() == 7.0 and fast(x).item() == before


@ALL
def test_decorated_functions_travel_by_name(duplicate):
    assert duplicate(decorated) is decorated
    assert duplicate([decorated])[0](np.array([3.0])).tolist() == [6.0]


@ALL
@pytest.mark.parametrize("make, expected", [(lambda: tg.grad(cube), 12.0), (lambda: tg.compile(tg.grad(cube)), 12.0)])
def test_transformations_are_copied_as_their_recipe(duplicate, make, expected):
    assert duplicate(make())(2.0) == expected


@ALL
def test_an_op_of_the_users_is_copied_as_its_recipe(duplicate):
    twin = duplicate(tg.custom_op(bent, bent_adjoint, name="twice"))
    x = tg.tensor([1.0, -3.0], requires_grad=True)
    y = twin(x)
    y.sum().backward()
    assert twin.name == "twice" and y.tolist() == [2.0, -6.0] and x.grad.tolist() == [2.0, 2.0]


class Loss:
    """A loss that holds its model, as a pickle can."""

    def __init__(self, model):
        self.model = model

    def __call__(self, x, y):
        return ((self.model(x) - y) ** 2).mean()


def _training(seed=0):
    tg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(24, 3)).astype("f4"), rng.normal(size=(24, 2)).astype("f4")
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.05, max_grad_norm=0.5)
    return model, optimizer, optim.lr_scheduler.StepLR(optimizer, 3, 0.5, interval="step"), x, y


@BOTH
def test_the_copy_of_a_training_goes_on_as_the_original_would_and_leaves_it_alone(duplicate):
    model, optimizer, schedule, x, y = _training()
    step = tg.TrainStep(Loss(model), optimizer, accumulate=2)
    step.run(x, y, batch_size=8, epochs=2, shuffle=False)
    twin, twins_optimizer, twins_schedule, other = duplicate((model, optimizer, schedule, step))
    np.testing.assert_array_equal(other.history.loss, step.history.loss)
    assert other.optimizer is twins_optimizer and other.loss_fn.model is twin and other.recordings == 0
    assert twins_optimizer.schedulers == [twins_schedule] and twins_schedule.optimizer is twins_optimizer
    held = [p.numpy() for p in model.parameters()]
    theirs = other.run(x, y, batch_size=8, epochs=2, shuffle=False).loss
    for p, values in zip(model.parameters(), held):
        np.testing.assert_array_equal(p.numpy(), values)
    assert schedule.get_last_lr() == [0.05 * 0.5**2] and twins_schedule.get_last_lr() == [0.05 * 0.5**4]
    np.testing.assert_array_equal(step.run(x, y, batch_size=8, epochs=2, shuffle=False).loss, theirs)
    for p, q in zip(model.parameters(), twin.parameters()):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_the_shallow_copy_of_a_step_trains_the_same_model():
    model, optimizer, _, x, y = _training()
    step = tg.TrainStep(Loss(model), optimizer)
    first = step(x, y)
    assert copy.copy(step)(x, y) < first and optimizer.param_groups[0]["lr"] == 0.05


def test_a_copied_step_whose_loss_closes_over_the_original_model_is_an_error_that_says_so():
    model, optimizer, _, x, y = _training()
    step = tg.TrainStep(lambda x, y: ((model(x) - y) ** 2).mean(), optimizer)
    step(x, y)
    before = [p.numpy() for p in model.parameters()]
    with pytest.raises(tg.GradientError, match="copied TrainStep.*still calls that model"):
        copy.deepcopy(step)(x, y)
    for p, values in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.numpy(), values)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(step)


# ------------------------------------------------------------------ reports, data, errors


def _reports():
    model, optimizer, _, x, y = _training()
    model[0].freeze()
    step = tg.TrainStep(Loss(model), optimizer)
    history = step.run(x, y, batch_size=8)
    return {"history": history, "memory": step.memory(), "profile": step.profile(x, y, seconds=0.01),
            "live": tg.memory_report() if not isinstance(tg.memory_report, type) else None,
            "loaded": model.load_state_dict(model.state_dict())}


@ALL
def test_reports_are_copied_by_value(duplicate):
    for name, report in _reports().items():
        twin = duplicate(report)
        assert str(twin) == str(report), name
    history = tg.History(np.ones(3))
    twin = duplicate(history)
    history.loss = np.zeros(3)
    assert twin.loss.tolist() == [1.0] * 3


@BOTH
def test_datasets_and_what_changes_them_are_copied_by_value(duplicate):
    x = np.arange(2 * 1 * 6 * 6.0).reshape(2, 1, 6, 6)
    changes = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(4, padding=1), data.Normalize([0.5], [2.0]),
                            data.GaussianNoise(0.1), data.RandomAffine(10)])
    dataset = data.ArrayDataset(x, [7, 8], transform=changes)
    twin = duplicate(dataset)
    for a, b in zip(data.batches(dataset, 2, seed=1), data.batches(twin, 2, seed=1)):
        np.testing.assert_array_equal(a[0], b[0])
    x[:] = 0.0
    assert twin[1][0].max() == 71.0


def test_memory_mapped_rows_stay_in_their_files(tmp_path):
    rows = np.arange(300_000.0).reshape(-1, 3)
    for k in (0, 1):
        np.save(tmp_path / f"{k}.npy", rows + k)
    whole = np.load(tmp_path / "0.npy", mmap_mode="r")
    shards = data.ArrayDataset([tmp_path / "0.npy", tmp_path / "1.npy"])
    for dataset in (shards, data.ArrayDataset(whole)):
        text = pickle.dumps(dataset)
        assert len(text) < 2000, "the rows are in it"
        for twin in (pickle.loads(text), copy.deepcopy(dataset)):
            np.testing.assert_array_equal(twin[len(dataset) - 1][0], dataset[len(dataset) - 1][0])
    part = data.ArrayDataset(whole[10:12, ::2])
    np.testing.assert_array_equal(pickled(part)[:][0], rows[10:12, ::2])


@BOTH
def test_errors_cross_to_another_process(duplicate):
    for name in tg.errors.__all__:
        error = duplicate(getattr(tg.errors, name)("said"))
        assert type(error).__name__ == name and str(error) == "said"
    error = duplicate(tg.errors.ExpressionError("said", "1 + ", 4))
    assert str(error) == "said\n1 + \n    ^" and (error.reason, error.place) == ("said", "1 + \n    ^")
