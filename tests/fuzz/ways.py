"""The ways in which tapegrad can run a program. Each is a function of a `Setting`, and says with `check` what it found.

Their text is printed in the scripts of failing programs (`script`), so they use nothing but their world and tapegrad.
"""

from __future__ import annotations

import re

import tapegrad as tg
from tapegrad import optim

RATE = 0.5


def define_by_run(w):
    """Two batches by themselves, and both added up."""
    for t in (0, 1):
        w.restart()
        loss = w.loss_fn(*map(tg.tensor, w.batch(t)))
        loss.backward()
        w.check(t, loss=loss, gradients=w.gradients(), buffers=w.buffers)
    w.restart()
    w.loss_fn(*map(tg.tensor, w.batch(1))).backward()
    w.seed()
    w.rewind()
    w.loss_fn(*map(tg.tensor, w.batch(0))).backward()
    w.check_sum([0, 1], gradients=w.gradients())


def retained(w):
    """Walked back twice: gradients are twice as large."""
    w.restart()
    loss = w.loss_fn(*map(tg.tensor, w.batch(0)))
    loss.backward(retain_graph=True)
    loss.backward()
    w.check_sum([0, 0], gradients=w.gradients())


def transformed(w):
    """`value_and_grad` define by run."""
    w.restart()
    value, gradients = tg.value_and_grad(w.function, argnums=w.argnums)(*w.values(), *map(tg.tensor, w.batch(0)))
    w.check(0, loss=value, gradients=w.named(gradients))


def compiled(w):
    """`compile` of `value_and_grad`, replayed on other batches."""
    recorded = tg.compile(tg.value_and_grad(w.function, argnums=w.argnums))
    for t in (0, 1, 0, 2):
        w.restart()
        value, gradients = recorded(*w.values(), *w.batch(t))
        w.check(t, loss=value, gradients=w.named(gradients), buffers=w.buffers)


def compiled_forward(w):
    """`compile` of the function alone, whose leaves are read where they are."""
    recorded = tg.compile(w.loss_fn)
    for t in (0, 1):
        w.restart()
        w.check(t, loss=recorded(*w.batch(t)), buffers=w.buffers)


def step(w, **options):
    """`TrainStep`: gradients are read from ``.grad`` and from the update."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=RATE), **options)
    for t in (0, 1, 0):
        w.restart()
        before = w.leaf_values()
        loss = train(*w.batch(t))
        w.check(t, loss=loss, gradients=w.gradients(), buffers=w.buffers)
        w.check(t, update=(before, w.leaf_values(), RATE))
    return train


def step_between_walks(w):
    """`TrainStep` with walks define by run between its steps."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=RATE))
    w.restart()
    train(*w.batch(0))
    w.restart()
    w.loss_fn(*map(tg.tensor, w.batch(1))).backward()
    w.check(1, gradients=w.gradients(), buffers=w.buffers)
    w.restart()
    w.check(2, loss=train(*w.batch(2)), gradients=w.gradients(), buffers=w.buffers)


def frozen(w):
    """`TrainStep` with some leaves frozen, then others, then none."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=RATE))
    for names in (*w.frozen, ()):
        for name, leaf in w.leaves.items():
            leaf.requires_grad_(name not in names)
        w.restart()
        before = w.leaf_values()
        loss = train(*w.batch(0))
        w.check(0, loss=loss, gradients={n: g for n, g in w.gradients().items() if n not in names}, buffers=w.buffers)
        w.check(0, update=(before, w.leaf_values(), RATE), frozen=names)


def frozen_by_run(w):
    """Some leaves frozen, define by run."""
    for names in w.frozen:
        for name, leaf in w.leaves.items():
            leaf.requires_grad_(name not in names)
        w.restart()
        loss = w.loss_fn(*map(tg.tensor, w.batch(0)))
        loss.backward()
        gradients = w.gradients()
        w.check(0, loss=loss, gradients={n: g for n, g in gradients.items() if n not in names}, buffers=w.buffers)
        assert all(w.leaves[n].grad is None for n in names)


def by_inputs(w):
    """`autograd.grad` by some leaves, and by all of them: define by run, one walk over what lies between."""
    for names in (*w.frozen, ()):
        wanted = {name: leaf for name, leaf in w.leaves.items() if name not in names}
        w.restart()
        loss = w.loss_fn(*map(tg.tensor, w.batch(0)))
        found = tg.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        gradients = {n: leaf.numpy() * 0.0 if g is None else g.numpy() for (n, leaf), g in zip(wanted.items(), found)}
        w.check(0, loss=loss, gradients=gradients, buffers=w.buffers)
        assert all(leaf.grad is None for leaf in w.leaves.values())


def within_budget(w):
    """`TrainStep` with the least `memory_budget` that it can keep to, and with one between that and what it needs."""
    train = step(w)
    report = train.memory()
    for share in (0.0, 0.5):
        budget = int(report.standing_bytes + share * (report.peak_bytes - report.standing_bytes))
        try:
            tight = step(w, memory_budget=budget)
        except tg.TapeMemoryError as error:
            budget = int(re.search(r"keep to is ([\d,]+)", str(error))[1].replace(",", ""))
            tight = step(w, memory_budget=budget)
        assert tight.memory().peak_bytes <= budget


def accumulated(w):
    """`TrainStep` over micro-batches."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=RATE), accumulate=3)
    for _ in range(2):
        w.restart()
        before = w.leaf_values()
        loss = train(*w.batches([0, 1, 2]))
        w.check_mean([0, 1, 2], loss=loss, gradients=w.gradients())
        w.check_mean([0, 1, 2], update=(before, w.leaf_values(), RATE))


def several_batches(w):
    """`TrainStep.run` over several batches, twice."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=w.small_rate))
    for _ in range(2):
        w.restart()
        history = train.run(*w.batches([0, 1, 2]), batch_size=w.rows, shuffle=False)
        w.check_path([0, 1, 2], losses=history.loss, ends=w.leaf_values(), buffers=w.buffers)


def several_accumulated(w):
    """`TrainStep.run` over several batches of two micro-batches each."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=w.small_rate), accumulate=2)
    w.restart()
    history = train.run(*w.batches([0, 1, 2, 3]), batch_size=2 * w.rows, shuffle=False)
    w.check_path([0, 1, 2, 3], losses=history.loss, ends=w.leaf_values(), micro=2)


def step_after_overwriting(w):
    """Leaves are overwritten between steps."""
    train = tg.TrainStep(w.loss_fn, optim.SGD(w.leaves.values(), lr=RATE))
    for scale in (1.0, 0.75):
        w.restart()
        for leaf in w.leaves.values():
            leaf.copy_(leaf.numpy() * scale)
        values = w.leaf_values()
        loss = train(*w.batch(0))
        w.check(0, loss=loss, gradients=w.gradients(), buffers=w.buffers, leaves=values)


EAGER = (define_by_run, retained, transformed, frozen_by_run, by_inputs)
RECORDED = (compiled, compiled_forward, step, step_between_walks, frozen, within_budget, accumulated, several_batches,
            several_accumulated, step_after_overwriting)
#: ways that need inputs, for their rows are what is split
SPLIT = (accumulated, several_batches, several_accumulated)
WAYS = {way.__name__: way for way in (*EAGER, *RECORDED)}
