"""Dates and times in text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from math import inf

import numpy as np

__all__ = ["PARTS", "Moments"]

_TIME = r"(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2}(?:\.\d+)?))?"
_CLOCK = rf"(?:[T ]+{_TIME}\s*(?P<z>Z|[+-]\d{{2}}:?\d{{2}})?)?"
#: years first, as ISO 8601 has them; days first with points; days or months first
_FORMS = {
    "ymd": re.compile(rf"(?P<y>\d{{4}})([-/.])(?P<m>\d{{1,2}})\2(?P<d>\d{{1,2}}){_CLOCK}"),
    "d.m.y": re.compile(rf"(?P<d>\d{{1,2}})\.(?P<m>\d{{1,2}})\.(?P<y>\d{{4}}){_CLOCK}"),
    "d/m/y": re.compile(rf"(?P<d>\d{{1,2}})([-/])(?P<m>\d{{1,2}})\2(?P<y>\d{{4}}){_CLOCK}"),
    "m/d/y": re.compile(rf"(?P<m>\d{{1,2}})([-/])(?P<d>\d{{1,2}})\2(?P<y>\d{{4}}){_CLOCK}"),
    "time": re.compile(_TIME),
}
_WORDS = {"ymd": "date such as 2024-12-31", "d.m.y": "date such as 31.12.2024", "d/m/y": "date such as 31/12/2024",
          "m/d/y": "date such as 12/31/2024", "time": "time such as 23:59"}  # fmt: skip
_EPOCH = date(1970, 1, 1).toordinal()


class Moments:
    """Dates or times written in one form.

    Parameters
    ----------
    form : {"ymd", "d.m.y", "d/m/y", "m/d/y", "time"}
    """

    def __init__(self, form: str) -> None:
        self._pattern, self.words = _FORMS[form], _WORDS[form]

    @staticmethod
    def forms(cells: Iterable[str]) -> list[str]:
        """The forms that all of some cells are written in; several where days and months cannot be told apart."""
        cells = list(cells)
        return [form for form in _FORMS if cells and all(Moments(form).days(cell) != inf for cell in cells)]

    def days(self, cell: str) -> float:
        """Days since the beginning of 1970, or of the day; where it is none, infinity."""
        found = self._pattern.fullmatch(cell)
        if found is None:
            return inf
        parts = found.groupdict()
        hours, minutes, seconds = int(parts["H"] or 0), int(parts["M"] or 0), float(parts["S"] or 0)
        if hours > 24 or minutes > 59 or seconds >= 61 or (hours == 24 and (minutes or seconds)):
            return inf
        day = 0.0
        if "y" in parts:
            try:
                day = float(date(int(parts["y"]), int(parts["m"]), int(parts["d"])).toordinal() - _EPOCH)
            except ValueError:
                return inf
        zone = (parts.get("z") or "Z").replace(":", "")
        east = 0 if zone == "Z" else (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 60 + int(zone[3:5]))
        return day + (hours * 3600 + (minutes - east) * 60 + seconds) / 86400


def _of_year(days: np.ndarray) -> np.ndarray:
    """The elapsed share of the calendar year."""
    whole = np.where(np.isnan(days), 0, days)
    dates = np.floor(whole).astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    start, end = (year.astype("datetime64[D]").astype(np.float64) for year in (years, years + 1))
    return np.where(np.isnan(days), np.nan, (whole - start) / (end - start))


#: a moment's phase in a cycle, from its days
PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "year": _of_year,
    "week": lambda days: (days + 3) / 7 % 1,  # 1970 began on a Thursday; weeks begin on Mondays
    "day": lambda days: days % 1,
}

