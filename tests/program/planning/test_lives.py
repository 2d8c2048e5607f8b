"""What a recording keeps alive, and for how long."""

import gc
import os
import weakref

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

X = np.random.default_rng(3).normal(size=(16, 8)).astype(np.float32)
Y = np.random.default_rng(4).integers(0, 3, 16)


def trained():
    """A model with its optimiser and a step that was run; the loss refers to the model."""
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optimizer)
    return model, optimizer, step


def called(model, optimizer, step):
    step(X, Y)
    step(X, Y)


def called_for_epochs(model, optimizer, step):
    step.run(X, Y, batch_size=6, epochs=2, seed=0)


def inspected(model, optimizer, step):
    step(X, Y)
    str(step.tape), step.memory(), step.profile(X, Y, seconds=0.01)


def read(model, optimizer, step):
    step(X, Y)
    return [p.grad for p in model.parameters()]


@pytest.fixture(scope="module")
def compiled():
    """Kernels: a first compilation by numba leaves frames behind that only the collector frees."""
    inspected(*trained())
    FUNCTIONS["gradient"](nn.Linear(8, 3))(np.ones((2, 8), np.float32))


@pytest.fixture(autouse=True)
def no_collector(compiled):
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("use", [called, called_for_epochs, inspected, read])
def test_a_dropped_step_is_freed_at_once_with_its_model_and_arena(use):
    model, optimizer, step = trained()
    use(model, optimizer, step)
    watched = {"step": step, "optimizer": optimizer, "model": model, "layer": model[0], "weight": model[0].weight,
               "leaf": model[0].weight.node, "program": step._last.program, "tape": step.tape}
    references = {name: weakref.ref(thing) for name, thing in watched.items()}
    arena = weakref.ref(step._last.program.arena)
    del model, optimizer, step, watched
    assert [name for name, reference in references.items() if reference() is not None] == []
    assert arena() is None


FUNCTIONS = {
    "plain": lambda model: lambda x: model(x),
    "gradient": lambda model: tg.value_and_grad(lambda x: model(x).sum()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("rows", [16, 20_000])  # of which the larger are read and written where they are
def test_a_dropped_compiled_function_is_freed_at_once_with_its_model_and_arena(name, rows):
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    fast = tg.compile(FUNCTIONS[name](model))
    x = np.ones((rows, 8), np.float32)
    fast(x)
    fast(x)
    references = [weakref.ref(t) for t in (fast, model, model[0].weight, fast._last.program, fast._last.program.arena)]
    del fast, model
    assert [reference() for reference in references] == [None] * 5


@pytest.mark.parametrize("compiled", [True, False])
def test_what_a_function_of_trees_is_given_and_gives_dies_with_the_last_name_of_it(compiled):
    f = tg.value_and_grad(lambda tree: (tree["w"] * tree["b"][0]).sum())
    if compiled:
        f = tg.compile(f)
    tree = {"w": np.ones(3), "b": [np.ones(3), np.ones(3)]}
    gradients = f(tree)[1]
    given, got = weakref.ref(tree["b"][0]), weakref.ref(gradients["w"])
    del tree, gradients
    assert given() is None and got() is None


def test_a_view_of_a_result_outlives_what_computed_it():
    model, optimizer, step = trained()
    step(X, Y)
    gradients = read(model, optimizer, step)
    before = [g.numpy() for g in gradients]
    del model, optimizer, step
    np.zeros(1 << 20)  # over what was freed
    for gradient, values in zip(gradients, before):
        np.testing.assert_array_equal(gradient.numpy(), values)


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident size is read from /proc")
def test_a_thousand_models_recorded_and_dropped_leave_memory_flat():
    def one():
        called(*trained())
        fast = tg.compile(tg.value_and_grad(lambda x: (x * x).sum()))
        fast(np.ones(20_000))

    for _ in range(20):
        one()
    before = resident_bytes()
    for _ in range(1000):
        one()
    assert resident_bytes() - before < 3 << 20  # kept, one alone would be 100 KiB


def test_parameters_that_a_dropped_step_has_changed_are_still_known_as_changed():
    w = nn.Parameter(np.array([2.0], np.float32))
    optimizer = optim.SGD([w], lr=0.1)
    y = (w * w).sum()
    step = tg.TrainStep(lambda x: (w * x).sum(), optimizer)
    step(np.ones(1, np.float32))
    del step
    with pytest.raises(tg.TapegradError, match="in place|changed"):
        y.backward()
