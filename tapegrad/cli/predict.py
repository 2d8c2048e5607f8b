"""``tapegrad predict``: from a saved model and a file to a file of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..data import Table
from ..data.reading import read_table_parts
from ..data.writing import Columns, check_can_write, write_table
from ..errors import DataError
from . import options
from .evaluation.scores import probabilities
from .network import SavedModel, outputs
from .request import Reading, with_request

__all__ = ["predict"]

_ROWS_AT_ONCE = 1 << 16


@with_request
def predict(
    reading: Reading,
    model: Annotated[Path, typer.Argument(help="A file from tapegrad train --save.", show_default=False)],
    data: Annotated[
        list[Path], typer.Argument(help="A table with the columns of the training file, as tapegrad train takes it.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to put the predictions: CSV, or .parquet, .feather.",
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
    ids: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="The column that says which row it is; written first.")
    ] = None,
    carry: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A further column to write as it is; may be repeated.")
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba/--no-proba", help="Whether to write the probability of each class.")
    ] = True,
    unseen: Annotated[
        str | None,
        typer.Option(
            callback=options.one_of(("error", "ignore")),
            metavar="WAY",
            help="Categories that training did not see: error, or ignore (none of the known ones).",
            show_default="as in training",
        ),
    ] = None,
    drop: options.Drop = None,
) -> None:
    """Predict the target of each row: labels with their probabilities, or values."""
    if output is not None:
        options.check_writable(output, "--output")
        check_can_write(output)
    saved = SavedModel.load(model)
    kept = list(dict.fromkeys([*([] if ids is None else [ids]), *(carry or ())]))
    features = saved.features
    tables = read_table_parts(data, layout=reading.layout(features.written), text=[*features.text, *kept])
    fill = saved.fill_missing if missing is None else missing == "mean"
    parts = (_predicted(saved, rows, drop or (), kept, fill, unseen, proba) for rows in _few_rows(tables))
    write_table(parts, output)


def _predicted(saved: SavedModel, table: Table, drop: Sequence[str], kept: Sequence[str], fill: bool,
               unseen: str | None, proba: bool) -> Columns:
    """The columns to write for some rows: those that are kept as they are, then the predictions."""
    features = saved.features
    table.require([*drop, *kept])
    others = {*drop, *(name for name in kept if name not in features.columns)}
    read = table.only([name for name in table.names if name not in others])
    X = features.matrix(read, fill_missing=fill, unseen=unseen)
    found = _predictions(saved, outputs(saved.module, X.astype(saved.network.dtype)), proba)
    for name in kept:
        if name in found:
            raise DataError(f"{table.source}: a column of the predictions is called {name!r} too, so that the file's "
                            "cannot be written beside it; rename it")
    return {**{name: table.columns[name] for name in kept}, **found}


def _few_rows(tables: Iterable[Table]) -> Iterator[Table]:
    """Tables, some rows at a time, so that not all predictions are held at once."""
    for table in tables:
        for first in range(0, len(table), _ROWS_AT_ONCE):
            yield table.take(np.arange(first, min(first + _ROWS_AT_ONCE, len(table))))


def _predictions(saved: SavedModel, raw: np.ndarray, proba: bool) -> Columns:
    """The columns of the predictions."""
    if saved.target.task == "regression":
        return {"prediction": saved.target.decoded(raw)}
    labels, chosen = saved.target.labels, raw.argmax(axis=1)
    # of labels such as 1 and 2.5 all parts of a file are floats, whichever occur there
    found: dict[str, Any] = {"prediction": np.array(labels, np.float64)[chosen]
                             if any(isinstance(label, float) for label in labels) else
                             [labels[k] for k in chosen.tolist()]}  # fmt: skip
    if proba:
        found |= {f"p({label})": p for label, p in zip(labels, probabilities(raw).T, strict=True)}
    return found
