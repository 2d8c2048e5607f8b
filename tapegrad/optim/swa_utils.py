"""Averages of a model's weights, by PyTorch's names: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Changes
from ..errors import ArgumentError, CaptureError, DtypeError, ShapeError, StateDictError
from ..tape.state import no_grad, state
from ..tensor.tensor import Tensor
from .averages import average_rows
from .lr_scheduler.scheduler import LRScheduler, check_optimizer, each_group
from .optimizer import Optimizer
from .scheduled import AVERAGED
from .store import ParameterStore, aligned_zeros, house

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]

Averaging = Callable[[np.ndarray, np.ndarray, int], Any]
AveragingAll = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], int], None]


#: what recordings look at of a module
_LOOKED_AT = frozenset({"_version", "_parameters", "_buffers", "_modules"})


def _decay(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise ArgumentError(f"decay must be from 0 to 1, got {decay}")
    return float(decay)


def get_ema_avg_fn(decay: float = 0.999) -> Averaging:
    """A function of (average, present, number averaged) that gives ``decay average + (1 - decay) present``."""
    keep = _decay(decay)
    return lambda average, present, number: keep * average + (1.0 - keep) * present


def get_swa_avg_fn() -> Averaging:
    """A function of (average, present, number averaged) that gives their equally weighted mean."""
    return lambda average, present, number: average + (present - average) / (number + 1)


def _move(average: np.ndarray, present: np.ndarray, weight: float) -> None:
    if average.dtype.kind == "f":
        average += average.dtype.type(weight) * (present - average)
    else:
        average[...] = present  # of counts there is no mean


def get_ema_multi_avg_fn(decay: float = 0.999) -> AveragingAll:
    """`get_ema_avg_fn` for lists of arrays, in place."""
    return partial(_ema_update, _decay(decay))


def _ema_update(keep: float, averages: Sequence[np.ndarray], presents: Sequence[np.ndarray], number: int) -> None:
    for average, present in zip(averages, presents, strict=True):
        _move(average, present, 1.0 - keep)


def get_swa_multi_avg_fn() -> AveragingAll:
    """`get_swa_avg_fn` for lists of arrays, in place."""
    return _swa_update


def _swa_update(averages: Sequence[np.ndarray], presents: Sequence[np.ndarray], number: int) -> None:
    for average, present in zip(averages, presents, strict=True):
        _move(average, present, 1.0 / (number + 1))


class AveragedModel:
    """A copy of a model that holds running averages of its parameters, called like the model.

    Parameters
    ----------
    model : Module
    device : None or "cpu"
    avg_fn : callable, optional
        From the arrays of the average and of the present values, and the number of models averaged so far, to the next
        average. By default all models weigh alike (SWA); `get_ema_avg_fn` for an exponential moving average.
    multi_avg_fn : callable, optional
        The same for lists of arrays, in place; instead of `avg_fn`.
    use_buffers : bool, default False
        Average the buffers too; else they are those of the model at the last update. Integers are copied.
    optimizer : Optimizer, optional
        Average in every step of this optimiser, `Optimizer.step` and recorded ones alike, instead of at calls of
        `update_parameters`; for the default average and `get_ema_multi_avg_fn`, without `use_buffers`. What the
        optimiser does not update, and buffers, are the model's when `module` is read. Copies and checkpoints of the
        optimiser keep the average.

    Attributes
    ----------
    module : Module
        The copy. Attributes that are not found here are its own: ``averaged.eval()``, ``averaged.parameters()``.
    n_averaged : int
        Models averaged so far.
    interval : str or None
        "average" with `optimizer`.

    Notes
    -----
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018. To average after
    each epoch of a `TrainStep.run`, give it a callback that calls `update_parameters`. It is no `nn.Module`; its state
    dict has PyTorch's keys, ``n_averaged`` and ``module.`` before the model's.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn, optim
    >>> from tapegrad.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    >>> for value in (1.0, 2.0):
    ...     _ = model.weight.copy_(np.full((1, 2), value))
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.numpy().round(4)
    array([[1.1, 1.1]], dtype=float32)
    """

    def __init__(self, model: Any, device: str | None = None, avg_fn: Averaging | None = None,
                 multi_avg_fn: AveragingAll | None = None, use_buffers: bool = False, *,
                 optimizer: Optimizer | None = None) -> None:
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("give avg_fn or multi_avg_fn, not both")
        if device not in (None, "cpu"):
            raise ArgumentError(f"device: there is only the CPU, not {device!r}")
        self._module = deepcopy(model)
        self._model: Any = None
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, bool(use_buffers)
        self._counts = np.zeros(1, np.int64)
        self.interval: str | None = None
        self.pairs: list[tuple[Tensor, Tensor]] = []
        if optimizer is not None:
            self._join(optimizer, model)

    # -------------------------------------------------------------- in an optimiser's steps

    cycles_momentum = False

    def _join(self, optimizer: Optimizer, model: Any) -> None:
        check_optimizer(optimizer)
        if type(optimizer).step is not Optimizer.step:
            raise ArgumentError(f"{type(optimizer).__name__} computes its steps outside of compiled code; call "
                                "update_parameters after each")
        swa = self.avg_fn is None and self.multi_avg_fn in (None, _swa_update)
        ema = isinstance(self.multi_avg_fn, partial) and self.multi_avg_fn.func is _ema_update
        if self.use_buffers or not (swa or ema):
            raise ArgumentError("an optimiser's steps average parameters by get_ema_multi_avg_fn or alike; for other "
                                "functions and for use_buffers call update_parameters")
        self._decay = float(self.multi_avg_fn.args[0]) if isinstance(self.multi_avg_fn, partial) else -1.0
        self._model, self.interval = model, AVERAGED
        if not self.take_in(p for group in optimizer.param_groups for p in group["params"]):
            raise ArgumentError("the optimiser has none of the model's parameters")
        if any(p.dtype != optimizer.dtype for _, p in self.pairs):
            raise DtypeError(f"the optimiser computes in {optimizer.dtype}, the model has other parameters too")
        optimizer._add_average(self)

    def take_in(self, parameters: Iterable[Tensor]) -> int:
        """Average these too, if they are the model's: what was not updated so far had its present value all along."""
        members, known = {id(p) for p in parameters}, {id(p) for _, p in self.pairs}
        new = [(average, p) for average, p in self._pairs(self._module.parameters(), self._model.parameters())
               if id(p) in members and id(p) not in known]
        for average, p in new:
            average.copy_(p.numpy())
        self._house(new)
        before, self._counts = self._counts, aligned_zeros(len(self.pairs) + len(new), np.dtype(np.int64))
        self._counts[...] = before.max()
        self.pairs += new
        return len(new)

    def rows(self) -> list[Sequence[int]]:
        """The rows that average all pairs, frozen parameters too."""
        self._house(self.pairs)
        self._held = [average.buffer for average, _ in self.pairs]  # the rows have their addresses
        return average_rows(self.pairs, self._counts, self._decay)

    @staticmethod
    def _house(pairs: list[tuple[Tensor, Tensor]]) -> None:
        """Hold the averages in memory of their own, for good: they keep their dtype."""
        for average, p in pairs:
            if average.dtype != p.dtype:
                raise DtypeError(f"the averages are {average.dtype}, the optimiser computes in {p.dtype}: convert a "
                                 "copy of the averaged model")
        if pairs:
            house(ParameterStore(pairs[0][1].dtype), (average for average, _ in pairs))

    @property
    def module(self) -> Any:
        """The averaged model."""
        if self._model is not None:
            for average, _ in self.pairs:
                Changes.mark(average.buffer)
            own = {id(average) for average, _ in self.pairs}
            others = self._pairs(self._module.parameters(), self._model.parameters())
            others += self._pairs(self._module.buffers(), self._model.buffers())
            others = [pair for pair in others if id(pair[0]) not in own]
            if others and state.capture is not None:
                raise CaptureError(f"{user_line()}: an averaged model with buffers, or with parameters that its "
                                   "optimiser does not update, copies these when it is called, which no replay would: "
                                   "take averaged.module outside of the recording, and record that")
            for average, p in others:
                average.copy_(p.numpy())
        return self._module

    @property
    def n_averaged(self) -> int:
        """Models averaged so far."""
        return int(self._counts.max())

    @property
    def last_epoch(self) -> int:
        """`n_averaged`."""
        return self.n_averaged

    def __getattr__(self, name: str) -> Any:
        if "_module" not in vars(self) or name.startswith("_") and name not in _LOOKED_AT:
            raise AttributeError(f"AveragedModel has no attribute {name!r}")
        if name in _LOOKED_AT:
            return getattr(self._module, name)
        return getattr(self.module, name)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_held"}

    # -------------------------------------------------------------- by hand

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's result."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Any) -> None:
        """Take the present parameters of `model` into the average; the first are copied.

        Raises
        ------
        ShapeError
            If the model's parameters or buffers are not those of the averaged one.
        """
        if self._model is not None:
            raise ArgumentError("the optimiser's steps keep this average; make one without optimizer= to update it by "
                                "hand")
        buffers = self._pairs(self.module.buffers(), model.buffers())
        pairs = self._pairs(self.module.parameters(), model.parameters())
        averaged = pairs + buffers if self.use_buffers else pairs
        copied = [] if self.use_buffers else buffers
        if self.n_averaged == 0:
            copied = pairs + buffers
        else:
            own, presents = [a.numpy() for a, _ in averaged], [p.numpy() for _, p in averaged]
            if self.avg_fn is not None:
                own = [np.asarray(self.avg_fn(a, p, self.n_averaged)) for a, p in zip(own, presents, strict=True)]
            else:
                (self.multi_avg_fn or get_swa_multi_avg_fn())(own, presents, self.n_averaged)
            for (average, _), values in zip(averaged, own, strict=True):
                average.copy_(values)
        for average, present in copied:
            average.copy_(present.numpy())
        self._counts += 1

    def _pairs(self, own: Iterable[Tensor], given: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
        averages, presents = list(own), list(given)
        if [a.shape for a in averages] != [p.shape for p in presents]:
            raise ShapeError(f"AveragedModel: the model has tensors of shapes {[list(p.shape) for p in presents]}, the "
                             f"averaged one of {[list(a.shape) for a in averages]}")
        return list(zip(averages, presents, strict=True))

    def state_dict(self) -> dict[str, np.ndarray]:
        """``n_averaged``, and the averaged model's state with ``module.`` before its names; copies."""
        return {"n_averaged": np.array(self.n_averaged, np.int64), **self.module.state_dict(prefix="module.")}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Load a state of `state_dict`, or of PyTorch's.

        Raises
        ------
        StateDictError
        """
        if "n_averaged" not in state_dict:
            raise StateDictError("no state of an AveragedModel: it has no 'n_averaged'")
        rest = {name.removeprefix("module."): value for name, value in state_dict.items() if name != "n_averaged"}
        loaded = self.module.load_state_dict(rest, strict)
        self._counts[...] = int(np.asarray(state_dict["n_averaged"]))
        return loaded

    def __repr__(self) -> str:
        return f"AveragedModel(n_averaged={self.n_averaged})\n{self.module!r}"


def update_bn(loader: Iterable[Any], model: Any, device: str | None = None) -> None:
    """Compute the running statistics of a model's batch normalisations anew, over the batches of `loader`.

    Parameters
    ----------
    loader : iterable of array_like or of tuple
        Inputs, or tuples whose first element is the input.
    model : Module or AveragedModel
        Called in training mode; its modes and momenta are as before afterwards.
    device : None or "cpu"
    """
    if device not in (None, "cpu"):
        raise ArgumentError(f"device: there is only the CPU, not {device!r}")
    model = model.module if isinstance(model, AveragedModel) else model
    modules = list(model.modules())
    layers = [m for m in modules if getattr(m, "running_mean", None) is not None and hasattr(m, "reset_running_stats")]
    if not layers:
        return
    modes, momenta = [m.training for m in modules], [m.momentum for m in layers]
    dtype = next(chain((p.dtype for p in model.parameters()), (layer.running_mean.dtype for layer in layers)))
    try:
        model.train()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        with no_grad():
            for batch in loader:
                given = batch[0] if isinstance(batch, (tuple, list)) else batch
                model(given if isinstance(given, Tensor) else Tensor(np.asarray(given), dtype))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


class SWALR(LRScheduler):
    """Anneal the rate to `swa_lr` in `anneal_epochs` epochs, and keep it.

    Parameters
    ----------
    optimizer : Optimizer
    swa_lr : float or sequence of float
        One for all groups, or one each.
    anneal_epochs : int, default 10
    anneal_strategy : {"cos", "linear"}
    last_epoch, interval
        See `lr_scheduler.LRScheduler`.
    """

    holds_on_resume = True

    def __init__(self, optimizer: Optimizer, swa_lr: float | Sequence[float], anneal_epochs: int = 10,
                 anneal_strategy: str = "cos", last_epoch: int = -1, *, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f'anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}')
        if not isinstance(anneal_epochs, (int, np.integer)) or anneal_epochs < 0:
            raise ArgumentError(f"anneal_epochs must be an integer of at least 0, got {anneal_epochs!r}")
        for group, rate in zip(optimizer.param_groups, each_group(optimizer, "swa_lr", swa_lr), strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs, self._anneal_strategy = int(anneal_epochs), anneal_strategy
        super().__init__(optimizer, last_epoch, interval)

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.base_lrs)
        return np.ones(count), np.zeros(count)  # anneals from the present rate in a sequence too

    def _annealed(self, epochs: np.ndarray) -> np.ndarray:
        part = np.clip(epochs / max(1, self.anneal_epochs), 0.0, 1.0)
        return part if self._anneal_strategy == "linear" else (1.0 - np.cos(np.pi * part)) / 2.0

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        # lr = s alpha(e) + l (1 - alpha(e)), where l, the rate before annealing, is (lr - s alpha(e - 1)) / (1 - ...)
        steps = np.maximum(epochs, 1) if self.anneal_epochs == 0 else epochs
        alpha, before = self._annealed(steps), self._annealed(steps - 1)
        still = before == 1.0
        ratio = np.where(still, 0.0, (1.0 - alpha) / np.where(still, 1.0, 1.0 - before))
        target = np.array([group["swa_lr"] for group in self.optimizer.param_groups], np.float64)
        share = np.where(still, 1.0, alpha - before * ratio)
        return ratio, share[:, None] * target
