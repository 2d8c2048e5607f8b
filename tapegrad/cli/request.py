"""The options that ``tapegrad train`` and ``tapegrad profile`` share: the data and the network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import wraps
from typing import Any, cast, get_type_hints

from ..data import Layout, Numerals
from ..errors import DataError
from . import options
from .problem import Problem, TableOptions, load_problem
from .settings import FOR_DIGITS, Settings, for_table, parse_hidden

__all__ = ["Reading", "Request", "with_request"]


@dataclass(frozen=True)
class Reading:
    """How a text file lays out its table, each field an option of the command line."""

    header: options.Header = None
    delimiter: options.Delimiter = None
    decimal: options.Decimal = None
    thousands: options.Thousands = None
    percent: options.Percent = None
    quote: options.Quote = None
    comment: options.Comment = ""
    encoding: options.Encoding = None

    def layout(self, written: Mapping[str, Any] | None = None) -> Layout:
        """The layout; numbers are written as told, else as a training file wrote them (`Features.written`)."""
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Reading)}
        numerals = {**Numerals().to_json(), **(written or {})}
        given.update({name: value for name, value in numerals.items() if given[name] is None})
        return Layout(**given)


@dataclass(frozen=True)
class Request(Reading):
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
    unseen: options.Unseen = "error"
    keep: options.Keep = None
    dates: options.Dates = None
    cache: options.Cache = False

    def problem(self, test_fraction: float | None = None, *, refit: bool = False) -> Problem:
        """The data, which may be fitted anew to other splits if `refit`; raises `DataError` if they cannot be used."""
        table = TableOptions(
            target=self.target,
            task=cast("Any", self.task),
            test_fraction=test_fraction,
            missing=self.missing,
            categorical=tuple(self.categorical or ()),
            drop=tuple(self.drop or ()),
            keep=tuple(self.keep or ()),
            unseen=self.unseen,
            dates=self.dates,
            cache=self.cache,
            dtype=self.dtype,
            **asdict(self.layout()),
        )
        return load_problem(self.data, table, self.seed, refit=refit)

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
        preset = FOR_DIGITS if not self.data else for_table(rows)
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
    """A command whose first parameter is a `Request` or a `Reading`, with an option for each of its fields instead.

    Of an option that the command has by itself there is no second one.
    """
    named = inspect.signature(command, eval_str=True).parameters
    asked = next(iter(named.values())).annotation
    hints = get_type_hints(asked, include_extras=True)
    inherited = {field.name for base in asked.__mro__[1:-1] for field in fields(base)}
    option = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(f.name, option, default=f.default, annotation=hints[f.name])
              for f in sorted(fields(asked), key=lambda f: f.name in inherited) if f.name not in named]
    own = [p.replace(kind=option) for p in named.values()][1:]

    @wraps(command)
    def run(**given: Any) -> None:
        command(asked(**{p.name: given.pop(p.name) for p in shared}), **given)

    ordered = [*shared, *own] if inherited else [*own, *shared]
    setattr(run, "__signature__", inspect.Signature(ordered))  # Typer makes options of the signature
    run.__annotations__ = {p.name: p.annotation for p in ordered}
    return run
