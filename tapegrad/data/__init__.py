"""Data in: tables from files, and the preprocessing that turns them into what a network sees."""

from .features import Features
from .rows import drop_incomplete, split_rows
from .table import Table, listed, parse_number, read_csv, read_npz, read_table
from .target import Target, guess_task

__all__ = [
    "Features",
    "Table",
    "Target",
    "drop_incomplete",
    "guess_task",
    "listed",
    "parse_number",
    "read_csv",
    "read_npz",
    "read_table",
    "split_rows",
]
