"""`TrainStep(memory_budget=)`: within the budget, the same to the bit, and as little computed again as can be."""

import functools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.program.planning.budget import Plan, Stages, _search, budget_bytes
from tapegrad.program.planning.schedule import Operands

ROWS = 512
X = np.random.default_rng(0).normal(size=(ROWS, 32)).astype(np.float32)


def chain(depth=16):
    return nn.Sequential(*[layer for _ in range(depth) for layer in (nn.Linear(32, 32), nn.Tanh())])


class Block(nn.Module):
    """x + a network of x, with a normalisation and random zeros in it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32))

    def forward(self, x):
        return x + self.inner(x)


def residual():
    return nn.Sequential(*[Block() for _ in range(4)])


def trained(make, **options):
    """The step, its losses, and the model's arrays after them."""
    tg.manual_seed(0)
    model = make()
    step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optim.Adam(model.parameters(), lr=0.01), **options)
    losses = [step(X) for _ in range(3)]
    return step, losses, {name: np.array(array) for name, array in model.state_dict().items()}


@pytest.mark.parametrize(("make", "share"), [(chain, 0.9), (chain, 0.4), (chain, 0.25), (residual, 0.9),
                                             (residual, 0.5)])
def test_the_peak_keeps_to_the_budget_and_training_is_the_same_to_the_bit(make, share):
    free, losses, arrays = trained(make)
    report = free.memory()
    budget = int(report.standing_bytes + share * (report.peak_bytes - report.standing_bytes))
    step, again_losses, again_arrays = trained(make, memory_budget=budget)
    assert step.memory().peak_bytes <= budget
    assert step.memory().recomputed > 0 and step.memory().extra > 0.0
    assert losses == again_losses
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again_arrays[name], err_msg=name)


def test_a_budget_that_suffices_computes_nothing_again():
    step, *_ = trained(chain, memory_budget="1 GiB")
    assert step.memory().recomputed == 0


def test_less_costs_more_and_the_smallest_that_is_named_can_be_kept_to():
    free, *_ = trained(chain)
    with pytest.raises(tg.TapeMemoryError, match="smallest that this step can keep to is") as caught:
        trained(chain, memory_budget=free.memory().standing_bytes + 1000)
    smallest = int(str(caught.value).split("keep to is ")[1].split()[0].replace(",", ""))
    step, *_ = trained(chain, memory_budget=smallest)
    assert step.memory().peak_bytes == smallest < 0.6 * free.memory().peak_bytes
    middle, *_ = trained(chain, memory_budget=(smallest + free.memory().peak_bytes) // 2)
    assert 0 < middle.memory().extra < step.memory().extra


@pytest.mark.compiled
@pytest.mark.parametrize("shape", [(), (60_000,)])
def test_the_smallest_budget_that_is_named_can_be_kept_to_where_chains_run_in_strips(shape):
    # what is joined makes the peak, to which strips add a little, and there is nothing to compute again
    x = np.linspace(0.1, 1.0, 60_000, dtype=np.float32)

    def attempt(budget):
        w = nn.Parameter(np.full(shape, 0.5, np.float32))

        def loss(x):
            return tg.concatenate([x + w, x - w, x * w]).mean() + tg.tanh(x * w).mean()

        step = tg.TrainStep(loss, optim.SGD([w], lr=0.1), memory_budget=budget)
        return step, step(x)

    with pytest.raises(tg.TapeMemoryError, match="smallest") as caught:
        attempt(1)
    smallest = int(str(caught.value).split("keep to is ")[1].split()[0].replace(",", ""))
    step, loss = attempt(smallest)
    assert step.memory().peak_bytes == smallest
    assert loss == pytest.approx(float(np.mean(2.5 * x) / 3 + np.mean(np.tanh(0.5 * x))), rel=1e-5)
    with pytest.raises(tg.TapeMemoryError, match=f"{smallest:,}"):
        attempt(smallest - 1)


def test_a_budget_goes_with_micro_batches_and_with_a_checkpoint():
    tg.manual_seed(0)
    model = chain()
    layers = list(model)

    def loss_of(x):
        for first in range(0, len(layers), 8):
            x = tg.checkpoint(lambda x, part: functools.reduce(lambda x, layer: layer(x), part, x), x,
                              layers[first:first + 8])
        return (x ** 2).mean()

    step = tg.TrainStep(loss_of, optim.SGD(model.parameters(), lr=0.1), accumulate=2, memory_budget="1 MB")
    step(X)
    assert step.memory().recomputed > 0
    free, *_ = trained(chain, accumulate=2)
    limit = free.memory().standing_bytes + (free.memory().peak_bytes - free.memory().standing_bytes) // 3
    tight, losses, _ = trained(chain, accumulate=2, memory_budget=limit)
    assert tight.memory().peak_bytes <= limit
    assert losses == trained(chain, accumulate=2)[1]


@pytest.mark.parametrize("given", ["64 bananas", "MiB", "", -1, 0, "0 MiB", 1.5, True, None.__class__, [64]])
def test_what_is_not_a_size_is_refused(given):
    model = chain(1)
    with pytest.raises(ValueError, match="memory_budget must be"):
        tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.1), memory_budget=given)


@pytest.mark.parametrize(("given", "nbytes"), [
    (1000, 1000), ("1000", 1000), ("64MiB", 64 << 20), ("64 MB", 64_000_000), ("1.5gib", 3 << 29), (" .5 kb ", 500),
    (np.int64(7), 7),
])
def test_sizes_are_read_as_people_write_them(given, nbytes):
    assert budget_bytes(given) == nbytes


# ------------------------------------------------------------------ against every schedule there is


@functools.cache
def forests(first, last):
    """Every way to put the instructions from `first` to `last` into nested stretches."""
    if first == last:
        return [[]]
    found = [[first, *rest] for rest in forests(first + 1, last)]
    for end in range(first + 1, last + 1):
        found += [[inside, *rest] for inside in stretches(first, end) for rest in forests(end, last)]
    return found


@functools.cache
def stretches(first, last):
    """The contents of one stretch; a stretch that is all of another one adds nothing."""
    found = [[first, *rest] for rest in forests(first + 1, last)]
    for end in range(first + 1, last):
        found += [[inside, *rest] for inside in stretches(first, end) for rest in forests(end, last)]
    return found


@pytest.mark.parametrize("widths", [(64, 64, 64), (16, 128, 32), (128, 16, 64)])
def test_of_all_schedules_of_a_chain_none_is_faster_within_a_hundredth_less_bytes(widths):
    model = nn.Sequential(*[layer for a, b in zip(widths, widths[1:]) for layer in (nn.Linear(a, b), nn.Tanh())])
    step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.1))
    step(np.zeros((ROWS, widths[0]), np.float32))
    program = step._last.program
    ends = ([t.node.variable for t in program.inputs], [t.node.variable for t in program.outputs],
            program.seed.node.variable, [])
    plain = Plan(Operands(program.tape, program.count), list(range(program.end)), ends)
    every = [(plan.layout.total, plan.extra) for plan in map(plain.other, forests(0, program.end))]
    stages = Stages(plain, program.end)
    for room in sorted({nbytes for nbytes, _ in every}):
        chosen, _ = _search(stages, room)
        best = min((extra for nbytes, extra in every if nbytes <= 0.99 * room), default=None)  # sizes come in levels
        if best is not None:
            assert chosen is not None and chosen.layout.total <= room and chosen.extra <= best + 1e-9, room
