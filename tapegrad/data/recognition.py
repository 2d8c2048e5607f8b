"""What a table's columns hold: numbers, truth values, categories, dates, identifiers, or text that needs a word."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError
from .kinds import Boolean, Category, Kind, Moment, Number, canonical, is_exact
from .moments import Moments
from .numbers import is_missing
from .table import Table, listed
from .text import Text

__all__ = ["AUTO", "Recognised", "recognise"]

#: in place of a column's name: all columns of text with few values are categories
AUTO = "auto"
_LEAST_ROWS_OF_IDENTIFIERS = 20
_NAMES_OF_IDENTIFIERS = re.compile(
    r"(.*[ _.-])?(id|ids|idx|index|key|uuid|guid|rowid|row names|rownames|row_names)|column 1|unnamed: 0", re.IGNORECASE
)
_CAMEL_ID = re.compile(r".*[a-z](Id|ID)")


@dataclass
class Recognised:
    """The columns as understood.

    Attributes
    ----------
    kinds : dict of str to Kind
        Of the columns to learn from.
    left_out : list of str
        Identifiers.
    notes : list of str
        What a user should know.
    problems : dict of str to str
        For a column that cannot be read, what is wrong and what to do.
    remedies : dict of str to str
        For columns that may yet prove unreadable, what to do then.
    """

    kinds: dict[str, Kind] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    remedies: dict[str, str] = field(default_factory=dict)


def recognise(
    table: Table, *, categorical: Sequence[str] = (), ignored: Sequence[str] = (), keep: Sequence[str] = (),
    dates: str | None = None,
) -> Recognised:
    """Find out what a table's columns hold.

    Parameters
    ----------
    table : Table
    categorical, ignored, keep : sequence of str
        Columns of categories, or `AUTO`; columns to leave out; columns to learn from whatever they look like.
    dates : {"dmy", "mdy"}, optional
        Whether days or months come first in dates such as 1/2/2024.

    Raises
    ------
    DataError
        A column that is not there, or named twice; none is left.
    """
    auto = AUTO in categorical and AUTO not in table.columns
    named = [name for name in categorical if not (auto and name == AUTO)]
    table.require(ignored)
    table.require(named)
    table.require(keep)
    clash = [name for name in (*named, *keep) if name in ignored]
    if clash:
        raise DataError(f"column {clash[0]!r} cannot be both a category and left out or the target" if clash[0] in named
                        else f"column {clash[0]!r} cannot be both kept and left out or the target")
    names = [name for name in table.names if name not in ignored]
    if not names:
        raise DataError(f"{table.source}: no column is left to learn from")
    found, text = Recognised(), dict[str, Text]()
    for name in names:
        if name in named:
            found.kinds[name] = _category(table, name)
        elif not table.is_text(name):
            _number(table, name, found, name in keep)
        elif _holds_numbers(table, name):
            _number_in_text(table, name, found, auto, name in keep)
        else:
            _words(table, name, found, auto, name in keep, dates, text)
    if text:
        found.problems = {**_text_problems(table, text, found, auto), **found.problems}
    if not found.kinds and not found.problems:
        found.kinds = {
            name: Number() for name in found.left_out if not table.is_text(name) or _holds_numbers(table, name)
        }
        if not found.kinds:
            raise DataError(f"{table.source}: no column is left to learn from ({listed(found.left_out)}: a different"
                            " value in every row)")
        found.left_out, found.notes = [name for name in found.left_out if name not in found.kinds], []
    return found


def _category(table: Table, name: str) -> Category:
    text = table.text(name)
    exact = is_exact(text) or not all(table.is_number(cell) for cell in text.values if not is_missing(cell))
    present = {cell for cell in text.counts() if not is_missing(cell)}
    if not present:
        raise DataError(f"{table.source}: column {name!r} has no value; try --drop {shlex.quote(name)}")
    return Category(sorted(present if exact else {canonical(cell, table.written) for cell in present}), exact)


def _holds_numbers(table: Table, name: str) -> bool:
    """Whether at least half of the cells with a value are numbers."""
    counts = {cell: count for cell, count in table.text(name).counts().items() if not is_missing(cell)}
    numbers = sum(count for cell, count in counts.items() if table.is_number(cell))
    return 2 * numbers >= sum(counts.values())


def _named_like_an_identifier(name: str) -> bool:
    return bool(_NAMES_OF_IDENTIFIERS.fullmatch(name) or _CAMEL_ID.fullmatch(name))


def _number(table: Table, name: str, found: Recognised, keep: bool) -> None:
    found.kinds[name] = Number()
    if keep or len(table) < _LEAST_ROWS_OF_IDENTIFIERS or not _named_like_an_identifier(name):
        return
    try:
        values = table.numbers(name)
    except DataError:
        return
    if np.all(values == np.floor(values)) and len(np.unique(values)) == len(values):
        _leave_out(name, found, "a different whole number in every row")


def _leave_out(name: str, found: Recognised, what: str) -> None:
    found.kinds.pop(name, None)
    found.left_out.append(name)
    found.notes.append(f"{name} holds {what}: taken for an identifier and left out (--keep {shlex.quote(name)})")


def _number_in_text(table: Table, name: str, found: Recognised, auto: bool, keep: bool) -> None:
    text = table.text(name)
    codes = [cell for cell in text.counts() if re.match(r"[+-]?0\d", cell)]
    if codes:
        if auto and _are_few(text, len(table)):
            found.kinds[name] = _category(table, name)
            return
        found.notes.append(
            f"{name} holds numbers with leading zeros such as {codes[0]}, read as numbers"
            f" (--categorical {shlex.quote(name)} reads them as labels)"
        )
    _number(table, name, found, keep)


def _are_few(text: Text, rows: int) -> bool:
    """Whether text is of few enough values to be categories."""
    values = sum(not is_missing(cell) for cell in text.counts())
    return values <= max(min(20, rows // 2), min(200, rows // 20))


def _words(table: Table, name: str, found: Recognised, auto: bool, keep: bool, dates: str | None,
           text: dict[str, Text]) -> None:
    """A column that does not hold numbers."""
    cells = table.text(name)
    counts = {cell: count for cell, count in cells.counts().items() if not is_missing(cell)}
    if Boolean.holds(cells):
        found.kinds[name] = Boolean()
        return
    otherwise = [cell for cell in counts if table.written.hint(cell)]
    if 2 * len(otherwise) >= len(counts):
        row = int(np.argmax(cells.codes == cells.values.index(otherwise[0])))
        hint = table.written.hint(otherwise[0])
        found.problems[name] = f"{table.where(row, name)}: {otherwise[0]!r} is not a number; {hint}"
        return
    forms = Moments.forms(counts)
    if len(forms) == 2 and dates is not None:
        forms = ["d/m/y" if dates == "dmy" else "m/d/y"]
    if len(forms) == 2:
        found.problems[name] = (
            f"{table.where(0, name)}: days and months cannot be told apart in {next(iter(counts))!r};"
            f" --dates dmy or --dates mdy says which come first"
        )
    elif forms:
        clock = any(":" in cell for cell in counts)
        parts = ["day"] if forms[0] == "time" else ["days", "year", "week", *(["day"] if clock else [])]
        found.kinds[name] = Moment(forms[0], parts)
        found.notes.append(f"{name} is read as {found.kinds[name].words}")
    elif len(counts) == len(table) >= _LEAST_ROWS_OF_IDENTIFIERS and not keep:
        _leave_out(name, found, "a different text in every row")
        found.notes[-1] = found.notes[-1].replace("--keep", "--categorical")
    elif auto and _are_few(cells, len(table)):
        found.kinds[name] = _category(table, name)
    else:
        text[name] = cells


def _text_problems(table: Table, text: dict[str, Text], found: Recognised, auto: bool) -> dict[str, str]:
    """What to say of columns of text that nobody has said anything of."""
    if len(text) == 1:
        name, cells = next(iter(text.items()))
        option = shlex.quote(name)
        cell = next(cell for cell in cells.counts() if not is_missing(cell))
        row = int(np.argmax(cells.codes == cells.values.index(cell)))
        return {name: f"{table.where(row, name)}: {cell!r} is not a number; for a column of categories --categorical"
                      f" {option}, or leave it out with --drop {option}"}  # fmt: skip
    few = [name for name, cells in text.items() if _are_few(cells, len(table))]
    many = [name for name in text if name not in few]
    said: list[str] = []
    for name, cells in text.items():
        counts = [cell for cell in cells.counts() if not is_missing(cell)]
        examples = listed(cell[:30] for cell in counts[:3])
        said.append(f"{name} ({len(counts)} values: {examples}{', ...' if len(counts) > 3 else ''})")
    remedies = []
    if few and not auto:
        these = listed(few) if many else "them"
        remedies.append(f"--categorical auto reads {these} as categories")
    if many:
        options = " ".join(f"--drop {shlex.quote(name)}" for name in many)
        remedies.append(f"{options} leaves out what has many values" if few or auto else
                        f"{options} leaves them out, and --categorical NAME reads one as categories")  # fmt: skip
    words = f"{table.source}: columns {', '.join(said)} hold text; {'; '.join(remedies)}"
    return {next(iter(text)): words}
