"""Models, data and functions that record go to other processes and threads and come back, whatever sends them there."""

import multiprocessing

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
Y = (X @ np.arange(6) > 0).astype(np.int64)


def make_model(seed):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


class Loss:
    def __init__(self, model):
        self.model = model

    def __call__(self, x, y):
        return F.cross_entropy(self.model(x), y)


def make_step(seed):
    model = make_model(seed)
    return tg.TrainStep(Loss(model), optim.Adam(model.parameters(), lr=0.05))


def trained(step):
    """Train for some epochs; the model and what the losses were."""
    history = step.run(X, Y, batch_size=10, epochs=3, shuffle=False)
    return step.loss_fn.model, history


def evaluated(model, x):
    """A result of a model, define-by-run and compiled."""
    model.eval()
    values = model(x).numpy()
    np.testing.assert_allclose(tg.compile(model)(x).numpy(), values, rtol=1e-6)
    return values


def normed(t):
    """A tensor that is computed from a leaf; its history cannot leave the process."""
    return (t * t).sum() if t.requires_grad else tg.sqrt((t * t).sum())


def expected():
    """Steps of three seeds, and what comes of training them here."""
    return [trained(make_step(seed)) for seed in range(3)]


def check(results):
    for (model, history), (want, losses) in zip(results, expected(), strict=True):
        np.testing.assert_array_equal(history.loss, losses.loss)
        for (name, value), other in zip(model.state_dict().items(), want.state_dict().values(), strict=True):
            np.testing.assert_array_equal(value, other, err_msg=name)
        np.testing.assert_array_equal(evaluated(model, X), evaluated(want, X))


METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]


@pytest.mark.machine
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_what_a_pool_of_processes_trains_is_what_is_trained_here(method):
    steps = [make_step(seed) for seed in range(3)]
    before = [p.numpy() for p in steps[0].loss_fn.model.parameters()]
    tg.exp(tg.tensor([1.0], requires_grad=True)).sum().backward()  # kernels that a forked child finds loaded
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map(trained, steps, chunksize=1)
        rows = pool.starmap(evaluated, [(results[0][0], tg.tensor(X)), (results[1][0], X)])
        assert pool.apply(normed, (tg.tensor([3.0, 4.0]),)).item() == 5.0
        with pytest.raises(Exception, match="only leaves have copies"):
            pool.apply(normed, (tg.tensor([3.0, 4.0], requires_grad=True),))
    check(results)
    for k, values in enumerate(rows):
        np.testing.assert_array_equal(values, evaluated(results[k][0], X))
    for p, values in zip(steps[0].loss_fn.model.parameters(), before):
        np.testing.assert_array_equal(p.numpy(), values)


@pytest.mark.machine
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_what_joblib_trains_is_what_is_trained_here(backend):
    joblib = pytest.importorskip("joblib")
    steps = [make_step(seed) for seed in range(3)]
    check(joblib.Parallel(2, backend=backend)(joblib.delayed(trained)(step) for step in steps))
    large = tg.tensor(np.arange(300_000.0))  # which joblib maps into memory that cannot be written
    doubled = joblib.Parallel(2, backend=backend)(joblib.delayed(lambda t: t.copy_(t * 2.0))(t) for t in [large] * 2)
    for t in doubled:
        t[0] = 5.0
        assert t[1].item() in (2.0, 4.0) and t[0].item() == 5.0


@pytest.mark.machine
def test_joblib_sends_closures_with_the_models_that_they_hold():
    joblib = pytest.importorskip("joblib")
    model = make_model(0)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1))
    fast = tg.compile(lambda x: model(x))

    def work(step, fast):
        before = fast(X).numpy()
        return step.run(X, Y, batch_size=40, epochs=2, shuffle=False).loss, before, fast(X).numpy()

    held = [p.numpy() for p in model.parameters()]
    (loss, before, after), = joblib.Parallel(2, backend="loky")([joblib.delayed(work)(step, fast)])
    for p, values in zip(model.parameters(), held):
        np.testing.assert_array_equal(p.numpy(), values)
    expected_loss, expected_before, expected_after = work(step, fast)
    np.testing.assert_array_equal(loss, expected_loss)
    np.testing.assert_array_equal(before, expected_before)
    np.testing.assert_array_equal(after, expected_after)


@pytest.mark.machine
def test_joblib_finds_again_what_it_has_kept_for_equal_tensors(tmp_path):
    joblib = pytest.importorskip("joblib")
    calls = []

    def total(t):
        calls.append(1)
        return float(t.sum())

    kept = joblib.Memory(tmp_path, verbose=0).cache(total)
    for _ in range(2):
        assert kept(tg.sqrt(tg.tensor(np.arange(10.0) ** 2))) == 45.0
    assert kept(tg.tensor(np.arange(10.0) + 1.0)) == 55.0
    assert len(calls) == 2
