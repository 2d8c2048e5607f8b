"""Train a network on a problem and evaluate it on held-out rows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from .. import History, TrainStep, manual_seed, nn, tensor
from ..engine.kernels import compile_seconds
from ..nn import functional as F
from .network import Network, outputs
from .problem import Problem
from .settings import Settings, freeze

__all__ = ["Result", "Run", "measure"]


@dataclass(frozen=True)
class Result:
    """The result of a training run.

    Attributes
    ----------
    score : dict of str to float
        On the held-out rows, or on the training rows if there are none: ``accuracy``, or ``rmse`` and ``r2``.
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
    """A network set up for a problem, with its recorded training step.

    Parameters
    ----------
    problem : Problem
    settings : Settings

    Attributes
    ----------
    network : Network
    module : Sequential
    step : TrainStep
    history : History
    epochs_done : int
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
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
        self.module = self.network.build()
        freeze(self.module, settings.frozen)
        loss = F.cross_entropy if problem.target.task == "classification" else F.mse_loss
        module = self.module
        self.step = TrainStep(lambda x, y: loss(module(x), y), settings.make_optimizer(module))
        self._loss = loss
        self.history = History()
        self.epochs_done = 0
        self.interrupted = False
        self.seconds = 0.0

    @property
    def batch_size(self) -> int:
        """Rows of a full step."""
        return min(self.settings.batch_size, len(self.problem.inputs))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; the last one may be smaller."""
        return math.ceil(len(self.problem.inputs) / self.batch_size)

    @property
    def losses(self) -> np.ndarray:
        """The loss of each step made."""
        return self.history.loss

    @property
    def diverged(self) -> bool:
        """Whether the loss is not finite."""
        return len(self.losses) > 0 and not math.isfinite(self.losses[-1])

    def train(self, *, progress: bool = False, validate: bool = False) -> None:
        """Train for the epochs of the settings, until Ctrl-C, or until the loss is not finite.

        Parameters
        ----------
        progress : bool
            Show a progress bar.
        validate : bool
            Add the loss on held-out rows, if there are any, to the history after every epoch.
        """
        dtype = np.dtype(self.settings.dtype)
        X = self.problem.inputs.astype(dtype)
        y = (
            self.problem.targets.astype(dtype)
            if self.problem.target.task == "regression"
            else self.problem.targets
        )

        def after_epoch(epoch: int, history: History) -> bool:
            self.history = history
            self.epochs_done = epoch + 1
            if validate and len(self.problem.held_inputs):
                history.validated(self._held_out_loss())
            return self.diverged

        start, compiled = time.perf_counter(), compile_seconds()
        self.module.train()
        try:
            self.step.run(
                X,
                y,
                batch_size=self.batch_size,
                epochs=self.settings.epochs,
                shuffle=True,
                seed=self.settings.seed,
                progress=progress,
                callback=after_epoch,
            )
        except KeyboardInterrupt:
            self.interrupted = True
        self.seconds = time.perf_counter() - start - (compile_seconds() - compiled)

    def _held_out_loss(self) -> float:
        """The mean loss on the held-out rows, in evaluation mode."""
        problem = self.problem
        predicted = outputs(self.module, problem.held_inputs.astype(self.settings.dtype))
        classes = problem.target.task == "classification"
        targets = problem.held_targets if classes else problem.held_targets.astype(np.float64)
        return float(self._loss(tensor(predicted), targets))

    def result(self) -> Result:
        """Evaluate the present network."""
        problem = self.problem
        held_out = len(problem.held_inputs) > 0
        X, y = (problem.held_inputs, problem.held_targets) if held_out else (problem.inputs, problem.targets)
        steps = len(self.losses)
        return Result(
            score=measure(problem, self.module, X.astype(self.settings.dtype), y),
            held_out=held_out,
            loss=float(self.losses[-self.steps_per_epoch :].mean()) if steps else math.nan,
            steps=steps,
            samples=self.history.samples,
            seconds=self.seconds,
            compile_seconds=compile_seconds(),
            peak_bytes=int(self.step.memory().peak_bytes) if steps else 0,
            parameters=self.module.num_parameters(),
            trained_parameters=self.module.num_parameters(trainable_only=True),
        )


def measure(problem: Problem, module: nn.Module, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy of a classification; root mean squared error and coefficient of determination of a regression."""
    predicted = outputs(module, X)
    if problem.target.task == "classification":
        return {"accuracy": float(np.mean(predicted.argmax(axis=1) == y))}
    actual, predicted = problem.target.decoded(y), problem.target.decoded(predicted)
    error = float(np.mean((actual - predicted) ** 2))
    variance = float(np.var(actual))
    return {"rmse": math.sqrt(error), "r2": 1.0 - error / variance if variance > 0.0 else math.nan}
