"""The options that ``tapegrad train`` and ``tapegrad profile`` share: the data and the network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any, cast, get_type_hints

from ..errors import DataError
from . import options
from .problem import Problem, TableOptions, load_problem
from .settings import FOR_DIGITS, Settings, for_table, parse_hidden

__all__ = ["Request", "with_request"]


@dataclass(frozen=True)
class Request:
    """The data and the network, each field an option of the command line."""

    data: options.Data = None
    target: options.TargetColumn = None
    task: options.TaskName = "auto"
    hidden: options.Hidden = None
    activation: options.Activation = "relu"
    batch_size: options.BatchSize = 64
    optimizer: options.OptimizerName = "adam"
    weight_decay: options.WeightDecay = 0.0
    dropout: options.Dropout = None
    dtype: options.Dtype = "float32"
    seed: options.Seed = 0
    freeze: options.Freeze = None
    missing: options.Missing = "error"
    categorical: options.Categorical = None
    drop: options.Drop = None
    header: options.Header = None
    delimiter: options.Delimiter = None
    decimal: options.Decimal = "."

    def problem(self, test_fraction: float | None = None) -> Problem:
        """The data; raises `DataError` if they cannot be used."""
        table = TableOptions(
            target=self.target,
            task=cast("Any", self.task),
            test_fraction=test_fraction,
            missing=self.missing,
            categorical=tuple(self.categorical or ()),
            drop=tuple(self.drop or ()),
            header=self.header,
            delimiter=self.delimiter,
            decimal=self.decimal,
        )
        return load_problem(self.data, table, self.seed)

    @property
    def fixed(self) -> tuple[str, ...]:
        """The settings that were given, of those that tuning would change."""
        given = {"hidden": self.hidden is not None, "dropout": self.dropout is not None,
                 "weight_decay": self.weight_decay != 0.0}  # fmt: skip
        return tuple(name for name, is_given in given.items() if is_given)

    def settings(
        self,
        problem: Problem,
        lr: float | None = None,
        epochs: int | None = None,
        *,
        members: int | None = None,
        val_fraction: float | None = None,
        patience: int | None = None,
        class_weight: str | None = None,
    ) -> Settings:
        """How to train; defaults depend on the data.

        Raises
        ------
        DataError
            Options that exclude each other, or do not fit the task.
        """
        rows = len(problem.inputs)
        preset = FOR_DIGITS if self.data is None else for_table(rows)
        frozen = tuple(self.freeze or ())
        if members is None:
            members = 1 if self.hidden is not None or frozen else preset.members
        elif frozen and members > 1:
            raise DataError("--freeze names layers of one network: leave --members out")
        if class_weight is not None and problem.target.task != "classification":
            raise DataError(f"--class-weight is for classes, and {problem.target.name!r} holds values")
        if val_fraction is None:
            val_fraction = preset.val_fraction if rows >= _LEAST_ROWS_VALIDATED else 0.0
        epochs = preset.epochs if epochs is None else epochs
        return replace(
            preset,
            hidden=preset.hidden if self.hidden is None else parse_hidden(self.hidden),
            activation=self.activation,
            epochs=epochs,
            batch_size=self.batch_size,
            lr=preset.lr if lr is None else lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            dropout=preset.dropout if self.dropout is None else self.dropout,
            dtype=self.dtype,
            seed=self.seed,
            frozen=frozen,
            members=members,
            val_fraction=val_fraction,
            patience=max(epochs // 10, 5) if patience is None else patience,
            class_weight=class_weight,
        )


#: rows below which none are set apart to decide when to stop, unless asked for
_LEAST_ROWS_VALIDATED = 10


def with_request(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a `Request`, with an option for each field instead but for its own."""
    hints = get_type_hints(Request, include_extras=True)
    option, named = inspect.Parameter.KEYWORD_ONLY, inspect.signature(command).parameters
    shared = [inspect.Parameter(f.name, option, default=f.default, annotation=hints[f.name]) for f in fields(Request)
              if f.name not in named]
    own = [p.replace(kind=option) for p in inspect.signature(command, eval_str=True).parameters.values()][1:]

    @wraps(command)
    def run(**given: Any) -> None:
        command(Request(**{p.name: given.pop(p.name) for p in shared}), **given)

    setattr(run, "__signature__", inspect.Signature([*shared, *own]))  # Typer makes options of the signature
    run.__annotations__ = {p.name: p.annotation for p in (*shared, *own)}
    return run
