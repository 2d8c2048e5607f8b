"""`Sweep`: the rows of a sweep, the best of them, a table and a picture."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, DataError
from ..tape.tables import aligned
from .results import Row
from .space import OWN, cell, identity

__all__ = ["Sweep"]

_SHOWN = 20
_WIDEST = 48


class Sweep(Sequence[Row]):
    """The runs of a sweep, in the order of its settings; prints as a table, the best first.

    Attributes
    ----------
    rows : list of dict
        Of each run its number, settings, ``status`` ("done" or "failed"), results, ``seconds`` and ``error``.
    settings : list of str
        The names of the settings.
    metric : str
        The column that tells how good a run is.
    mode : {"min", "max"}
        Whether small or large values of it are good.
    repeats : tuple of str
        Settings in which runs of the same kind differ, such as a seed: runs are compared by their means over these.
    path : Path or None
        The file.
    """

    def __init__(self, rows: list[Row], settings: list[str], metric: str, mode: str, repeats: Collection[str] = (),
                 path: Path | None = None) -> None:
        self.rows, self.settings, self.metric, self.mode = rows, settings, metric, mode
        self.repeats, self.path = tuple(repeats), path

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: Any) -> Any:
        return self.rows[k]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def best(self) -> Row:
        """The best run, the first of `ranked`; NaN and infinities are never best.

        Raises
        ------
        ArgumentError
            There is none: no run has a finite value of `metric`.
        """
        ranked = self.ranked
        if not ranked or not _is_finite(ranked[0].get(self.metric)):
            failed = next((f"; the first that failed: {row['error']}" for row in self.rows
                           if row["status"] == "failed"), "")
            names = ", ".join(self.columns)
            raise ArgumentError(f"sweep: no run has a finite {self.metric!r} (there are {names}){failed}")
        return ranked[0]

    @property
    def ranked(self) -> list[Row]:
        """All runs, the best first, those without a finite value last.

        With `repeats`, a row for all runs that differ in these alone: the number of the first one, means of results,
        the metric's standard deviation (of a sample) as ``spread``, the number of ``runs``, seconds in all. Where one
        of them has no finite value, the mean is none either.
        """
        sign = 1.0 if self.mode == "min" else -1.0

        def rank(row: Row) -> float:
            value: Any = row.get(self.metric)
            return sign * value if _is_finite(value) else math.inf

        return sorted(self._means() if self.repeats else self.rows, key=rank)

    def _alike(self) -> list[list[Row]]:
        """The runs that differ in nothing but `repeats`."""
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            alike = tuple(identity(row[name]) for name in self.settings if name not in self.repeats)
            groups.setdefault(alike, []).append(row)
        return list(groups.values())

    def _means(self) -> list[Row]:
        found = []
        for group in self._alike():
            mean = {"run": group[0]["run"],
                    **{name: group[0][name] for name in self.settings if name not in self.repeats},
                    "status": "failed" if any(row["status"] == "failed" for row in group) else "done"}  # fmt: skip
            for name in self._results:
                values: list[Any] = [row.get(name) for row in group]
                if all(_is_number(value) and value is not None for value in values):
                    mean[name] = math.fsum(values) / len(values) if _are_finite(values) else math.nan
            values = [row.get(self.metric) for row in group]
            if len(values) > 1 and _are_finite(values):
                mean["spread"] = statistics.stdev(values)
            mean["runs"] = len(group)
            mean["seconds"] = math.fsum(row.get("seconds") or 0.0 for row in group)
            found.append(mean)
        return found

    @property
    def _results(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row if name not in (*OWN, *self.settings)))

    @property
    def failed(self) -> list[Row]:
        """The runs that failed."""
        return [row for row in self.rows if row["status"] == "failed"]

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The table by columns, as ``pandas.DataFrame`` and ``polars.DataFrame`` take it; None for what is missing."""
        names = ["run", *self.settings, "status", *self._results, "seconds", "error"]
        return {name: [row.get(name) for row in self.rows] for name in names}

    @property
    def varied(self) -> list[str]:
        """The settings in which the runs differ."""
        return [name for name in self.settings if len({identity(row[name]) for row in self.rows}) > 1]

    def __str__(self) -> str:
        return self.table()

    def table(self, results: Collection[str] | None = None) -> str:
        """The best runs, and the causes of failed ones, as text.

        Parameters
        ----------
        results : collection of str, optional
            The columns of results to show, all without it.
        """
        ranked = self.ranked
        shown = sorted((name for name in self._results if results is None or name in results),
                       key=lambda name: name != self.metric)  # fmt: skip
        names = ["run", *(name for name in self.varied if name not in self.repeats), *shown]
        if self.repeats:
            names = [*names[:-len(shown)], *shown[:1], "spread", *shown[1:], "runs"] if shown else [*names, "runs"]
        names.append("seconds")
        table = [names, *([_shown(row.get(name)) for name in names] for row in ranked[:_SHOWN])]
        right = [k for k, name in enumerate(names) if all(_is_number(row.get(name)) for row in ranked)]
        lines = [aligned(table, right)]
        if len(ranked) > _SHOWN:
            lines.append(f"{len(ranked) - _SHOWN} more")
        lines += [f"run {row['run']} failed: {row['error']}" for row in self.failed[:_SHOWN]]
        if len(self.failed) > _SHOWN:
            lines.append(f"{len(self.failed) - _SHOWN} more failed")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Sweep of {len(self)} runs, {len(self.failed)} failed>"

    def plot(self, path: str | os.PathLike[str], title: str | None = None) -> None:
        """Draw the metric over each setting in which runs differ, and over the runs with the best so far.

        Parameters
        ----------
        path : path
            File to write; its suffix gives the format (png, svg, pdf).
        title : str, optional

        Raises
        ------
        ArgumentError
            No run has a finite value of the metric.
        DataError
            Another suffix.
        MissingExtraError
            Without matplotlib (``pip install 'tapegrad[viz]'``).
        """
        if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
            raise DataError(f"{os.fspath(path)}: the name of a picture must end in .png, .svg or .pdf")
        best = self.best
        from .picture import draw

        group = next(group for group in self._alike() if any(row["run"] == best["run"] for row in group))
        of_best = [row["run"] for row in group] if self.repeats else [best["run"]]
        spread = f" ± {best['spread']:.2g}" if "spread" in best else ""
        value = f"{self.metric} {best[self.metric]:.4g}{spread}"
        runs = f"run{'' if len(of_best) == 1 else 's'} {', '.join(map(str, of_best))}"
        lost = f", {len(self.failed)} failed" if self.failed else ""
        found = f"{len(self)} runs{lost}; best {value} ({runs})"
        draw([row for row in self.rows if _is_finite(row.get(self.metric))], self.varied, of_best, self.metric,
             self.mode, path, title or found)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_finite(values: list[Any]) -> bool:
    return all(map(_is_finite, values))


def _shown(value: Any) -> str:
    """A cell for people."""
    if value is None:
        return "-"
    value = cell(value)
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST - 3]}..."
