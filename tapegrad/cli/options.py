"""Options of several commands: types, validation, help."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DataError, MissingExtraError
from .network import ACTIVATIONS
from .settings import DTYPES, OPTIMIZERS, parse_hidden

__all__ = [
    "Activation", "BatchSize", "Cache", "Categorical", "CheckpointEvery", "CheckpointFolder", "ClassWeight", "Comment",
    "Data", "Dates", "Decimal", "Delimiter", "Drop", "Dropout", "Dtype", "Encoding", "Epochs", "Folds", "Freeze",
    "Header", "Hidden", "Keep", "LearningRate", "Members", "Missing", "Mpi", "OptimizerName", "Patience", "Percent",
    "Quote", "Resume", "Seed", "TargetColumn", "TaskName", "TestFraction", "Thousands", "Tune", "Unseen",
    "UsageError", "ValFraction", "WeightDecay", "check_can_plot", "check_writable", "one_of", "whole",
]  # fmt: skip

#: the base class of typer's errors for bad options and arguments; its module differs between versions
UsageError: Any = typer.BadParameter.__mro__[2]


def one_of(choices: tuple[str, ...]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(choices)}")
        return value

    return check


def _number(lowest: float, highest: float, words: str) -> Callable[[str | float], float]:
    """A parser of numbers from `lowest` to below `highest`."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value < highest:
            raise typer.BadParameter(f"{text!r} is not {words}")
        return value

    return parse


def whole(lowest: int) -> Callable[[str | int], int]:
    """A parser of whole numbers."""

    def parse(text: str | int) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value < 2**63:
            raise typer.BadParameter(f"{text!r} is not a whole number of at least {lowest}")
        return value

    return parse


def _layers(value: str | None) -> str | None:
    if value is not None:
        try:
            parse_hidden(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return value


def _one_character(value: str | None) -> str | None:
    value = "\t" if value in ("\\t", "tab") else value
    if value is not None and len(value) != 1:
        raise typer.BadParameter(f"{value!r} is not one character (tab is written tab)")
    if value in ('"', "\n", "\r"):
        raise typer.BadParameter(f"{value!r} cannot divide columns")
    return value


def _encoding(value: str | None) -> str | None:
    if value is not None:
        try:
            "".encode(value)
        except LookupError:
            raise typer.BadParameter(f"{value!r} is no encoding that Python knows") from None
    return value


Data = Annotated[
    list[Path] | None,
    typer.Argument(
        help="A table: CSV or other text (compressed too), .parquet, .feather, .jsonl, .npz with X and y; several files"
        " or a pattern such as 'part-*.csv' for one table; - for standard input. Without one: handwritten digits.",
        show_default=False,
    ),
]
TargetColumn = Annotated[
    str | None,
    typer.Option("--target", metavar="COLUMN", help="The column to predict (.npz: the array, y by default)."),
]
TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        callback=one_of(("auto", "classification", "regression")),
        metavar="TASK",
        help="What the target holds: auto, classification or regression.",
    ),
]
Hidden = Annotated[
    str | None,
    typer.Option(
        callback=_layers,
        metavar="N,N,...",
        help="Units of the hidden layers; none for a linear model.",
        show_default="64,32; beyond 10,000 rows 128,64; digits 256,128",
    ),
]
Activation = Annotated[
    str,
    typer.Option(
        callback=one_of(tuple(ACTIVATIONS)), metavar="NAME", help=f"One of {', '.join(ACTIVATIONS)}."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        parser=whole(1),
        metavar="N",
        help="Passes over the rows, at most.",
        show_default="200; of many rows down to 20; digits 30",
    ),
]
BatchSize = Annotated[int, typer.Option(parser=whole(1), metavar="N", help="Rows a step.")]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        parser=_number(math.ulp(0.0), math.inf, "a positive number"),
        metavar="RATE",
        help="Learning rate.",
        show_default="0.002; beyond 10,000 rows 0.001; digits 0.003",
    ),
]
OptimizerName = Annotated[
    str,
    typer.Option(
        "--optimizer",
        callback=one_of(tuple(OPTIMIZERS)),
        metavar="NAME",
        help=f"One of {', '.join(OPTIMIZERS)}.",
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option(
        parser=_number(0.0, math.inf, "zero or a positive number"), metavar="RATE", help="Weight decay."
    ),
]
Dropout = Annotated[
    float | None,
    typer.Option(
        parser=_number(0.0, 1.0, "at least 0 and below 1"),
        metavar="SHARE",
        help="Share of hidden units left out of each step.",
        show_default="0; digits 0.3",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        callback=one_of(DTYPES),
        metavar="DTYPE",
        help="Type of parameters and arithmetic: float32 or float64.",
    ),
]
Seed = Annotated[
    int, typer.Option(parser=whole(0), metavar="N", help="Of initial weights, shuffling, dropout and split.")
]
TestFraction = Annotated[
    float | None,
    typer.Option(
        parser=_number(0.0, 1.0, "at least 0 and below 1"),
        metavar="SHARE",
        help="Share of the rows held out and measured once, at the end (the digits have their own).",
        show_default="0.2",
    ),
]
ValFraction = Annotated[
    float | None,
    typer.Option(
        parser=_number(0.0, 1.0, "at least 0 and below 1"),
        metavar="SHARE",
        help="Share of the other rows by whose loss training stops early; 0: it runs for all epochs.",
        show_default="0.2; beyond 10,000 rows 0.1; digits 0",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        parser=whole(1),
        metavar="N",
        help="Stop after N epochs without a lower loss on the validation rows; the best weights are kept.",
        show_default="a tenth of --epochs, at least 5",
    ),
]
Members = Annotated[
    int | None,
    typer.Option(
        parser=whole(1),
        metavar="N",
        help="Networks trained together, whose mean predicts; each has validation rows of its own.",
        show_default="5; beyond 10,000 rows, with --hidden or --freeze, and of the digits 1",
    ),
]
ClassWeight = Annotated[
    str | None,
    typer.Option(
        callback=one_of(("balanced",)),
        metavar="WAY",
        help="balanced: rare classes weigh as much in the loss as frequent ones.",
        show_default="none",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        parser=whole(2),
        metavar="K",
        help="Also cross-validate: train K times, each time on other rows, and show mean and spread of the scores.",
    ),
]
Tune = Annotated[
    int | None,
    typer.Option(
        parser=whole(2),
        metavar="N",
        help="Choose width, depth, rate, weight decay and dropout among N random candidates, on at most 20,000 rows.",
    ),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER", help="A layer (0) or parameter (0.weight) not to train; may be repeated."),
]
Missing = Annotated[
    str,
    typer.Option(
        callback=one_of(("error", "mean", "drop", "median", "indicator")),
        metavar="WAY",
        help="Missing values: error, mean or median (fill in the column's), indicator (mean, and one more column that"
        " tells where) or drop (leave the row out).",
    ),
]
Categorical = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="A column of categories; may be repeated. auto: all columns of text with few values."
    ),
]
Drop = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="A column to leave out; may be repeated.")
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether the first row names the columns.", show_default="look"
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(callback=_one_character, metavar="CHAR", help="Between columns.", show_default="look"),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        callback=one_of((".", ",")), metavar="MARK", help="Decimal mark of a CSV file.",
        show_default="., or as in training",
    ),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        callback=one_of(("", ",", ".", "'", " ", "_")),
        metavar="MARK",
        help="Mark between groups of three digits, such as , in 1,234.",
        show_default="none, or as in training",
    ),
]
Percent = Annotated[
    bool | None,
    typer.Option(
        "--percent/--no-percent", help="Read numbers such as 12% as 0.12.", show_default="no, or as in training"
    ),
]
Quote = Annotated[
    str | None,
    typer.Option(
        callback=one_of(('"', "'")), metavar="CHAR", help="What encloses cells: \" or '.", show_default="look"
    ),
]
Comment = Annotated[
    str, typer.Option(metavar="START", help="Leave out lines that start with this.", show_default="none")
]
Encoding = Annotated[
    str | None,
    typer.Option(
        callback=_encoding,
        metavar="NAME",
        help="Encoding of a text file, such as latin-1 or utf-16.",
        show_default="UTF-8",
    ),
]
Unseen = Annotated[
    str,
    typer.Option(
        callback=one_of(("error", "ignore")),
        metavar="WAY",
        help="Categories that training did not see: error, or ignore (none of the known ones).",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="A column to learn from though it looks like an identifier; may be repeated."),
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache",
        help="Convert a text file once to a store beside it (FILE.tapegrad), and read what is looked at from there.",
    ),
]
Dates = Annotated[
    str | None,
    typer.Option(
        callback=one_of(("dmy", "mdy")),
        metavar="ORDER",
        help="Whether days (dmy) or months (mdy) come first in dates such as 1/2/2024.",
        show_default="look",
    ),
]


CheckpointFolder = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FOLDER", help="Keep the run's whole state there, to go on after a kill."),
]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        parser=_number(0.0, math.inf, "at least 0 seconds"),
        metavar="SECONDS",
        help="How often, besides at the end and at Ctrl-C.",
        show_default="60",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Go on from a checkpoint, with the options of then; --epochs, --save and what is shown may be given anew.",
    ),
]

Mpi = Annotated[
    bool,
    typer.Option(
        "--mpi",
        help="Train on all processes that mpiexec has started, each on its share of every batch (needs the mpi extra).",
    ),
]


def check_can_plot(path: Path, option: str, suffixes: tuple[str, ...] = (".png", ".svg", ".pdf")) -> None:
    """Raise if a picture cannot be drawn there, before hours are spent on what it shows."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"{option} needs matplotlib: pip install 'tapegrad[viz]'") from error
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{option} {path}: the name must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    check_writable(path, option)


def check_writable(path: Path, option: str) -> None:
    """Raise `DataError` if a file cannot be written, before hours are spent on its content."""
    if path.is_dir():
        raise DataError(f"{option} {path}: is a folder, not a file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"{option} {path}: cannot write there ({error.strerror or error})") from error
    if path.exists() and not os.access(path, os.W_OK):
        raise DataError(f"{option} {path}: the file is write-protected")
