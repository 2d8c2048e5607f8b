"""`Monitor`: values, adjoints, gradients and updates of a training run, layer by layer, at chosen steps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from os import PathLike
from typing import Any

from ...errors import ArgumentError, GradientError
from ...program.planning.report import Rows
from ...program.running.step import Step
from ..limits import DEAD, EXPLODING, SATURATED, VANISHING
from .figures import Finding, Limits, Sample
from .watch import Watch

__all__ = ["Monitor"]


class Monitor:
    """Looks into a training run at chosen steps; given to `TrainStep.run` as `monitor`.

    At such a step a twin of the recording runs in which every value and every adjoint stays; the others run as they
    would. Results are the same to the bit. If a loss is infinite or NaN, that step is looked into as well.

    Parameters
    ----------
    every : int, default 100
        Look into steps 0, `every`, 2 `every`, and so on, counted over all runs.
    steps : iterable of int, optional
        Further steps.
    vanishing, exploding : float
        A layer is flagged if its output's adjoints are smaller or larger than that, by root mean square, relative to
        those of the layer nearest to the loss whose output has several elements.
    dead, saturated : float
        A layer is flagged from this share of units on that are not active for any row of the batch (relu; a unit is a
        channel of images, else an element of the last axis), or of elements on at which the slope of a sigmoid or
        a tanh is below a hundredth of its greatest.

    Attributes
    ----------
    samples : list of Sample
    step : int
        Steps so far.

    Notes
    -----
    The twin holds all values and adjoints of a step at once. With ``accumulate`` they are those of the last
    micro-batch. Gradients are as the update used them, clipped if the optimiser clips. Weights are those before the
    update. A histogram has 16 bins from the least to the greatest element; of a large array it counts 2,048 elements
    that are evenly spaced over it, in pieces.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn, optim
    >>> tg.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> step = tg.TrainStep(lambda x, y: ((model(x) - y) ** 2).mean(), optim.SGD(model.parameters(), lr=0.1))
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> monitor = tg.Monitor(every=50)
    >>> history = step.run(x, x[:, :1], batch_size=16, epochs=50, monitor=monitor)
    >>> monitor.steps
    [0, 50, 100, 150]
    >>> monitor.findings()
    []
    """

    def __init__(self, every: int = 100, *, steps: Iterable[int] = (), vanishing: float = VANISHING,
                 exploding: float = EXPLODING, dead: float = DEAD, saturated: float = SATURATED) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentError(f"every must be a positive integer, not {every!r}")
        self.every, self.samples, self.step = every, list[Sample](), 0
        self._further = sorted({int(k) for k in steps}, reverse=True)
        self._limits = Limits(vanishing, exploding, dead, saturated)
        self._watches: dict[Step, Watch] = {}
        self._broken = self._now = False
        self._findings: list[Finding] = []
        self._searched = 0

    # -------------------------------------------------------------- called by the run

    def left(self) -> int:
        """Steps until the next one that is looked into."""
        if self._now:
            return 0
        while self._further and self._further[-1] < self.step:
            self._further.pop()
        left = -self.step % self.every
        return min(left, self._further[-1] - self.step) if self._further else left

    def passed(self, steps: int) -> None:
        """So many steps have been made."""
        self.step += steps

    def stopped(self) -> None:
        """The loss of the next step is infinite or NaN."""
        self._now = self._broken = True

    def watches(self, step: Step) -> bool:
        """Whether to stop at such a loss: the first time, unless the forward walk of `step` leaves a state behind."""
        return not self._broken and not step.program.written

    def begin(self, step: Step) -> Step:
        """The twin of a step, which runs in its place."""
        watch = self._watches.get(step)
        if watch is None:
            watch = self._watches[step] = Watch(step)
        watch.copy_weights()
        return watch.kept

    def end(self, step: Step, loss: float) -> None:
        """It has run."""
        watch = self._watches[step]
        watch.measure()
        self.samples.append(Sample(self.step, loss, watch, self._limits))
        self._now = False
        self._broken = self._broken or not math.isfinite(loss)
        self.step += 1

    # -------------------------------------------------------------- results

    @property
    def steps(self) -> list[int]:
        """Numbers of the steps that were looked into."""
        return [sample.step for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def latest(self) -> Sample:
        """The last sample."""
        if not self.samples:
            raise GradientError("nothing has been monitored yet: pass the monitor to step.run(...)")
        return self.samples[-1]

    def findings(self) -> list[Finding]:
        """What is wrong, each when it was first seen: a NaN, an infinity, a gradient that vanishes or explodes once.

        Dead and saturated units are told for each layer.
        """
        for sample in self.samples[self._searched:]:
            seen = {_kind(finding) for finding in self._findings}
            self._findings += [found for found in sample.findings() if _kind(found) not in seen]
        self._searched = len(self.samples)
        return list(self._findings)

    def table(self) -> Rows:
        """The last sample, a row a layer: norms of its output, of its adjoints, of the gradients, update to weight."""
        sample = self.latest()
        rows = []
        for layer, flags in zip(sample.watch.layers, sample.flags):
            ratios = [f"{sample.ratio(p):.3g}" for p in layer.parameters]
            rows.append((layer.name, layer.place.op,
                         *("-" if row is None else f"{sample.norm(row):.3g}" for row in (layer.value, layer.adjoint)),
                         f"{sample.gradient(layer):.3g}" if layer.parameters else "-", " ".join(ratios) or "-",
                         " ".join(flags) or "-"))
        return Rows(("layer", "op", "value", "adjoint", "gradient", "update/weight", "flags"), tuple(rows))

    def __str__(self) -> str:
        if not self.samples:
            return "nothing monitored yet"
        return "\n".join([f"step {self.latest().step}, loss {self.latest().loss:.4g}", str(self.table()),
                          *map(str, self.findings())])

    def to_dict(self) -> dict[str, Any]:
        """All samples and findings, as JSON has them: numbers that it lacks are ``"nan"``, ``"inf"`` and ``"-inf"``."""
        return {"schema": 1, "every": self.every, "samples": [sample.to_dict() for sample in self.samples],
                "findings": [finding.to_dict() for finding in self.findings()]}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw norms of values, adjoints and gradients and the update-to-weight ratios, by layer and step.

        Parameters
        ----------
        path : path
            File to write; its suffix gives the format (png, svg, pdf).

        Raises
        ------
        MissingExtraError
            Without matplotlib (``pip install 'tapegrad[viz]'``).
        """
        from .picture import plot

        plot(self, path)

    def html(self, path: str | PathLike[str]) -> None:
        """Write a page that stands alone: findings, and by step the figures and histograms of every layer."""
        from .page import write

        write(self, path)

    def tensorboard(self, folder: str | PathLike[str]) -> None:
        """Write scalars and histograms in TensorBoard's event format.

        Raises
        ------
        MissingExtraError
            Without its library (``pip install 'tapegrad[tensorboard]'``).
        """
        from .events import write

        write(self, folder)


def _kind(finding: Finding) -> tuple[str, ...]:
    """What is told once only."""
    return (finding.flag, finding.layer) if finding.flag in ("dead", "saturated") else (finding.flag,)
