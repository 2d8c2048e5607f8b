"""Datasets and their batches, augmentation, tables from files and their preprocessing."""

from .archive import read_npz
from .augment import Compose, GaussianNoise, Normalize, RandomAffine, RandomCrop, RandomHorizontalFlip
from .csvfile import read_csv
from .dataset import ArrayDataset, Dataset, batches
from .features import Features
from .images import ImageFolder
from .layout import Layout
from .numbers import Numerals, parse_number
from .reading import read_table
from .rows import drop_incomplete, fold_rows, split_rows
from .table import Table, listed
from .target import Target, guess_task

__all__ = [
    "ArrayDataset",
    "Compose",
    "Dataset",
    "Features",
    "GaussianNoise",
    "ImageFolder",
    "Layout",
    "Normalize",
    "Numerals",
    "RandomAffine",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Table",
    "Target",
    "batches",
    "drop_incomplete",
    "fold_rows",
    "guess_task",
    "listed",
    "parse_number",
    "read_csv",
    "read_npz",
    "read_table",
    "split_rows",
]
