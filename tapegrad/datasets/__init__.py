"""Small data sets that come with the package, each with its licence beside it."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

__all__ = ["load_digits", "load_oil", "load_shakespeare", "load_sunspots"]

_DIGITS_TEST_ROWS = 360
_SPLITS = ("all", "train", "test")


def load_digits(split: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits: 1,797 grey images of 8 x 8 pixels, flattened.

    Parameters
    ----------
    split : {"all", "train", "test"}
        All images in the order of the source, or one side of a split that never changes:
        1,437 images to train on and 360 (20 per cent) held out.

    Returns
    -------
    X : ndarray of float64, shape (n, 64)
        Pixels row by row, 0 (paper) to 1 (ink), in steps of 1/16.
    y : ndarray of int64, shape (n,)
        The digit, 0 to 9.

    Raises
    ------
    ValueError
        `split` is none of the three.

    Notes
    -----
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49, licensed under CC BY 4.0; see ``digits.LICENSE.txt``
    beside the data.

    Examples
    --------
    >>> X, y = load_digits("test")
    >>> X.shape, y.shape
    ((360, 64), (360,))
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(_SPLITS)}; got {split!r}")
    with resources.files(__name__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        X = arrays["images"].reshape(-1, 64) / 16.0
        y = arrays["labels"].astype(np.int64)
    if split == "all":
        return X, y
    # RandomState: the one generator whose stream NumPy promises never to change (NEP 19)
    order = np.random.RandomState(0).permutation(len(y))
    rows = order[:_DIGITS_TEST_ROWS] if split == "test" else order[_DIGITS_TEST_ROWS:]
    return X[rows], y[rows]


def load_oil() -> tuple[np.ndarray, np.ndarray]:
    """Daily prices of crude oil (West Texas Intermediate), 2006 to 2018.

    Returns
    -------
    days : ndarray of datetime64[D], shape (3269,)
        Those on which there is a price.
    price : ndarray of float64, shape (3269,)
        Dollars a barrel.

    Notes
    -----
    U.S. Energy Information Administration, in the public domain; see ``oil.LICENSE.txt`` beside the data.

    Examples
    --------
    >>> days, price = load_oil()
    >>> print(days[0], price[0], days[-1], price[-1])
    2006-01-03 63.11 2018-12-28 45.15
    """
    packed = resources.files(__name__).joinpath("oil.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").split()[1:]
    days, prices = zip(*(line.split(",") for line in lines))
    return np.array(days, dtype="datetime64[D]"), np.array(prices, dtype=np.float64)


def load_shakespeare() -> str:
    """Hamlet, Macbeth, Romeo and Juliet, one after the other: 415,540 characters of ASCII.

    Notes
    -----
    In the public domain; see ``shakespeare.LICENSE.txt`` beside the data.

    Examples
    --------
    >>> text = load_shakespeare()
    >>> "To be, or not to be,--that is the question" in text
    True
    """
    packed = resources.files(__name__).joinpath("shakespeare.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def load_sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Monthly mean sunspot numbers, 1749 to 2008.

    Returns
    -------
    months : ndarray of datetime64[M], shape (3120,)
    number : ndarray of float64, shape (3120,)

    Notes
    -----
    NOAA's National Geophysical Data Center, in the public domain; see ``sunspots.LICENSE.txt`` beside the data.

    Examples
    --------
    >>> months, number = load_sunspots()
    >>> print(months[0], number[0], months[-1], number[-1])
    1749-01 58.0 2008-12 0.8
    """
    with resources.files(__name__).joinpath("sunspots.csv").open("rb") as file:
        years = np.loadtxt(file, delimiter=",", skiprows=1)
    return np.arange("1749-01", "2009-01", dtype="datetime64[M]"), years[:, 1:].ravel()
