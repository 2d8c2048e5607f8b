"""How a text file lays out its table, as told and as found out from its beginning."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .numbers import Numerals, is_missing

__all__ = ["Layout", "found", "has_header", "row_names"]

_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 1 << 16
_YEARS = range(1500, 2201)
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text file lays out its table. What is None is found out.

    Attributes
    ----------
    header : bool, optional
        Whether the first row names the columns.
    delimiter : str, optional
        One character between columns; a blank stands for any number of blanks and tabs.
    decimal, thousands : str
    percent : bool
        As `Numerals` takes them.
    quote : str, optional
        What encloses cells with delimiters: '"' or "'".
    comment : str
        Lines that start with it are left out; none if empty.
    encoding : str, optional
        As Python calls it. By default UTF-8, or UTF-16 with its mark.
    """

    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    quote: str | None = None
    comment: str = ""
    encoding: str | None = None

    @property
    def numerals(self) -> Numerals:
        """How numbers are written."""
        return Numerals(self.decimal, self.thousands, self.percent)


def found(layout: Layout, text: str) -> tuple[Layout, int]:
    """A layout with its delimiter and quotes found out from a file's first lines.

    Returns
    -------
    layout : Layout
        Only `header` may still be None.
    start : int
        Where in the text the table begins: behind a line ``sep=;``.
    """
    start = 0
    stated = _SEPARATOR_LINE.match(text)
    if stated:
        start = stated.end()
        layout = replace(layout, delimiter=layout.delimiter or stated.group(1))
    sample = text[start : start + _SAMPLE_CHARACTERS]
    lines = [line for line in sample.splitlines() if line.strip() and not is_comment(line, layout.comment)][:50]
    quote = layout.quote or _quote(lines, layout.delimiter)
    return replace(layout, quote=quote, delimiter=layout.delimiter or _delimiter(lines, layout, quote)), start


def is_comment(line: str, comment: str) -> bool:
    """Whether a line is to be left out."""
    return bool(comment) and line.startswith(comment)


def _quote(lines: Sequence[str], delimiter: str | None) -> str:
    """Single quotes if every one of several stands at a cell's edge and there are no double ones."""
    marks = re.escape(delimiter or _DELIMITERS)
    cells = re.compile(rf"(?:^|[{marks}])\s*'[^']*'\s*(?=$|[{marks}])")
    text = "\n".join(lines)
    if '"' in text or "'" not in text:
        return '"'
    enclosed = sum(2 * len(cells.findall(line)) for line in lines)
    return "'" if enclosed == text.count("'") and enclosed >= len(lines) else '"'


def _delimiter(lines: Sequence[str], layout: Layout, quote: str) -> str:
    """The delimiter that gives most of the lines the same width; then most numbers, then the largest width."""
    best, best_score = ",", (0.0, 0.0, 0)
    for delimiter in _DELIMITERS:
        records = [record for record in _split(lines, delimiter, quote) if record]
        widths = Counter(map(len, records))
        width, count = max(widths.items(), key=lambda item: item[1], default=(1, 0))
        numerals = replace(layout, decimal=",").numerals if delimiter == ";" and layout.decimal == "." else None
        cells = [cell.strip() for record in records for cell in record]
        read = sum(
            _is_number(cell, layout.numerals) or (numerals is not None and _is_number(cell, numerals)) for cell in cells
        )
        score = (round(count / max(sum(widths.values()), 1), 1), round(read / max(len(cells), 1), 1), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    if best_score[0] < 1.0:
        records = [line.split() for line in lines]
        width = len(records[-1]) if records else 1
        even = all(len(record) == width for record in records[1:]) and len(records[0] if records else ()) in (
            width, width - 1,
        )  # fmt: skip
        if width > 1 and even and any(_is_number(cell, layout.numerals) for cell in records[-1]):
            return " "
    return best


def _split(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, quotechar=quote, skipinitialspace=True))


def _is_number(cell: str, numerals: Numerals) -> bool:
    number = numerals.parse(cell)
    return number is not None and number == number


def has_header(records: Sequence[Sequence[str]], numerals: Numerals) -> bool:
    """Whether the first of some records names columns.

    It does if it is all text, if it has text above a number, or if it has text beside years above what is no year.
    """

    def is_text(cell: str) -> bool:
        return numerals.parse(cell) is None

    first = records[0]
    if all(is_text(cell) for cell in first if cell) and any(first):
        return True
    below = records[1] if len(records) > 1 else []
    if any(
        is_text(cell) and under and not is_text(under) and not is_missing(under)
        for cell, under in zip(first, below, strict=False)
    ):
        return True
    years = [place for place, cell in enumerate(first) if cell.isdigit() and int(cell) in _YEARS]
    labelled = all(is_text(cell) or not cell for place, cell in enumerate(first) if place not in years)
    rising = all(int(first[a]) < int(first[b]) for a, b in zip(years, years[1:]))
    enough = len(years) > 1 if len(years) < len(first) else len(years) > 2
    others = [record[place] for record in records[1:50] for place in years if place < len(record)]
    return (
        enough and labelled and rising and bool(others)
        and not any(cell.isdigit() and int(cell) in _YEARS for cell in others)
    )  # fmt: skip


def row_names(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record, the header, lacks a name for a first column of row names, as R writes it."""
    width, below = len(records[0]) + 1, records[1:]
    return (
        bool(below) and all(len(record) == width for record in below)
        and len({record[0] for record in below}) == len(below) and all(record[0] for record in below)
        and any(record[-1] for record in below)
    )  # fmt: skip
