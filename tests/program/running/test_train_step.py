"""`tg.TrainStep`: one recorded step against define-by-run, and when it is recorded anew."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

RNG = np.random.default_rng(21)
X = RNG.normal(size=(32, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 32)
T = RNG.normal(size=(32, 3)).astype(np.float32)


def network(seed=0, dropout=0.0):
    tg.manual_seed(seed)
    layers = [nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)]
    if dropout:
        layers.insert(2, nn.Dropout(dropout))
    return nn.Sequential(*layers)


def values(model):
    return {name: p.numpy() for name, p in model.named_parameters()}


def by_hand(model, optimizer, loss_fn, batches):
    """Define-by-run training; the losses."""
    losses = []
    for batch in batches:
        loss = loss_fn(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def close(left, right, tolerance=2e-6):
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=tolerance, atol=tolerance, err_msg=name)


# ------------------------------------------------------------------
# the same numbers as define-by-run

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=1e-2),
    "adamw": lambda p: optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_recorded_steps_train_as_define_by_run_does(name):
    recorded, manual = network(), network()
    o, m = OPTIMIZERS[name](recorded.parameters()), OPTIMIZERS[name](manual.parameters())
    step = tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), o)
    batches = [(X[k : k + 16], Y[k : k + 16]) for k in (0, 16)] * 10
    losses = [step(*batch) for batch in batches]
    expected = by_hand(manual, m, lambda x, y: F.cross_entropy(manual(tg.tensor(x)), y), batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    close(values(recorded), values(manual), 2e-5 if name in ("adam", "adamw", "rmsprop") else 2e-6)
    assert step.recordings == 1


def test_the_step_returns_the_loss_before_the_update_as_a_float():
    model = network()
    before = float(F.cross_entropy(model(tg.tensor(X)), Y))
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1))
    first = step(X, Y)
    assert type(first) is float
    np.testing.assert_allclose(first, before, rtol=1e-6)
    assert step(X, Y) < first


def test_gradients_of_the_step_are_readable_afterwards():
    recorded, manual = network(), network()
    tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), optim.SGD(recorded.parameters(), lr=0.1))(X, Y)
    F.cross_entropy(manual(tg.tensor(X)), Y).backward()
    for a, b in zip(recorded.parameters(), manual.parameters()):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_gradients_do_not_accumulate_over_steps():
    model = nn.Linear(2, 1, bias=False)
    step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.0))
    for _ in range(3):
        step(np.ones((4, 2), dtype=np.float32))
        np.testing.assert_array_equal(model.weight.grad.numpy(), [[4.0, 4.0]])


def test_float64_parameters_make_a_float64_step():
    w = tg.tensor(np.zeros((5, 1)), requires_grad=True)
    target = X.astype(np.float64) @ np.arange(5.0)[:, None]
    step = tg.TrainStep(lambda x, y: F.mse_loss(x @ w, y), optim.SGD([w], lr=0.1))
    manual = np.zeros((5, 1))
    x = X.astype(np.float64)
    for _ in range(20):
        step(x, target)
        manual -= 0.1 * 2.0 * x.T @ (x @ manual - target) / 32
    assert w.dtype == np.float64
    np.testing.assert_allclose(w.numpy(), manual, rtol=1e-12)


def test_float64_data_is_cast_to_float32_parameters():
    a, b = network(), network()
    for model, x in ((a, X), (b, X.astype(np.float64))):
        step = tg.TrainStep(
            lambda x, y, model=model: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1)
        )
        for _ in range(3):
            step(x, Y)
    for name, p in values(a).items():
        np.testing.assert_array_equal(p, values(b)[name])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
def test_a_step_takes_any_number_of_inputs(count):
    w = tg.tensor(np.float64(1.0), requires_grad=True)
    inputs = [np.full(2, float(k + 1)) for k in range(count)]

    def loss(*args):
        total = w * w
        for a in args:
            total = total + (w * a).sum()
        return total

    step = tg.TrainStep(loss, optim.SGD([w], lr=1.0))
    np.testing.assert_allclose(step(*inputs), 1.0 + sum(2.0 * (k + 1) for k in range(count)))
    np.testing.assert_allclose(float(w), 1.0 - (2.0 + sum(2.0 * (k + 1) for k in range(count))))


def test_inputs_may_be_lists_tensors_and_scalars():
    w = tg.tensor(np.float64(1.0), requires_grad=True)
    step = tg.TrainStep(lambda a, b, c: (w * a * b).sum() * c, optim.SGD([w], lr=0.0))
    np.testing.assert_allclose(step([1.0, 2.0], tg.tensor(np.array([3.0, 4.0])), 2), 22.0)


def test_the_arguments_of_a_step_are_copied_and_unchanged():
    x = X.copy()
    model = network()
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1))
    step(x, Y)
    np.testing.assert_array_equal(x, X)
    first = step(x, Y)
    x[...] = 0.0
    assert step(x, Y) != first


# ------------------------------------------------------------------
# recorded anew


def make_step(model, **options):
    return tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.05, **options))


def test_another_batch_size_is_recorded_once_and_the_first_is_kept():
    step = make_step(network())
    for n in (32, 16, 32, 16, 7, 32):
        step(X[:n], Y[:n])
    assert step.recordings == 3


def test_another_dtype_of_the_labels_is_no_error():
    step = make_step(network())
    losses = [step(X, Y.astype(d)) for d in (np.int64, np.int32, np.uint8)]
    assert losses[0] > losses[1] > losses[2]


def test_changing_the_mode_changes_the_recording_and_changing_back_does_not():
    model = network(dropout=0.5)
    step = make_step(model)
    step(X, Y)
    model.eval()
    step(X, Y)
    model.train()
    step(X, Y)
    model.eval()
    step(X, Y)
    assert step.recordings == 2


def test_freezing_a_layer_records_anew_and_leaves_its_parameters_alone():
    recorded, manual = network(), network()
    o = optim.SGD(recorded.parameters(), lr=0.05, momentum=0.9)
    m = optim.SGD(manual.parameters(), lr=0.05, momentum=0.9)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), o)

    def both(times):
        for _ in range(times):
            step(X, Y)
        by_hand(manual, m, lambda x, y: F.cross_entropy(manual(tg.tensor(x)), y), [(X, Y)] * times)

    both(3)
    for model in (recorded, manual):
        model[0].freeze()
    frozen = recorded[0].weight.numpy()
    both(3)
    np.testing.assert_array_equal(recorded[0].weight.numpy(), frozen)
    close(values(recorded), values(manual), 1e-5)
    for model in (recorded, manual):
        model[0].unfreeze()
    both(3)
    assert (recorded[0].weight.numpy() != frozen).any()
    close(values(recorded), values(manual), 1e-5)
    assert step.recordings == 2


def test_requires_grad_of_a_single_parameter_counts():
    model = network()
    step = make_step(model)
    step(X, Y)
    model[4].bias.requires_grad_(False)
    kept = model[4].bias.numpy()
    step(X, Y)
    np.testing.assert_array_equal(model[4].bias.numpy(), kept)
    assert step.recordings == 2


def test_loading_a_state_dict_needs_no_new_recording():
    model, other = network(0), network(1)
    step = make_step(model)
    step(X, Y)
    model.load_state_dict(other.state_dict())
    fresh = make_step(other)
    np.testing.assert_allclose(step(X, Y), fresh(X, Y), rtol=1e-6)
    assert step.recordings == 1


def test_a_changed_learning_rate_counts_from_the_next_step():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    o = optim.SGD([w], lr=1.0)
    step = tg.TrainStep(lambda: w * 1.0, o)
    step()
    o.param_groups[0]["lr"] = 0.5
    step()
    assert float(w) == -1.5


def test_an_instruction_count_does_not_grow_with_steps():
    step = make_step(network())
    step(X, Y)
    n = len(step.tape)
    for _ in range(50):
        step(X, Y)
    assert len(step.tape) == n


# ------------------------------------------------------------------
# two steps, two modes


def test_two_train_steps_over_one_model_and_optimizer_take_turns():
    recorded, manual = network(), network()
    o, m = optim.Adam(recorded.parameters(), lr=1e-2), optim.Adam(manual.parameters(), lr=1e-2)
    classify = tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), o)
    regress = tg.TrainStep(lambda x, t: F.mse_loss(recorded(x), t), o)
    for _ in range(5):
        classify(X, Y)
        regress(X, T)
        by_hand(manual, m, lambda x, y: F.cross_entropy(manual(tg.tensor(x)), y), [(X, Y)])
        by_hand(manual, m, lambda x, t: F.mse_loss(manual(tg.tensor(x)), t), [(X, T)])
    close(values(recorded), values(manual), 2e-5)


def test_two_train_steps_over_one_model_with_an_optimizer_each():
    recorded, manual = network(), network()
    pairs = [(recorded, [0]), (recorded, [2, 4])]
    steps = []
    for model, which in pairs:
        parameters = [p for k in which for p in model[k].parameters()]
        o = optim.SGD(parameters, lr=0.05, momentum=0.9)
        steps.append(tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), o))
    manual_o = [
        optim.SGD([p for k in which for p in manual[k].parameters()], lr=0.05, momentum=0.9) for which in ([0], [2, 4])
    ]
    for _ in range(4):
        for step in steps:
            step(X, Y)
        for o in manual_o:
            for p in manual.parameters():
                p.grad = None
            by_hand(manual, o, lambda x, y: F.cross_entropy(manual(tg.tensor(x)), y), [(X, Y)])
    close(values(recorded), values(manual), 1e-5)


def test_define_by_run_and_recorded_steps_mix_on_one_model():
    model, manual = network(), network()
    o, m = optim.SGD(model.parameters(), lr=0.05, momentum=0.9), optim.SGD(manual.parameters(), lr=0.05, momentum=0.9)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), o)
    for k in range(6):
        if k % 2:
            step(X, Y)
        else:
            by_hand(model, o, lambda x, y: F.cross_entropy(model(tg.tensor(x)), y), [(X, Y)])
    by_hand(manual, m, lambda x, y: F.cross_entropy(manual(tg.tensor(x)), y), [(X, Y)] * 6)
    close(values(model), values(manual), 1e-5)


def test_a_parameter_used_twice_gathers_both_gradients():
    w = tg.tensor(np.eye(3), requires_grad=True)
    x = RNG.normal(size=(4, 3))
    tg.TrainStep(lambda a: (a @ w @ w).sum(), optim.SGD([w], lr=0.0))(x)
    g = np.ones((4, 3))
    np.testing.assert_allclose(w.grad.numpy(), x.T @ g + x.T @ g, rtol=1e-13)


def test_a_parameter_that_the_loss_does_not_reach_stays_and_weight_decay_does_not_touch_it():
    used, unused = (tg.tensor(np.ones(2), requires_grad=True) for _ in range(2))
    step = tg.TrainStep(lambda: (used * 2.0).sum(), optim.SGD([used, unused], lr=0.1, weight_decay=0.5, momentum=0.9))
    step()
    step()
    assert unused.numpy().tolist() == [1.0, 1.0]
    assert used.numpy()[0] < 1.0


def test_dropout_draws_anew_each_step_and_repeats_with_the_seed():
    runs = []
    for _ in range(2):
        model = network(3, dropout=0.5)
        step = make_step(model)
        tg.manual_seed(5)
        runs.append([step(X, Y) for _ in range(4)])
    assert runs[0] == runs[1]
    model = network(3, dropout=0.5)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.0))
    assert len({step(X, Y) for _ in range(4)}) == 4


# ------------------------------------------------------------------
# schedules and clipping


@pytest.mark.parametrize("bound", [{"max_grad_norm": 0.05}, {"max_grad_value": 0.01}])
def test_gradient_clipping_works_inside_the_step(bound):
    recorded, manual = network(), network()
    step = tg.TrainStep(lambda x, y: F.cross_entropy(recorded(x), y), optim.SGD(recorded.parameters(), lr=0.5, **bound))
    m = optim.SGD(manual.parameters(), lr=0.5)
    for _ in range(5):
        step(X, Y)
        loss = F.cross_entropy(manual(tg.tensor(X)), Y)
        m.zero_grad()
        loss.backward()
        if "max_grad_norm" in bound:
            optim.clip_grad_norm_(manual.parameters(), bound["max_grad_norm"])
        else:
            optim.clip_grad_value_(manual.parameters(), bound["max_grad_value"])
        m.step()
    close(values(recorded), values(manual), 1e-5)


def test_a_schedule_by_steps_advances_with_each_step():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    o = optim.SGD([w], lr=1.0)
    optim.lr_scheduler.StepLR(o, step_size=2, gamma=0.5, interval="step")
    step = tg.TrainStep(lambda: w * 1.0, o)
    for _ in range(6):
        step()
    assert float(w) == -(1 + 1 + 0.5 + 0.5 + 0.25 + 0.25)


# ------------------------------------------------------------------
# refusals


def test_a_loss_that_is_not_a_scalar_is_an_error_with_its_shape():
    model = network()
    with pytest.raises(tg.TapegradError, match="32, 3|scalar"):
        tg.TrainStep(lambda x: model(x), optim.SGD(model.parameters(), lr=0.1))(X)


def test_a_loss_that_does_not_depend_on_a_parameter_is_an_error():
    model = network()
    with pytest.raises(tg.TapegradError, match="depend"):
        tg.TrainStep(lambda x: (x * x).sum(), optim.SGD(model.parameters(), lr=0.1))(X)


def test_a_model_that_is_frozen_altogether_is_an_error():
    model = network()
    step = make_step(model)
    model.freeze()
    with pytest.raises(tg.TapegradError, match="frozen"):
        step(X, Y)
    model.unfreeze()
    step(X, Y)


@pytest.mark.parametrize("read", [lambda t: float(t), lambda t: bool(t > 0), lambda t: t.numpy(), lambda t: t.item()])
def test_reading_the_loss_inside_is_refused_and_names_the_line(read):
    model = network()

    def loss_fn(x, y):
        loss = F.cross_entropy(model(x), y)
        read(loss)
        return loss

    with pytest.raises(tg.CaptureError, match="test_train_step.py"):
        tg.TrainStep(loss_fn, optim.SGD(model.parameters(), lr=0.1))(X, Y)
    F.cross_entropy(model(tg.tensor(X)), Y).backward()


def test_reading_a_parameter_inside_is_refused():
    model = network()
    with pytest.raises(tg.CaptureError, match="test_train_step.py"):
        tg.TrainStep(
            lambda x, y: F.cross_entropy(model(x), y) * float(model[0].bias.sum()),
            optim.SGD(model.parameters(), lr=0.1),
        )(X, Y)


def test_a_tensor_leaked_out_of_a_step_is_stale():
    model, leaked = network(), []

    def loss_fn(x, y):
        leaked.append(model(x))
        return F.cross_entropy(leaked[-1], y)

    step = tg.TrainStep(loss_fn, optim.SGD(model.parameters(), lr=0.1))
    step(X, Y)
    with pytest.raises(tg.StaleTensorError):
        leaked[0].numpy()
    with pytest.raises(tg.StaleTensorError):
        F.cross_entropy(leaked[0], Y)


def test_a_wrong_label_in_a_step_raises_and_leaves_the_parameters_alone():
    model = network()
    step = make_step(model)
    step(X, Y)
    before = values(model)
    wrong = Y.copy()
    wrong[3] = 7
    with pytest.raises(IndexError, match="7|class|range"):
        step(X, wrong)
    for name, p in values(model).items():
        np.testing.assert_array_equal(p, before[name])
    step(X, Y)


def test_an_exception_inside_the_loss_passes_through_and_the_step_recovers():
    model = network()
    broken = [True]

    def loss_fn(x, y):
        if broken[0]:
            raise ZeroDivisionError("mine")
        return F.cross_entropy(model(x), y)

    step = tg.TrainStep(loss_fn, optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ZeroDivisionError, match="mine"):
        step(X, Y)
    broken[0] = False
    assert step(X, Y) > 0


@pytest.mark.parametrize("make", [lambda o: tg.TrainStep(None, o), lambda o: tg.TrainStep(lambda: None, None)])
def test_a_step_without_function_or_optimizer_is_an_error(make):
    with pytest.raises(tg.TapegradError):
        make(optim.SGD(network().parameters(), lr=0.1))


def test_tape_and_memory_before_the_first_step_are_an_error():
    step = make_step(network())
    for read in (lambda: step.tape, step.memory):
        with pytest.raises(tg.TapegradError, match="step"):
            read()


# ------------------------------------------------------------------
# inspection


def test_the_listing_of_a_step_names_ops_shapes_and_what_they_save():
    step = make_step(network())
    step(X, Y)
    listing = str(step.tape)
    for word in ("linear", "tanh", "relu", "cross_entropy", "f32[32,16]", "saves"):
        assert word in listing, listing


def test_the_memory_report_counts_parameters_gradients_state_and_data_exactly():
    model = network()
    count = sum(p.size for p in model.parameters())
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.Adam(model.parameters(), lr=1e-3))
    step(X, Y)
    report = step.memory()
    assert report.parameter_bytes == 4 * count
    assert report.gradient_bytes == 4 * count
    assert 8 * count <= report.optimizer_bytes <= 8 * count + 64 * 20
    assert report.data_bytes == X.nbytes + Y.nbytes
    assert report.lower_bound_bytes <= report.peak_bytes
    assert report.peak_bytes >= report.parameter_bytes + report.gradient_bytes + report.optimizer_bytes
