"""The file that ``tapegrad sweep`` reads: data, options of ``tapegrad train``, and what to try."""

from __future__ import annotations

import difflib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from ..data.sources import sources
from ..errors import DataError, MissingExtraError
from .options import UsageError
from .request import Request
from .train import train

__all__ = ["DATA_SUM", "Config", "parsed_options", "read_config", "training_words"]

#: the column that tells whether the data are those of then
DATA_SUM = "data_crc32"
_TABLES = ("grid", "random")
#: options that a run of a sweep follows, beside those of a `Request`
_MORE = ("epochs", "lr", "test_fraction", "val_fraction", "patience", "members", "class_weight")
_CHUNK = 1 << 20


def _train_command() -> Any:
    single = typer.Typer(add_completion=False)
    single.command()(train)
    return typer.main.get_command(single)


_COMMAND = _train_command()
_OPTIONS: dict[str, Any] = {str(p.name): p for p in _COMMAND.params
                            if p.name in _MORE or p.name != "data" and p.name in Request.__dataclass_fields__}


@dataclass(frozen=True)
class Config:
    """What a file asks for.

    Attributes
    ----------
    data : tuple of str
        Paths, absolute; none for the digits.
    space : dict
        As `tg.sweep` takes it: values of options as the file gives them.
    samples, seed : int
        Draws for each combination; the seed of draws.
    """

    data: tuple[str, ...]
    space: dict[str, Any]
    samples: int
    seed: int

    @property
    def repeats(self) -> list[str]:
        """Settings that repeat a run: the seed, if there are several."""
        return ["seed"] if isinstance(self.space.get("seed"), list) else []


@dataclass(frozen=True)
class _Range:
    """Numbers between two ends, both included, evenly or evenly in their logarithms."""

    low: float
    high: float
    log: bool

    def rvs(self, random_state: np.random.Generator) -> float | int:
        """One number."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        low, high = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)
        if self.log:
            drawn = math.exp(random_state.uniform(math.log(low), math.log(high)))
        else:
            drawn = random_state.uniform(low, high)
        drawn = min(max(drawn, self.low), self.high)
        return round(drawn) if whole else float(f"{drawn:.6g}")


@dataclass(frozen=True)
class _Choice:
    """One of several values."""

    values: Sequence[Any]

    def rvs(self, random_state: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(random_state.integers(len(self.values)))]


def read_config(path: Path) -> Config:
    """Read and check a file; every value goes through the checks of the command line.

    Raises
    ------
    DataError
        What cannot be used, with its key, its value and a remedy.
    OSError
        The file, or the data, cannot be read.
    """
    content = _toml(path)
    tables = {name: content.pop(name, {}) for name in _TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise DataError(f"{path}: {name} = {table!r}: is a table of options; write [{name}] and options below it")
    data = _data(path, content)
    samples, repeats = (_count(path, content, name) for name in ("samples", "repeats"))
    space: dict[str, Any] = {}
    shown: dict[str, str] = {}
    for where, table in (("", content), *tables.items()):
        for key, value in table.items():
            name = _name(path, key, where)
            spelled = f"[{where}] {key}" if where else key
            if name in shown:
                raise DataError(f"{path}: {spelled} = {value!r}: is given as {shown[name]} already; leave one out")
            shown[name] = spelled
            space[name] = _tried(path, name, spelled, where, value)
    if samples is not None and not tables["random"]:
        raise DataError(f"{path}: samples = {samples}: is how often to draw from [random], and there is none; add it, "
                        "or write repeats for the same runs with other seeds")
    seed = space.get("seed", 0)
    if repeats is not None:
        if not isinstance(seed, int):
            raise DataError(f"{path}: repeats = {repeats}: seeds follow from the first one, and {shown['seed']} gives "
                            "several; leave one of the two out")
        space["seed"] = list(range(seed, seed + repeats))
    if all(not isinstance(values, list) and not hasattr(values, "rvs") for values in space.values()):
        raise DataError(f"{path}: names one run; give values to try, such as [grid] and below it lr = [0.01, 0.001]")
    if data:
        space = {"data": " ".join(data), DATA_SUM: _sum(data), **space}
    return Config(data, space, samples or 1, seed if isinstance(seed, int) else 0)


def _toml(path: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # before Python 3.11
        try:
            import tomli as tomllib
        except ImportError as error:
            raise MissingExtraError(f"{path}: reading TOML needs tomli on this Python: pip install 'tapegrad[cli]'") \
                from error
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not TOML: {error}; text stands in quotes, lists in brackets") from error


def _data(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """The paths of the data, which hold from the folder of the file on."""
    given = content.pop("data", [])
    paths = [given] if isinstance(given, str) else given
    if not isinstance(paths, list) or not all(isinstance(each, str) for each in paths) or "-" in paths:
        raise DataError(f"{path}: data = {given!r}: is the path of a file, or a list of paths; standard input can be "
                        "read only once")
    return tuple(str(path.parent.absolute() / each) for each in paths)


def _count(path: Path, content: dict[str, Any], name: str) -> int | None:
    count = content.pop(name, None)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise DataError(f"{path}: {name} = {count!r}: is not a whole number of at least 1")
    return count


def _name(path: Path, key: str, where: str) -> str:
    """The option that a key names."""
    name = key.replace("-", "_")
    if name in _OPTIONS:
        return name
    spelled = f"[{where}] {key}" if where else key
    if any(p.name == name for p in _COMMAND.params):
        raise DataError(f"{path}: {spelled}: is for a single run; leave it out, and train the best with it afterwards")
    known = [*_OPTIONS, *(() if where else ("data", "samples", "repeats", *_TABLES))]
    close = difflib.get_close_matches(name, known, 1, 0.5)
    advice = f"did you mean {close[0]}?" if close else "tapegrad train --help lists what there is"
    raise DataError(f"{path}: {spelled}: no option of tapegrad train has this name; {advice}")


def _tried(path: Path, name: str, spelled: str, where: str, value: Any) -> Any:
    """The values to try of an option, each checked."""
    if where == "":
        if isinstance(value, dict):
            raise DataError(f"{path}: {spelled}: is a table; ranges stand below [random], lists of values below [grid]")
        _check(path, name, spelled, value)
        return (_cell(name, value),) if isinstance(_cell(name, value), list) else _cell(name, value)
    if where == "grid":
        if not isinstance(value, list) or not value:
            raise DataError(f"{path}: {spelled} = {value!r}: is not a list of values to try, such as [{value!r}]")
        for each in value:
            _check(path, name, spelled, each)
        return [_cell(name, each) for each in value]
    return _drawn(path, name, spelled, value)


def _drawn(path: Path, name: str, spelled: str, value: Any) -> Any:
    form = "{ low = 0.001, high = 0.1, log = true } or { choice = [1, 2] }"
    if not isinstance(value, dict) or not (set(value) == {"choice"} or {"low", "high"} <= set(value) <=
                                           {"low", "high", "log"}):
        raise DataError(f"{path}: {spelled} = {value!r}: is not of the form {form}")
    if "choice" in value:
        if not isinstance(value["choice"], list) or not value["choice"]:
            raise DataError(f"{path}: {spelled} = {value!r}: choice is a list of values")
        for each in value["choice"]:
            _check(path, name, spelled, each)
        return _Choice([_cell(name, each) for each in value["choice"]])
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (low, high))
    if not numbers or not -math.inf < low < high < math.inf or not isinstance(log, bool):
        raise DataError(f"{path}: {spelled} = {value!r}: low and high are numbers, low the smaller one; log is true or "
                        "false")
    if log and low <= 0:
        raise DataError(f"{path}: {spelled} = {value!r}: has no logarithm at low = {low}; give a positive one, or "
                        "leave log out")
    for each in (low, high):
        _check(path, name, spelled, each)
    return _Range(low, high, log)


def _cell(name: str, value: Any) -> Any:
    """A value as the table of results has it."""
    return ",".join(map(str, value)) if name == "hidden" and isinstance(value, list) else value


def _words(name: str, value: Any) -> list[str]:
    """The words of the command line that give a value to an option."""
    option = _OPTIONS[name]
    if getattr(option, "is_flag", False):
        if not isinstance(value, bool):
            raise UsageError(f"{value!r} is neither true nor false")
        return [option.opts[0]] if value else option.secondary_opts[:1]
    if isinstance(value, list) and not option.multiple:
        if name != "hidden":
            raise UsageError("is a list, and one value is taken; lists of values to try stand below [grid]")
        value = _cell(name, value)
    values = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(each, (str, int, float)) and not isinstance(each, bool) for each in values):
        raise UsageError("is neither a number nor text")
    return [f"{max(option.opts, key=len)}={each}" for each in values]


def _check(path: Path, name: str, spelled: str, value: Any) -> None:
    """Have the command line check a value."""
    try:
        with _COMMAND.make_context("train", _words(name, value)):
            pass
    except UsageError as error:
        text = " ".join(str(error.message).split())
        raise DataError(f"{path}: {spelled} = {value!r}: {text}") from error


def training_words(settings: Mapping[str, Any]) -> list[str]:
    """The options of ``tapegrad train`` for the settings of a run."""
    return [word for name, value in settings.items() if name in _OPTIONS for word in _words(name, value)]


def parsed_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All options of ``tapegrad train``, those of a run's settings and the defaults of the others."""
    with _COMMAND.make_context("train", training_words(settings)) as context:
        return {name: context.params[name] for name in _OPTIONS}


def _sum(paths: Sequence[str]) -> str:
    """A checksum of files, as hexadecimal digits."""
    total = 0
    for source in sources(paths):
        assert source.path is not None
        with open(source.path, "rb") as file:
            while chunk := file.read(_CHUNK):
                total = zlib.crc32(chunk, total)
    return f"x{total:08x}"  # no text of digits, which would be read as a number
