"""Autotuning: whether a recording runs faster on all threads or on one, measured while it runs.

Threads that share small pieces of work synchronise all the time, and what that costs depends on the machine: between
cores of one chip sharing pays from some microseconds on; between distant ones, or where another process has a core half
of the time, a step can take twice as long as on one thread. Results are the same to the bit either way.
"""

from __future__ import annotations

#: samples between the first two trials of the other way, and at most on one thread and on all; a trial that changes
#: nothing doubles them, or makes them eightfold if the other way was much slower
FIRST, LAST = 2, (64, 256)
#: steps, or seconds, of a sample at least: one step alone says little
STEPS, SECONDS = 16, 1e-3
#: shares of a step's time: how fast the other way must be to be taken, and how slow is much slower, which is also how
#: slow a sample must become for the other way to be tried again
FASTER, SLOWER = 0.95, 1.3


class Pace:
    """Which way the next sample of steps runs.

    Attributes
    ----------
    alone : bool
        Whether on one thread.
    """

    def __init__(self) -> None:
        self.alone = False
        self._tries = False  # whether this sample is a trial of the other way
        self._wait = self._left = FIRST
        self._usual = 0.0  # seconds of a step, the way that was chosen
        self._steps, self._seconds = 0, 0.0  # of this sample so far

    def took(self, steps: int, seconds: float) -> None:
        """Record that `steps` steps took `seconds`."""
        self._steps += steps
        self._seconds += seconds
        if self._steps >= STEPS or self._seconds >= SECONDS:
            each, self._steps, self._seconds = self._seconds / self._steps, 0, 0.0
            self._judge(each)

    def _judge(self, each: float) -> None:
        """Decide after a sample, of whose steps each took `each` seconds."""
        if self._tries:
            self._tries = False
            if each < FASTER * self._usual:
                self._usual, self._wait = each, FIRST
            else:
                more = 8 if each > SLOWER * self._usual else 2
                self.alone = not self.alone
                self._wait = min(more * self._wait, LAST[not self.alone])
            self._left = self._wait
            return
        slower = 0.0 < SLOWER * self._usual < each
        self._usual = each if slower or self._usual == 0.0 else min(each, 1.01 * self._usual)
        self._left -= 1
        if self._left <= 0 or (slower and self._wait - self._left > FIRST):
            self._wait = FIRST if slower else self._wait
            self.alone, self._tries = not self.alone, True
