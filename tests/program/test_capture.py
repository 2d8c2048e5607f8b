"""Recordings that are interrupted while they are made."""

import gc
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.tape.state import Modes, state

pytestmark = pytest.mark.compiled


def compiled():
    x = np.arange(3.0)
    return lambda: tg.compile(lambda a: tg.tanh(a) * a)(x)


def step():
    model = nn.Linear(3, 2)
    step = tg.TrainStep(lambda x: model(x).square().sum(), optim.SGD(model.parameters(), lr=0.1))
    return lambda: step(np.ones((4, 3), np.float32))


def memory():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[0].freeze()
    step = tg.TrainStep(lambda x: model(x).square().sum(), optim.SGD(model.parameters(), lr=0.1))
    return lambda: (step(np.ones((4, 3), np.float32)), step.memory())


@pytest.mark.parametrize("made", [compiled, step, memory])
def test_ctrl_c_at_any_line_that_records_leaves_no_recording_open(made):
    """The line of a ``with`` is gone through once more when it is left, before `__exit__`."""
    names = ("_record", "_record_as", "_unfrozen")

    def interrupted(number):
        lines, recording = 0, made()

        def trace(frame, event, argument):
            nonlocal lines
            if frame.f_code.co_name in names:
                if event == "line":
                    lines += 1
                    if lines == number:
                        sys.settrace(None)
                        raise KeyboardInterrupt
                return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            recording()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        return lines

    made()()
    every = interrupted(0)
    assert every > 5
    for number in range(1, every + 1):
        interrupted(number)
        assert state.capture is None and state.grad_enabled and gc.isenabled() and Modes.recordings == 0
    made()()
