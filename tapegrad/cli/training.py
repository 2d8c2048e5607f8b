"""Train a network on a problem and evaluate it on held-out rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import Checkpoint, History, TrainStep, compile, manual_seed, nn
from ..engine.kernels import compile_seconds
from ..nn import functional as F
from .committee import Committee
from .evaluation.scores import scores
from .network import Network, outputs
from .problem import Problem
from .rows import Rows, members_losses, row_losses
from .settings import Settings, freeze
from .stopping import Best

__all__ = ["Result", "Run"]


@dataclass(frozen=True)
class Result:
    """The result of a training run.

    Attributes
    ----------
    score : dict of str to float
        On the held-out rows, or on the training rows if there are none; see `scores`.
    held_out : bool
        Whether the score is on held-out rows.
    loss : float
        Mean over the last epoch's steps.
    steps, samples : int
        Training steps made, and rows seen in them.
    seconds : float
        Of training, without compilation.
    compile_seconds : float
        Spent compiling by this process.
    peak_bytes : int
        Planned memory of a training step.
    parameters, trained_parameters : int
        Number of elements of all parameters, and of the trained ones.
    """

    score: dict[str, float]
    held_out: bool
    loss: float
    steps: int
    samples: int
    seconds: float
    compile_seconds: float
    peak_bytes: int
    parameters: int
    trained_parameters: int

    @property
    def steps_per_second(self) -> float:
        """Training steps a second, without compilation."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def samples_per_second(self) -> float:
        """Rows a second, without compilation."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


class Run:
    """A network, or several whose mean is taken, set up for a problem, with the recorded training step.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    comm : mpi4py.MPI.Intracomm, optional
        The processes that train together.
    stacked : bool, default False
        Train a `Committee` even of one network, as `train_together` needs it.

    Attributes
    ----------
    network : Network
    module : Sequential
        After training the one that predicts: with the best parameters, several networks merged into one.
    trained : Module
        What is trained: `module`, or a `Committee`.
    committee : Committee or None
        Where networks are trained as one.
    rows : Rows
        The split of the problem's training rows.
    given : list of ndarray
        The arrays of training: inputs, targets, and weights if there are any.
    step : TrainStep
    history : History
    best : Best or None
        What was best on the validation rows, if there are any.
    epochs_done : int
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    def __init__(self, problem: Problem, settings: Settings, comm: Any = None, *, stacked: bool = False) -> None:
        self.problem, self.settings = problem, settings
        manual_seed(settings.seed)
        self.network = Network(
            problem.features.width,
            settings.hidden,
            problem.target.outputs,
            settings.activation,
            settings.dropout,
            settings.dtype,
        )
        several = settings.members > 1 or stacked and not settings.frozen
        self.committee = Committee(self.network, settings.members) if several else None
        self.rows = Rows(problem, settings, masked=settings.members > 1)
        self.given = self.rows.given
        if self.committee is not None:
            trained: nn.Module = self.committee
            self.network, self.module = self.committee.merged()
        else:
            trained = self.module = self.network.build()
            freeze(self.module, settings.frozen)
        self.trained = trained
        self.best = Best(trained, settings.members, settings.patience) if self.rows_validated else None
        self.step = TrainStep(self._batch_loss, settings.make_optimizer(trained), comm=comm)
        self.history = History()
        self.epochs_done = 0
        self.interrupted = False
        self.seconds = 0.0

    @property
    def is_classification(self) -> bool:
        """Whether the target holds classes."""
        return self.problem.target.task == "classification"

    @property
    def rows_validated(self) -> int:
        """Rows left out of training to decide when to stop; each of several networks has its own."""
        return self.rows.validated

    @property
    def batch_size(self) -> int:
        """Rows of a full step."""
        return min(self.settings.batch_size, len(self.given[0]))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; the last one may be smaller."""
        return math.ceil(len(self.given[0]) / self.batch_size)

    @property
    def losses(self) -> np.ndarray:
        """The loss of each step made, a mean over the networks."""
        return self.history.loss

    @property
    def diverged(self) -> bool:
        """Whether the loss is not finite."""
        return len(self.losses) > 0 and not math.isfinite(self.losses[-1])

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of each of the problem's training rows in the loss, if they differ."""
        return self.rows.weights

    def _batch_loss(self, x: Any, y: Any, w: Any = None) -> Any:
        if self.committee is not None:
            total = members_losses(self.committee(x), y, w).sum()
            # the value of the mean with the gradient of the sum: each network learns at the rate of one alone
            return total - total.detach() * (1.0 - 1.0 / self.settings.members)
        if w is not None:
            return (row_losses(self.module(x), y) * w).mean()
        return (F.cross_entropy if self.is_classification else F.mse_loss)(self.module(x), y)

    # -------------------------------------------------------------- training

    def train(self, *, progress: bool = False, checkpoint: Checkpoint | None = None) -> None:
        """Train for the epochs of the settings, until the validation loss falls no more, until Ctrl-C, or until the
        loss is not finite; then restore the best parameters.

        Parameters
        ----------
        progress : bool
            Show a progress bar.
        checkpoint : Checkpoint, optional
            Keeps the run's state.
        """
        start, compiled = time.perf_counter(), compile_seconds()
        self.trained.train()
        try:
            self.step.run(
                *self.given,
                batch_size=self.batch_size,
                epochs=self.settings.epochs,
                shuffle=True,
                seed=self.settings.seed,
                progress=progress,
                callback=_AfterEpoch(self, None if self.best is None else self._validator()),
                checkpoint=checkpoint,
            )
        except KeyboardInterrupt:
            self.interrupted = True
        self.history = self.step.history
        self.finish()
        self.seconds = time.perf_counter() - start - (compile_seconds() - compiled)

    def finish(self) -> None:
        """Take the best parameters, and of several networks make one."""
        if self.best is not None:
            self.best.restore()
        if self.committee is not None:
            self.network, self.module = self.committee.merged()

    def _validator(self) -> Callable[[], np.ndarray]:
        """A function that gives each network's mean loss on its validation rows, in evaluation mode."""
        rows, X = self.rows, self.rows.validation_inputs
        if self.committee is None:
            return lambda: rows.losses([outputs(self.module, X[0])])
        replayed = compile(self.committee.each)
        return lambda: rows.losses(replayed(X).astype(np.float64))

    @property
    def held_out(self) -> bool:
        """Whether there are rows that are held out."""
        return len(self.problem.held_inputs) > 0

    def score(self) -> dict[str, float]:
        """The scores of the present network, on the held-out rows, or on the training rows if there are none."""
        problem = self.problem
        X, y = (problem.held_inputs, problem.held_targets) if self.held_out else (problem.inputs, problem.targets)
        return scores(problem.target, y, outputs(self.module, X.astype(self.settings.dtype, copy=False)))

    def result(self) -> Result:
        """Evaluate the present network."""
        steps = len(self.losses)
        return Result(
            score=self.score(),
            held_out=self.held_out,
            loss=float(self.losses[-self.steps_per_epoch :].mean()) if steps else math.nan,
            steps=steps,
            samples=self.history.samples,
            seconds=self.seconds,
            compile_seconds=compile_seconds(),
            peak_bytes=int(self.step.memory().peak_bytes) if steps else 0,
            parameters=self.trained.num_parameters(),
            trained_parameters=self.trained.num_parameters(trainable_only=True),
        )


class _AfterEpoch:
    """The callback of a run: validates, and says when to stop.

    Parameters
    ----------
    run : Run
    validate : callable or None
        Gives the validation losses, if there are any.
    """

    def __init__(self, run: Run, validate: Callable[[], np.ndarray] | None) -> None:
        self.run, self.validate = run, validate

    def __call__(self, epoch: int, history: History) -> bool:
        """An epoch is done; returns whether to stop."""
        run = self.run
        run.history, run.epochs_done = history, epoch + 1
        if run.best is None or self.validate is None or run.diverged:
            return run.diverged
        losses = self.validate()
        history.validated(float(losses.mean()))
        return run.best.observe(losses)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"epochs": self.run.epochs_done, "best": None if self.run.best is None else self.run.best.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state_dict`."""
        self.run.epochs_done = state["epochs"]
        if self.run.best is not None:
            self.run.best.load_state_dict(state["best"])
