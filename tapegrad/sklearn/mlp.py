"""scikit-learn's multi-layer perceptrons, trained in compiled code."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import sklearn
from scipy.sparse import issparse
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from ..errors import MissingExtraError, ShapeError
from ..nn import Sequential
from .network import Trainer, batch_objective, perceptron
from .rows import SparseRows

try:
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    _GIVEN = ["self", "X", "y", "sample_weight", "activations", "deltas", "coef_grads", "intercept_grads"]
    for _name, _parameters in [("_fit_stochastic", [*_GIVEN, "layer_units", "incremental"]),
                               ("_fit_lbfgs", [*_GIVEN, "layer_units"]),
                               ("_loss_grad_lbfgs", ["self", "packed_coef_inter", *_GIVEN[1:]]),
                               ("_update_no_improvement_count", ["self", "early_stopping", *_GIVEN[1:4]])]:
        if list(inspect.signature(getattr(neural_network.MLPClassifier, _name)).parameters) != _parameters:
            raise AttributeError(_name)
except (ImportError, AttributeError) as _error:
    raise MissingExtraError(f"tapegrad.sklearn trains within the perceptrons of scikit-learn 1.7 and newer; those of "
                            f"{sklearn.__version__} are other inside ({_error}): pip install 'tapegrad[sklearn]'"
                            ) from None

__all__ = ["MLPClassifier", "MLPRegressor"]

#: rows whose order is drawn ahead
_ROWS_AT_ONCE = 1 << 16
#: rows of weight zero times parameters for which an epoch's last batch is filled up to the size of the others: one
#: recording then does for all epochs in a row, which saves 90 microseconds an epoch
_FILLED = 500_000


class _Compiled:
    """The training of scikit-learn's perceptrons, recorded once and run by the epoch."""

    def to_module(self: Any) -> Sequential:
        """The fitted network as a module of its own.

        Returns
        -------
        Sequential
            Without the activation of the output: it gives logits of classes, the mean of a regressor, or with
            ``loss="poisson"`` its logarithm.
        """
        check_is_fitted(self)
        return perceptron(self.coefs_, self.intercepts_, self.activation)

    # what scikit-learn's `fit` and `partial_fit` call once data and weights are checked

    def _fit_stochastic(self: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, activations: Any,
                        deltas: Any, coef_grads: list[np.ndarray], intercept_grads: Any, layer_units: list[int],
                        incremental: bool) -> None:
        if [c.shape for c in self.coefs_] != [g.shape for g in coef_grads]:
            raise ShapeError(f"the fitted network has layers of {[len(c) for c in self.coefs_] + [self.n_outputs_]}, "
                             f"hidden_layer_sizes and the data ask for {layer_units}: a warm start and partial_fit go "
                             "on with the network that is there")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not isinstance(getattr(self, "_optimizer", None), _Training):
            self._optimizer = _Training(self)
        training = self._optimizer
        training.trainer.put(self.coefs_, self.intercepts_)
        training.trainer.activate(self.activation)
        training.trainer.objective.alpha = float(self.alpha)
        rows = [X, y] if sample_weight is None else [X, y, sample_weight]
        held_out: list[Any] = [None, None, None]
        if self.early_stopping:
            stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
            parts = train_test_split(*rows, random_state=self._random_state, test_size=self.validation_fraction,
                                     stratify=stratify)
            rows, held = parts[::2], parts[1::2]
            held_out[:len(held)] = held
            if held_out[0].shape[0] < 2:
                raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your "
                                 "dataset.")
            if is_classifier(self):
                held_out[1] = self._label_binarizer.inverse_transform(held_out[1])
        try:
            training.run(self, rows, held_out, incremental)
        finally:
            self.coefs_, self.intercepts_ = training.trainer.take()
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _fit_lbfgs(self: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        self._value_and_gradient = None
        try:
            super()._fit_lbfgs(X, y, sample_weight, *rest)  # type: ignore[misc]
        finally:
            compiled = self.__dict__.pop("_value_and_gradient")
        if compiled is not None and self.out_activation_ == "identity" and self.n_outputs_ > 1:
            n = len(X) if sample_weight is None else sample_weight.sum()
            penalty = 0.5 * self.alpha * sum(np.vdot(c, c) for c in self.coefs_) / n
            self.loss_ = (self.loss_ - penalty) / self.n_outputs_ + penalty  # as scikit-learn shows it

    def _loss_grad_lbfgs(self: Any, packed_coef_inter: np.ndarray, X: Any, y: np.ndarray,
                         sample_weight: np.ndarray | None, *rest: Any) -> tuple[float, np.ndarray]:
        if issparse(X):
            return super()._loss_grad_lbfgs(packed_coef_inter, X, y, sample_weight, *rest)  # type: ignore[misc]
        if self._value_and_gradient is None:
            self._value_and_gradient = batch_objective(self, X, _targets(self, y), sample_weight)
        value, gradient = self._value_and_gradient(packed_coef_inter)
        return float(value), gradient


class _Training:
    """A trainer with scikit-learn's rules for rates and stopping, which go on from one call of partial_fit to the next.

    Attributes
    ----------
    trainer : Trainer
    rules : SGDOptimizer or AdamOptimizer of scikit-learn
        Without parameters: for its learning rate and when it stops.
    """

    def __init__(self, estimator: Any) -> None:
        e = estimator
        self.trainer = Trainer(e)
        if e.solver == "sgd":
            self.rules = SGDOptimizer([], e.learning_rate_init, e.learning_rate, e.momentum, e.nesterovs_momentum,
                                      e.power_t)
        else:
            self.rules = AdamOptimizer([], e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon)

    def run(self, estimator: Any, rows: list[Any], held_out: list[Any], incremental: bool) -> None:
        """Train for one epoch or until the rules stop it, keeping the books as scikit-learn does."""
        e, trainer, n = estimator, self.trainer, rows[0].shape[0]
        if e.batch_size != "auto" and e.batch_size > n:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                          stacklevel=6)
        size = min(200 if e.batch_size == "auto" else e.batch_size, n)
        starts = np.arange(0, n, size)
        counts = np.diff(starts, append=n)
        weights = rows[2] if len(rows) > 2 else None
        order, most, seen = np.arange(n), 1 if incremental else e.max_iter, 0

        def orders_of(block: int) -> np.ndarray:
            """The rows of the next epochs, of which only the last may be one to stop after."""
            orders = [(next_order(), filling) for _ in range(self.epochs_at_once(e, n, whole, most))]
            return np.concatenate([part for order in orders for part in order])

        def next_order() -> np.ndarray:
            nonlocal order
            if e.shuffle:
                order = order[e._random_state.permutation(n)]  # as sklearn.utils.shuffle draws
            if weights is not None and not np.add.reduceat(weights[order], starts).all():
                raise ZeroDivisionError("sample_weight: the weights of a batch sum to zero, so its mean loss cannot be "
                                        "normalized; leave out rows of weight zero, or take a larger batch_size")
            return order

        def stops(block: int, history: Any) -> bool:
            nonlocal seen
            stop = False
            while seen + len(counts) <= len(history.loss):
                losses = history.loss[seen:seen + len(counts)]
                stop = self.epoch_ends(e, float(np.dot(losses, counts) / n), n, held_out)
                seen += len(counts)
            if not (stop or incremental) and e.n_iter_ == e.max_iter:
                warnings.warn(f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization "
                              "hasn't converged yet.", ConvergenceWarning, stacklevel=8)
            return stop or e.n_iter_ == most

        e.n_iter_ = 0
        rows = [rows[0], _targets(e, rows[1]), *rows[2:]]
        if incremental and len(counts) == 1 and not issparse(rows[0]):
            order = next_order()
            self.epoch_ends(e, trainer.step(*(a[order] for a in rows)), n, held_out)
            return
        lacking = len(counts) * size - n
        parameters = sum(c.size for c in e.coefs_)
        filled = 0 < lacking * parameters <= _FILLED and not issparse(rows[0]) and n <= _ROWS_AT_ONCE
        if filled:
            rows = [np.concatenate([a, a[:1]]) for a in [*rows[:2], np.ones(n) if weights is None else weights]]
            rows[2][n] = 0.0
        filling, whole = np.full(lacking if filled else 0, n), filled or not lacking
        try:
            trainer.step.run(*([SparseRows(*rows)] if issparse(rows[0]) else rows), batch_size=size, epochs=most,
                             shuffle=orders_of, callback=stops)
        except KeyboardInterrupt:
            stops(0, trainer.step.history)
            warnings.warn("Training interrupted by user.", stacklevel=6)

    def epochs_at_once(self, estimator: Any, n: int, whole: bool, most: int) -> int:
        """Epochs of whole batches until the first after which something may have to be done but counting."""
        e = estimator
        if not whole or e.early_stopping or e.verbose or getattr(self.rules, "lr_schedule", "") == "invscaling":
            return 1
        left = min(most - e.n_iter_, e.n_iter_no_change + 1 - e._no_improvement_count)
        return max(1, int(min(left, _ROWS_AT_ONCE // n)))

    def epoch_ends(self, estimator: Any, loss: float, n: int, held_out: list[Any]) -> bool:
        """Keep the books of an epoch; returns whether it was the last."""
        e, rules = estimator, self.rules
        e.n_iter_ += 1
        e.loss_ = loss
        e.t_ += n
        e.loss_curve_.append(loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        if e.early_stopping:
            e.coefs_, e.intercepts_ = self.trainer.take()
        e._update_no_improvement_count(e.early_stopping, *held_out)
        rules.iteration_ends(e.t_)
        stop = False
        if e._no_improvement_count > e.n_iter_no_change:
            what = "Validation score" if e.early_stopping else "Training loss"
            stop = rules.trigger_stopping(f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
                                          "consecutive epochs.", e.verbose)
            if not stop:
                e._no_improvement_count = 0
        self.trainer.set_rate(rules.learning_rate)
        return stop


def _targets(estimator: Any, y: np.ndarray) -> np.ndarray:
    """The targets of the loss: numbers of classes for softmax, else floats."""
    if estimator.out_activation_ == "softmax":
        return y.argmax(1)
    return np.ascontiguousarray(y, np.float64 if y.dtype.kind != "f" else y.dtype)


class MLPClassifier(_Compiled, neural_network.MLPClassifier):
    """scikit-learn's `sklearn.neural_network.MLPClassifier`, trained in compiled code.

    Constructor keywords, their defaults, attributes, methods and what they accept are scikit-learn's, and so are the
    initial weights, the shuffles, the objective and the rules of stopping: with the same ``random_state`` it gives the
    same loss curve and coefficients, to rounding.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        See scikit-learn.

    Raises
    ------
    ValueError
        As scikit-learn's; also where a warm start or `partial_fit` meets a fitted network of other layers.
    ZeroDivisionError
        The sample weights of a batch sum to zero.

    Notes
    -----
    X is float64 or float32 and computed in as it is; targets are (n,) of labels or (n, labels) of 0 and 1. Batches of
    a sparse X are made dense as they are trained on; with ``solver="lbfgs"`` a sparse X is trained on by scikit-learn
    itself. The log loss is that of the logits: scikit-learn's, of clipped probabilities, has an upper bound (36 in
    float64, 16 in float32). ``solver="lbfgs"`` searches along lines of the objective that it has the gradient of:
    scikit-learn's loss of several outputs is a mean over them, its gradient that of the sum.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from tapegrad.sklearn import MLPClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), learning_rate_init=0.01, max_iter=400, random_state=0).fit(x, y)
    >>> bool(model.score(x, y) > 0.95)
    True
    """


class MLPRegressor(_Compiled, neural_network.MLPRegressor):
    """scikit-learn's `sklearn.neural_network.MLPRegressor`, trained in compiled code; see `MLPClassifier`.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default "squared_error"
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        See scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.sklearn import MLPRegressor
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.sin(3 * x[:, 0])
    >>> model = MLPRegressor(hidden_layer_sizes=(32,), solver="lbfgs", max_iter=500, random_state=0).fit(x, y)
    >>> bool(model.score(x, y) > 0.99)
    True
    """
