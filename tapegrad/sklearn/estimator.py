"""Any module as an estimator of scikit-learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import ClassifierTags, RegressorTags, check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import optim
from ..engine.random import seeded
from ..errors import ArgumentError, ShapeError
from ..nn import Module
from ..nn import functional as F
from ..program import TrainStep
from ..tape.state import no_grad
from ..tensor.tensor import Tensor

__all__ = ["Estimator"]

_CLASSES = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy")
_NUMBERS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
#: what makes predictions of a module's output; of a function of one's own as of cross_entropy, or nothing
_PREDICTIONS: dict[str, Callable[[Any], Any]] = {
    "cross_entropy": lambda z: F.softmax(z, 1), "nll_loss": lambda z: z.exp(),
    "binary_cross_entropy_with_logits": F.sigmoid,
}
_ROWS = 4096  # that are predicted at once


class _Loss(Module):
    """The mean loss of a batch, weighted where its rows have weights."""

    def __init__(self, module: Module, loss: str | Callable, outputs: int) -> None:
        super().__init__()
        self.module, self.loss, self.outputs = module, loss, outputs

    def forward(self, x: Any, y: Any, weight: Any = None) -> Any:
        z = column(self.module(x))
        if z.ndim != 2 or z.shape[1] != self.outputs:
            raise ShapeError(f"the module gives {list(z.shape)} for rows {list(x.shape)}; the target asks for "
                             f"[{len(x)}, {self.outputs}]")
        each = getattr(F, self.loss)(z, y, reduction="none") if isinstance(self.loss, str) else self.loss(z, y)
        if weight is None:
            return each.mean()
        if each.ndim == 0:
            raise ArgumentError("sample_weight: the loss function gives a mean; one that is to be weighted gives a "
                                "loss for each row")
        rows = each.reshape(len(x), -1).mean(axis=1)
        return (rows * weight).sum() / weight.sum()


def column(z: Tensor) -> Tensor:
    """Outputs as (n, outputs)."""
    return z.reshape(-1, 1) if z.ndim == 1 else z


def _classifies(estimator: Any) -> bool:
    return estimator._task() == "classifier"


class Estimator(BaseEstimator):
    """A module with a loss and an optimiser, as a classifier or regressor for scikit-learn's tools.

    Parameters
    ----------
    module : Module or callable
        A module, of which `fit` trains a copy; or a function ``(inputs, outputs)`` that makes one for so many columns
        of X and outputs: classes, one for two classes with a binary loss, labels, or targets.
    loss : str or callable, default "cross_entropy"
        The name of a loss of `tapegrad.nn.functional`. Classifiers have cross_entropy, nll_loss,
        binary_cross_entropy_with_logits and binary_cross_entropy (two classes, or several labels a row); regressors
        mse_loss, l1_loss, smooth_l1_loss and huber_loss. Or a function of outputs (n, outputs) and targets, (n,) of
        classes or (n, outputs), that gives a mean or a loss for each row; `task` is needed then, and a classifier's
        outputs are logits.
    optimizer : str or callable, default "Adam"
        The name of an optimiser of `tapegrad.optim`, or a function ``(parameters, lr=, **optimizer_options)``.
    lr : float, default 1e-3
    optimizer_options : dict, optional
        Further keywords of the optimiser.
    task : {"classifier", "regressor"}, optional
        By default it follows from the name of the loss.
    max_epochs : int, default 50
    batch_size : int, default 64
    shuffle : bool, default True
    patience : int, optional
        Hold out `validation_fraction` of the rows, stop after so many epochs in which their loss has not fallen, and
        keep the best weights.
    validation_fraction : float, default 0.1
    dtype : {"auto", "float32", "float64"}, optional
        Of X and the module. "auto" leaves X in float32 or float64, and makes other numbers float64. None leaves both X
        and the module as they are, for modules that take integers.
    warm_start : bool, default False
        `fit` goes on with the module and the optimiser that are there, under `lr` and `loss` as they are now.
    random_state : int, RandomState or None, default None
        Of initial weights that a function makes, of dropout, of shuffles and of what is held out. None draws from
        `manual_seed`'s stream.
    verbose : bool, default False
        Print the loss of each epoch.

    Attributes
    ----------
    module_ : Module
        In evaluation mode.
    optimizer_ : Optimizer
    classes_ : ndarray
        Of a classifier.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_loss_ : list of float
        With `patience`.
    n_iter_ : int
        Epochs of the last fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Raises
    ------
    ArgumentError
        The loss, the task or an option is none that there is.
    ShapeError
        The module does not give what the target asks for.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from tapegrad import nn
    >>> from tapegrad.sklearn import Estimator
    >>> x, y = load_iris(return_X_y=True)
    >>> def network(inputs, outputs):
    ...     return nn.Sequential(nn.BatchNorm1d(inputs), nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))
    >>> model = Estimator(network, "cross_entropy", "AdamW", lr=0.01, random_state=0).fit(x, y)
    >>> bool(model.score(x, y) > 0.95)
    True
    """

    def __init__(self, module: Any, loss: Any = "cross_entropy", optimizer: Any = "Adam", *, lr: float = 1e-3,
                 optimizer_options: dict[str, Any] | None = None, task: str | None = None, max_epochs: int = 50,
                 batch_size: int = 64, shuffle: bool = True, patience: int | None = None,
                 validation_fraction: float = 0.1, dtype: Any = "auto", warm_start: bool = False,
                 random_state: Any = None, verbose: bool = False) -> None:
        self.module, self.loss, self.optimizer, self.lr = module, loss, optimizer, lr
        self.optimizer_options, self.task, self.max_epochs, self.batch_size = (optimizer_options, task, max_epochs,
                                                                               batch_size)
        self.shuffle, self.patience, self.validation_fraction = shuffle, patience, validation_fraction
        self.dtype, self.warm_start, self.random_state, self.verbose = dtype, warm_start, random_state, verbose

    def _task(self) -> str | None:
        if self.task is not None:
            return self.task
        return "classifier" if self.loss in _CLASSES else "regressor" if self.loss in _NUMBERS else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.target_tags.required = self._task(), True
        if _classifies(self):
            binary = str(self.loss).startswith("binary")
            tags.classifier_tags = ClassifierTags(multi_class=not binary, multi_label=binary)
        else:
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = True
        return tags

    # ------------------------------------------------------------------ training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Estimator:
        """Train on rows X (n, columns) or (n, ...) and their targets; returns the estimator.

        Parameters
        ----------
        X : array_like, (n, ...)
        y : array_like, (n,) or (n, outputs)
            Labels, an indicator matrix, or numbers.
        sample_weight : array_like, (n,), optional
        """
        going_on = self.warm_start and hasattr(self, "module_")
        return self._train(X, y, sample_weight, None, going_on, self.max_epochs)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Estimator:
        """Train for one epoch, going on from what is there; `classes` are all that will come, at the first call."""
        return self._train(X, y, sample_weight, classes, hasattr(self, "module_"), 1)

    def _train(self, X: Any, y: Any, sample_weight: Any, classes: Any, going_on: bool, epochs: int) -> Estimator:
        if self._task() not in ("classifier", "regressor"):
            raise ArgumentError(f"Estimator: task must be 'classifier' or 'regressor' where loss is {self.loss!r}; "
                                f"losses by name are {', '.join(_CLASSES + _NUMBERS)}")
        X, y = validate_data(self, X, y, dtype=self._dtype(), allow_nd=True, multi_output=True,
                             y_numeric=not _classifies(self), reset=not going_on)
        rows = [X, self._targets(y, classes, going_on)]
        if sample_weight is not None:
            rows.append(_check_sample_weight(sample_weight, X))
            rows = [a[rows[2] != 0] for a in rows]  # a batch of zeros would have no mean
        drawn = None if self.random_state is None else check_random_state(self.random_state).randint(2**31 - 1)
        with nullcontext() if drawn is None else seeded(drawn):
            if not going_on:
                self._begin(X)
            elif self._begun != self._settings():
                self._go_on()
            self._run(rows, epochs, drawn)
        return self

    def _dtype(self) -> Any:
        if self.dtype is None:
            return "numeric"
        if self.dtype == "auto":
            return [np.float64, np.float32]
        if self.dtype not in ("float32", "float64", np.float32, np.float64):
            raise ArgumentError(f"Estimator: dtype must be 'auto', 'float32', 'float64' or None, not {self.dtype!r}")
        return self.dtype

    def _targets(self, y: np.ndarray, classes: Any, going_on: bool) -> np.ndarray:
        """Targets as the loss takes them; learns classes and the number of outputs."""
        if not _classifies(self):
            if not going_on:
                self._flat = y.ndim == 1
                self._outputs = 1 if y.ndim == 1 else y.shape[1]
            return np.ascontiguousarray(y.reshape(len(y), -1), np.float64)
        check_classification_targets(y)
        binary = str(self.loss).startswith("binary")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not going_on:
            self._labels = LabelBinarizer().fit(y if classes is None or y.ndim == 2 else classes)
            self.classes_ = self._labels.classes_
            if type_of_target(y).startswith("multilabel"):
                self._outputs = y.shape[1]
            else:
                self._outputs = 1 if binary and len(self.classes_) <= 2 else len(self.classes_)
        if y.ndim == 1 and (unknown := np.setdiff1d(y, self.classes_)).size:
            raise ValueError(f"y has the classes {unknown.tolist()}, which are not among classes_: "
                             f"{self.classes_.tolist()}")
        if binary:
            if y.ndim == 1 and len(self.classes_) > 2:
                raise ArgumentError(f"Estimator: {self.loss!r} is of two classes, or of an indicator matrix. Only "
                                    f"binary classification is supported. The type of the target is "
                                    f"{type_of_target(y)}, of {len(self.classes_)} classes; use 'cross_entropy'")
            return np.ascontiguousarray(self._labels.transform(y), np.float64)
        if y.ndim == 2:
            raise ArgumentError("Estimator: several labels a row need 'binary_cross_entropy_with_logits', not "
                                f"{self.loss!r}")
        return np.searchsorted(self.classes_, y)

    def _begin(self, X: np.ndarray) -> None:
        """A new module, optimiser and step."""
        module = self.module
        module = copy.deepcopy(module) if isinstance(module, Module) else module(X.shape[1], self._outputs)
        if not isinstance(module, Module):
            raise ArgumentError(f"Estimator: module must be a Module or make one, not {type(module).__name__}")
        self.module_ = module if self.dtype is None else module.to(X.dtype)
        make = self.optimizer
        if isinstance(make, str):
            make = getattr(optim, make, None)
            if not (isinstance(make, type) and issubclass(make, optim.Optimizer)):
                raise ArgumentError(f"Estimator: tapegrad.optim has no optimiser {self.optimizer!r}")
        self.optimizer_ = make(list(self.module_.parameters()), lr=self.lr, **(self.optimizer_options or {}))
        self._step = TrainStep(_Loss(self.module_, self.loss, self._outputs), self.optimizer_)
        self.loss_curve_: list[float] = []
        self._begun = self._settings()

    def _settings(self) -> tuple[Any, ...]:
        """What a module, its optimiser and its step were made of."""
        return self.lr, self.loss, self.optimizer, self.optimizer_options, self.dtype

    def _go_on(self) -> None:
        """Take over settings that have changed since the module was made."""
        if self._begun[2:] != self._settings()[2:]:
            raise ArgumentError("Estimator: optimizer, optimizer_options and dtype are those with which the module was "
                                "made; fit with warm_start=False begins anew with others")
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr
        if self._begun[1] != self.loss:
            self._step = TrainStep(_Loss(self.module_, self.loss, self._outputs), self.optimizer_)
        self._begun = self._settings()

    def _run(self, rows: list[np.ndarray], epochs: int, drawn: int | None) -> None:
        held: list[np.ndarray] = []
        patience = self.patience
        if patience is not None and epochs > 1:
            stratify = rows[1] if rows[1].dtype.kind == "i" else None
            parts = train_test_split(*rows, test_size=self.validation_fraction, random_state=drawn, stratify=stratify)
            rows, held = parts[::2], parts[1::2]
            self.validation_loss_: list[float] = []
        best: dict[str, Any] = {}
        self.n_iter_ = seen = 0

        def epoch_ends(epoch: int, history: Any) -> bool:
            nonlocal best, seen
            losses, seen = history.loss[seen:], len(history.loss)
            sizes = np.full(len(losses), self.batch_size)
            sizes[-1] = len(rows[0]) - self.batch_size * (len(losses) - 1)
            self.loss_curve_.append(float(np.average(losses, weights=sizes)))
            self.n_iter_ += 1
            if self.verbose:
                print(f"Epoch {self.n_iter_}, loss = {self.loss_curve_[-1]:.8f}")
            if patience is None or not held:
                return False
            self.module_.eval()
            with no_grad():
                self.validation_loss_.append(float(self._step.loss_fn(*held)))
            self.module_.train()
            lowest = int(np.argmin(np.nan_to_num(self.validation_loss_, nan=np.inf)))
            if lowest == self.n_iter_ - 1:
                best = {name: np.array(value) for name, value in self.module_.state_dict().items()}
            return self.n_iter_ - 1 - lowest >= patience

        self.module_.train()
        try:
            self._step.run(*rows, batch_size=self.batch_size, epochs=epochs, shuffle=self.shuffle, seed=drawn,
                           callback=epoch_ends)
        finally:
            if best:
                self.module_.load_state_dict(best)
            self.module_.eval()

    # ------------------------------------------------------------------ predicting

    def _outcome(self, X: Any) -> np.ndarray:
        """Probabilities or numbers, (n, outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=self._dtype(), allow_nd=True, reset=False)
        name = self.loss if isinstance(self.loss, str) else "cross_entropy" if _classifies(self) else ""
        finish = _PREDICTIONS.get(name, lambda z: z)
        with no_grad():
            parts = [finish(column(self.module_(X[k:k + _ROWS]))).numpy() for k in range(0, len(X), _ROWS)]
        return np.concatenate(parts)

    def predict(self, X: Any) -> np.ndarray:
        """Classes (n,), an indicator matrix (n, labels), or numbers (n,) or (n, outputs)."""
        outcome = self._outcome(X)
        if not _classifies(self):
            return outcome.ravel() if self._flat else outcome
        if str(self.loss).startswith("binary"):
            return self._labels.inverse_transform(outcome.ravel() if outcome.shape[1] == 1 else outcome)
        return self.classes_[outcome.argmax(1)]

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes), or of each label (n, labels)."""
        outcome = self._outcome(X)
        if outcome.shape[1] == 1 and str(self.loss).startswith("binary"):
            return np.hstack([1 - outcome, outcome])[:, :len(self.classes_)]
        return outcome

    @available_if(_classifies)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R^2 of a regressor."""
        return (accuracy_score if _classifies(self) else r2_score)(y, self.predict(X), sample_weight=sample_weight)
