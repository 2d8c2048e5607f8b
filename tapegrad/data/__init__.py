"""Datasets and their batches, augmentation, tables from files and their preprocessing."""

from .augment import Compose, GaussianNoise, Normalize, RandomAffine, RandomCrop, RandomHorizontalFlip
from .dataset import ArrayDataset, Dataset, batches
from .features import Features
from .images import ImageFolder
from .rows import drop_incomplete, fold_rows, split_rows
from .table import Table, listed, parse_number, read_csv, read_npz, read_table
from .target import Target, guess_task

__all__ = [
    "ArrayDataset",
    "Compose",
    "Dataset",
    "Features",
    "GaussianNoise",
    "ImageFolder",
    "Normalize",
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
