"""Estimators for scikit-learn's tools, trained in compiled code."""

from ..errors import MissingExtraError

try:
    import sklearn.base as _base  # noqa: F401
except ImportError:
    raise MissingExtraError("tapegrad.sklearn needs scikit-learn: pip install 'tapegrad[sklearn]'") from None

from .estimator import Estimator
from .mlp import MLPClassifier, MLPRegressor

__all__ = ["Estimator", "MLPClassifier", "MLPRegressor"]
