"""Counted work of fixed steps against the numbers in work.json, so that a change that makes a step do more is seen.

Nothing is timed. Counted are the instructions and reverse events of a recording, the bytes and products of its
instructions, planned memory, and, within the package, calls that Python makes in a step, in a step define-by-run and
while recording. A number may fall; where one has to rise, or has fallen for good, run this file as a program: it writes
them anew.
"""

import gc
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.cli import works
from tapegrad.program.planning.work import work_of
from tapegrad.program.running.pace import Pace

FILE = Path(__file__).with_name("work.json")
PACKAGE = os.path.dirname(tg.__file__)
NETWORKS = {n.name: n for n in works.NETWORKS.values() if not n.name.startswith(("784", "1024"))}
GRAPH = "300 scalar ops"
#: share by which a number may rise unseen; calls depend a little on Python's version
TOLERANCE = {"calls": 0.05}


def calls_of(call):
    """Calls of and from the package's functions that Python makes in `call()`."""
    count = 0

    def see(frame, event, argument):
        nonlocal count
        if event in ("call", "c_call"):
            file = frame.f_code.co_filename
            count += file.startswith(PACKAGE) and file != works.__file__

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(see)
    try:
        call()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def counted(tape):
    rows = work_of(tape)
    return {"instructions": len(rows), "reverse events": sum(row.reverse_bytes > 0 for row in rows),
            "forward bytes": sum(row.forward_bytes for row in rows),
            "reverse bytes": sum(row.reverse_bytes for row in rows),
            "forward products": sum(row.forward_products for row in rows),
            "reverse products": sum(row.reverse_products for row in rows)}


def network(work):
    tg.manual_seed(0)
    model = work.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, work.optimizer)(model.parameters(), lr=work.lr)
    X, Y = work.data()
    x, y = X[:work.batch].copy(), Y[:work.batch].copy()
    fewer = len(x) // 2
    step = tg.TrainStep(lambda x, y: work.loss(F, model, x, y), optimizer)
    step(x[:fewer], y[:fewer])  # what only the first step does, such as giving parameters their places
    recording = calls_of(lambda: step(x, y))
    replay = calls_of(lambda: step(x, y))
    result = {**counted(step.tape), "peak bytes": step.memory().peak_bytes, "calls in step(x, y)": replay,
              "calls to record": recording - replay}

    def by_run():
        optimizer.zero_grad()
        loss = work.loss(F, model, tg.tensor(x), y)
        loss.backward()
        optimizer.step()

    by_run()
    return {**result, "calls define-by-run": min(calls_of(by_run) for _ in range(3))}


def graph():
    work = works.Scalars(GRAPH, 300, "float32")
    x = work.data()
    tg.compile(tg.value_and_grad(work.function(tg)))(x)
    call = tg.compile(tg.value_and_grad(work.function(tg)))
    recording = calls_of(lambda: call(x))
    replay = calls_of(lambda: call(x))
    return {**counted(call.tape), "calls in call(x)": replay, "calls to record": recording - replay}


def measured(name):
    """Counted in a thread of its own, on whose tapes nothing is left of what ran before; without what the machine's
    speed decides.
    """
    with ThreadPoolExecutor(1) as thread, patch.object(Pace, "_judge", lambda pace, each: None):
        return thread.submit(graph if name == GRAPH else partial(network, NETWORKS[name])).result()


@pytest.mark.compiled
@pytest.mark.machine  # with TAPEGRAD_DEBUG=1 there is more to do
@pytest.mark.parametrize("name", [*NETWORKS, GRAPH])
def test_a_step_does_no_more_than_is_written_down(name):
    expected, actual = json.loads(FILE.read_text())[name], measured(name)
    assert set(actual) == set(expected)
    more = {what: f"{actual[what]:,} instead of {limit:,}" for what, limit in expected.items()
            if actual[what] > limit * (1 + TOLERANCE.get(what.split()[0], 0.0))}
    assert not more, f"{name}: {more}; if that is meant, run {Path(__file__).name} as a program"


def test_products_are_those_of_the_formulas():
    """Of one linear layer, forward 64 x 8 x 3, reverse of weight and input; a convolution; attention of 4 heads."""
    x, w = np.ones((64, 8)), np.ones((3, 8))
    rows = recorded(lambda x, w: F.linear(x, w).sum(), x, w)
    assert (rows[0].op, rows[0].forward_products, rows[0].reverse_products) == ("linear", 64 * 8 * 3, 2 * 64 * 8 * 3)
    assert rows[0].forward_bytes == 8 * (64 * 8 + 3 * 8 + 64 * 3 + 1)  # x, w, y, and the bias that is not there

    image, kernel = np.ones((2, 4, 8, 8)), np.ones((6, 2, 3, 3))
    rows = recorded(lambda x, w: F.conv2d(x, w, groups=2).sum(), image, kernel)
    assert [row.forward_products for row in rows if row.op == "conv"] == [2 * 6 * 36 * 18]

    q, k = np.ones((2, 4, 5, 8)), np.ones((2, 4, 7, 8))
    rows = recorded(lambda q, k: F.scaled_dot_product_attention(q, k, k).sum(), q, k)
    assert [row.forward_products for row in rows if row.op == "attention"] == [2 * 4 * 5 * 7 * 16]

    layer = nn.LSTM(8, 16)
    rows = recorded(lambda x: layer(x)[0].sum(), np.ones((5, 2, 8), np.float32))
    assert [row.forward_products for row in rows if row.op == "lstm"] == [5 * 2 * 4 * 16 * (8 + 16)]


def recorded(function, *arrays):
    call = tg.compile(tg.value_and_grad(function, argnums=tuple(range(len(arrays)))))
    call(*arrays)
    return work_of(call.tape)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: measured(name) for name in (*NETWORKS, GRAPH)}, indent=1) + "\n")
