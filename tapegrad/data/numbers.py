"""Numbers in text: decimal marks, thousands marks, percent signs, and what stands for a missing value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan, nan

from ..engine.lazy import lazy

__all__ = ["MISSING", "Numerals", "is_missing", "parse_number"]

#: markers of missing values in small letters: pandas's, and those of C's printf, R, Weka and spreadsheets
MISSING = frozenset({
    "", "na", "n/a", "n.a.", "nan", "-nan", "+nan", "nan(ind)", "-nan(ind)", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
    "#n/a", "#n/a n/a", "#na", "<na>", "null", "nat", "?",
})  # fmt: skip
_BLANKS = " \u00a0\u2009\u202f"


def is_missing(cell: str) -> bool:
    """Whether a cell without surrounding blanks is empty or stands for a missing value.

    Python's ``None`` does; ``none`` may be a word, and is missing only among numbers.
    """
    return cell == "None" or cell.lower() in MISSING


@dataclass(frozen=True)
class Numerals:
    """How numbers are written.

    Attributes
    ----------
    decimal : str
        The decimal mark, "." or ",".
    thousands : str
        The mark between groups of three digits; none if empty. A blank stands for no-break and thin ones too.
    percent : bool
        Whether numbers may end in a percent sign, and then are divided by 100.
    """

    decimal: str = "."
    thousands: str = ""
    percent: bool = False

    @lazy
    def plain(self) -> bool:
        """Whether numbers are written as Python writes them."""
        return self == Numerals()

    @lazy
    def _grouped(self) -> re.Pattern[str]:
        marks = _BLANKS if self.thousands == " " else self.thousands
        return re.compile(
            rf"[+-]?[1-9]\d{{0,2}}(?:[{re.escape(marks)}]\d{{3}})+(?:{re.escape(self.decimal)}\d*)?(?:[eE][+-]?\d+)?"
        )

    def parse(self, cell: str) -> float | None:
        """The number that a cell holds: NaN for a missing one, None for text."""
        text, share = cell, False
        if not self.plain:
            if self.percent and text.endswith("%"):
                text, share = text[:-1].rstrip(), True
            if self.thousands and self._grouped.fullmatch(text):
                for mark in _BLANKS if self.thousands == " " else self.thousands:
                    text = text.replace(mark, "")
            if self.decimal != ".":
                # a point where commas divide decimals would be read as one: 1.234 is 1234 to whom wrote it
                text = text.replace(".", "\0").replace(self.decimal, ".")
        try:
            # not 1_000, which Python allows and data files do not
            value = None if "_" in text else float(text)
        except ValueError:
            value = None
        if value is None or isnan(value):
            gone = is_missing(cell.strip()) or cell.strip().lower() == "none"
            return nan if gone or (value is not None and not share) else None
        return value / 100.0 if share else value

    def to_json(self) -> dict[str, str | bool]:
        """The keywords that make it."""
        return {"decimal": self.decimal, "thousands": self.thousands, "percent": self.percent}

    def hint(self, cell: str) -> str:
        """The option that would read a cell as a number, in words; empty if none would."""
        if self.percent is False and cell.endswith("%"):
            return "numbers with a percent sign need --percent"
        if self.percent:
            cell = cell.removesuffix("%").rstrip()
        if self.decimal == "." and re.fullmatch(r"[+-]?\d+,\d+", cell):
            also = ", with thousands marks --thousands ," if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) else ""
            return f"numbers with a decimal comma need --decimal ,{also}"
        for mark, name in ((",", ","), (".", "."), (" ", "' '"), ("'", '"\'"')):
            if mark != self.decimal and Numerals(self.decimal, mark).parse(cell) is not None:
                return f"numbers with thousands marks need --thousands {name}"
        if self.decimal == "." and re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+,\d*", cell):
            return "numbers with a decimal comma need --decimal , and with points between thousands --thousands ."
        if self.decimal == "," and re.fullmatch(r"[+-]?\d*\.\d+", cell):
            return "numbers with a decimal point need --decimal ."
        return ""


def parse_number(cell: str, decimal: str = ".") -> float | None:
    """The number that a cell holds: NaN for a missing one, None for text."""
    return Numerals(decimal).parse(cell)
