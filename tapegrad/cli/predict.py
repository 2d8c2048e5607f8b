"""``tapegrad predict``: from a saved model and a file to a file of predictions."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..data import read_table
from . import options
from .network import SavedModel, outputs

__all__ = ["predict"]


def predict(
    model: Annotated[Path, typer.Argument(help="A file from tapegrad train --save.", show_default=False)],
    data: Annotated[
        Path, typer.Argument(help="A CSV file or .npz archive with the columns of the training file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to put the predictions.",
            show_default="standard output",
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            callback=options.one_of(("error", "mean")),
            metavar="WAY",
            help="Missing values: error, or mean (fill in the training mean).",
            show_default="as in training",
        ),
    ] = None,
    drop: options.Drop = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    decimal: options.Decimal = ".",
) -> None:
    """Predict the target of each row: labels with their probabilities, or values."""
    if output is not None:
        options.check_writable(output, "--output")
    saved = SavedModel.load(model)
    table = read_table(data, target=None, header=header, delimiter=delimiter, decimal=decimal)
    table.require(drop or ())
    table = table.only([name for name in table.names if name not in (drop or ())])
    fill = saved.fill_missing if missing is None else missing == "mean"
    X = saved.features.matrix(table, fill_missing=fill).astype(saved.network.dtype)
    names, rows = _predictions(saved, outputs(saved.module, X))
    with (
        nullcontext(sys.stdout) if output is None else open(output, "w", newline="", encoding="utf-8") as file
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def _predictions(saved: SavedModel, raw: np.ndarray) -> tuple[list[str], Iterable[list[object]]]:
    """The columns of the predictions and their rows."""
    if saved.target.task == "regression":
        return ["prediction"], ([value] for value in saved.target.decoded(raw).tolist())
    labels = saved.target.labels
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    chosen = raw.argmax(axis=1)
    names = ["prediction", *(f"p({label})" for label in labels)]
    return names, ([labels[k], *row] for k, row in zip(chosen, probabilities.tolist(), strict=True))
