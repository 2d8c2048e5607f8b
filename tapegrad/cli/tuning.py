"""Choose a network's width, depth, rate, weight decay and dropout among random candidates.

Candidates of one shape are trained together, as one recorded step. All begin with few epochs; the better half goes on
for twice as many, and so on (successive halving: K. Jamieson, A. Talwalkar, Non-stochastic best arm identification and
hyperparameter optimization, AISTATS 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .. import History, TrainStep, compile, manual_seed
from ..errors import DataError
from .committee import Committee
from .network import Network
from .problem import Problem
from .rows import Rows, members_losses
from .settings import OPTIMIZERS, Settings

__all__ = ["Candidate", "tune"]

_MOST_ROWS = 20_000
#: training rows from which on candidates may be 256 wide
_ROWS_OF_WIDE = 2000


@dataclass
class Candidate:
    """Settings that were tried.

    Attributes
    ----------
    settings : Settings
    loss : float
        The lowest of the networks' mean on the validation rows; infinite if it was never finite.
    epochs : int
        For which it was trained.
    best_epoch : int
        After which the loss was lowest.
    losses : ndarray of float64, shape (rows,)
        Of each validation row, then; `loss` is their mean.
    """

    settings: Settings
    loss: float = math.inf
    epochs: int = 0
    best_epoch: int = 0
    losses: np.ndarray = field(default_factory=lambda: np.full(1, np.inf))

    def observe(self, losses: np.ndarray) -> bool:
        """Take the rows' losses after an epoch; returns whether patience is at its end."""
        self.epochs += 1
        if losses.mean() < self.loss:
            self.loss, self.losses, self.best_epoch = float(losses.mean()), losses, self.epochs
        return self.epochs - self.best_epoch >= self.settings.patience


def tune(problem: Problem, settings: Settings, count: int, fixed: Sequence[str] = (), progress: bool = False
         ) -> list[Candidate]:
    """Train random candidates, halving their number as epochs double, beside `settings`, which are never left out.

    Each is judged by the mean of its networks on the same validation rows. `settings` are given up only for what is
    better by more than the standard error of the difference over these rows: the best of many is partly the luckiest.

    Parameters
    ----------
    problem : Problem
        Its held-out rows are not looked at. Of more than 20,000 training rows a sample is taken.
    settings : Settings
    count : int
        Candidates in all.
    fixed : sequence of {"hidden", "dropout", "lr", "weight_decay"}
        What stays as in `settings`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of Candidate
        The chosen one first, the others by their losses.

    Raises
    ------
    DataError
        There are no validation rows, or every loss is infinite.
    """
    if settings.val_fraction == 0.0:
        raise DataError("--tune chooses by the loss on validation rows: --val-fraction must not be 0")
    if settings.frozen:
        raise DataError("--tune changes the layers that --freeze names: leave one of the two out")
    rng = np.random.default_rng(settings.seed)
    if len(problem.inputs) > _MOST_ROWS:
        rows = np.sort(rng.choice(len(problem.inputs), _MOST_ROWS, replace=False))
        problem = replace(problem, inputs=problem.inputs[rows], targets=problem.targets[rows])
    if settings.optimizer == "adam":
        settings = replace(settings, optimizer="adamw")  # whose weight decay does not depend on the gradients' size
    widest = 256 if len(problem.inputs) >= _ROWS_OF_WIDE else 128
    candidates = [Candidate(each) for each in drawn(settings, count, fixed, widest, rng)]
    first = candidates[0]
    manual_seed(settings.seed)
    of_shape: dict[tuple[Any, ...], list[Candidate]] = {}
    for candidate in candidates:
        of_shape.setdefault((candidate.settings.hidden, candidate.settings.dropout), []).append(candidate)
    rows_of = Rows(problem, settings, masked=True, shared=True)
    together = [_Together(problem, rows_of, group) for group in of_shape.values()]

    halvings = max(int(math.log2(count)), 1)
    left = list(candidates)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("tuning", total=(halvings + 1) * len(together))
        for rung in range(halvings + 1):
            until = max(settings.epochs >> (halvings - rung), 1)
            for group in together:
                alive = [candidate for candidate in group.candidates if any(candidate is each for each in left)]
                if alive:
                    group.train(alive, until)
                best = min(candidate.loss for candidate in candidates)
                bar.update(task, advance=1, description=f"tuning: {len(left)} of {count} candidates, {until} epochs, "
                                                        f"validation loss {best:.4g}")
            left = sorted(left, key=lambda candidate: candidate.loss)[: max(count >> (rung + 1), 1)]
            if not any(candidate is first for candidate in left):
                left.append(first)
    candidates.sort(key=lambda candidate: candidate.loss)  # losses only fall: the best was never left out
    if not math.isfinite(candidates[0].loss):
        raise DataError("--tune: the loss of every candidate is infinite or NaN; are there extreme values in the data?")
    chosen = preferred(first, candidates[0])
    return [chosen, *(candidate for candidate in candidates if candidate is not chosen)]


def preferred(first: Candidate, best: Candidate) -> Candidate:
    """The best, if it is better than the first by more than the standard error of their difference."""
    if first is best or not np.isfinite(first.losses).all():
        return best
    gain = first.losses - best.losses
    error = gain.std(ddof=1) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return best if gain.mean() > error else first


def drawn(settings: Settings, count: int, fixed: Sequence[str], widest: int,
          rng: np.random.Generator) -> list[Settings]:
    """The settings themselves, and random ones, two or four of each shape."""
    found = [settings]
    while len(found) < count:
        width = widest >> int(rng.integers(0, 4))
        shape = {
            "hidden": tuple(max(width >> layer, 8) for layer in range(rng.integers(1, 4))),
            "dropout": float(rng.choice([0.0, 0.0, 0.1, 0.25, 0.5])),
        }
        for _ in range(min(4 if count >= 16 else 2, count - len(found))):
            rates = {
                "lr": float(10 ** rng.uniform(-3.5, -2.0)),
                "weight_decay": float(rng.choice([0.0, 10 ** rng.uniform(-2.0, 0.5)])),
            }
            changed: dict[str, Any] = {k: v for k, v in {**shape, **rates}.items() if k not in fixed}
            found.append(replace(settings, **changed))
    return found


@dataclass
class _Together:
    """Candidates of one shape, each with the networks of its own rates, trained in one recorded step."""

    problem: Problem
    rows: Rows
    candidates: list[Candidate]
    committees: list[Committee] = field(init=False)

    def __post_init__(self) -> None:
        settings, problem = self.candidates[0].settings, self.problem
        network = Network(problem.features.width, settings.hidden, problem.target.outputs, settings.activation,
                          settings.dropout, settings.dtype)  # fmt: skip
        self.committees = [Committee(network, settings.members) for _ in self.candidates]
        self._optimizer = OPTIMIZERS[settings.optimizer](
            [{"params": list(committee.parameters()), "lr": candidate.settings.lr,
              "weight_decay": candidate.settings.weight_decay}
             for committee, candidate in zip(self.committees, self.candidates, strict=True)],
            lr=settings.lr,
        )  # fmt: skip

    def train(self, alive: Sequence[Candidate], until: int) -> None:
        """Go on with some of the candidates until they have been trained for some epochs in all."""
        settings, rows = alive[0].settings, self.rows
        places = [k for k, candidate in enumerate(self.candidates) if any(candidate is each for each in alive)]
        committees = [self.committees[k] for k in places]
        X, y, w = rows.given
        weights = np.tile(w, (1, len(places)))
        inputs = np.tile(rows.validation_inputs, (len(places), 1, 1))

        def loss(x: Any, y: Any, w: Any) -> Any:
            return members_losses(Committee.outputs(committees, x, each=False), y, w).sum()

        validate = compile(lambda x: Committee.outputs(committees, x, each=True))
        done = alive[0].epochs

        def after_epoch(epoch: int, history: History) -> bool:
            found = validate(inputs).astype(np.float64)
            of_each = found.reshape(len(places), settings.members, *found.shape[1:])
            judged = zip((self.candidates[k] for k in places), of_each, strict=True)
            return all([candidate.observe(rows.losses_of_mean(out)) for candidate, out in judged])

        TrainStep(loss, self._optimizer).run(
            X, y, weights, batch_size=min(settings.batch_size, len(X)), epochs=max(until - done, 1),
            seed=settings.seed + done, callback=after_epoch,
        )  # fmt: skip
