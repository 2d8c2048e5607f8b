"""The base of optimisers: parameter groups, flat state, instruction rows, steps and state dicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..engine.storage import Changes, address_of
from ..engine.walks.touched import TouchedRows
from ..engine.writers import Writing
from ..errors import ArgumentError, DtypeError
from ..ops.table import Op
from ..tape.state import Forgotten
from ..tensor.tensor import Tensor
from . import clip
from .averages import AVERAGE
from .checks import check_parameter, positive_or_none
from .copying import Copies
from .lists import list_address, refuse_lists, zero_gradient
from .rows import RateRow, Update, UpdateRows
from .scheduled import Scheduled
from .state_dict import fitting, listed
from .store import ParameterStore, aligned_zeros, flat_offsets, home_words, house, written_by

__all__ = ["Optimizer", "Params"]

Params = Iterable[Any]  # of Tensor, of (name, Tensor), or of dict

#: select among PyTorch's implementations of the same update; ignored
_TORCH_ONLY = {"foreach", "fused", "capturable", "differentiable"}
#: cache size: sets of active parameters whose instructions are kept
_MOST_ROWS = 256


class Optimizer(Copies, Scheduled):
    """Base of the optimisers.

    A subclass names its kernel and declares its rows (`Update`). The rows of all parameters are in one array; a step
    runs those of parameters with a gradient, in one compiled call.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
        Parameters, named parameters, or groups: dicts with ``"params"`` and hyper-parameters of their own.
    defaults : dict
        Hyper-parameters of groups that do not set their own.
    max_grad_norm, max_grad_value : float, optional
        Clip the gradients inside every step, as `clip_grad_norm_` and `clip_grad_value_` would just before it (by value
        first if both are given). Both are attributes that can be set later.

    Attributes
    ----------
    param_groups : list of dict
        A change of a hyper-parameter takes effect at the next step.
    defaults : dict
    store : ParameterStore
    schedulers : list of lr_scheduler.LRScheduler
        Those made with ``interval=``.
    layout : int
        Changes whenever earlier `UpdateRows` become invalid.
    """

    op: ClassVar[Op]
    row: ClassVar[type[Update]] = RateRow
    #: states of one element
    scalar_states: ClassVar[frozenset[str]] = frozenset()
    #: whether an element's update depends on other elements of the parameter, by a norm or a product
    whole: ClassVar[bool] = False

    def __init__(self, params: Params, defaults: dict[str, Any], *, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        unknown = set(torch_only) - _TORCH_ONLY
        if unknown:
            raise TypeError(f"{type(self).__name__} got an unexpected keyword argument {min(unknown)!r}")
        if torch_only.get("differentiable"):
            raise ArgumentError("differentiable=True: steps are not recorded on the tape")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.schedulers = []
        self._max_grad_norm = positive_or_none("max_grad_norm", max_grad_norm)
        self._max_grad_value = positive_or_none("max_grad_value", max_grad_value)
        self._begin()
        if isinstance(params, Tensor):
            raise DtypeError("params must be an iterable of tensors or dicts, not one tensor: write [parameter]")
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{type(self).__name__} got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self._add(group)
        self._build()

    # ------------------------------------------------------------------ for subclasses

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        """The values of the hyper-parameters in `group`, in the order of the row."""
        raise NotImplementedError

    def _needs(self, group: dict[str, Any]) -> Sequence[str]:
        """Names of the states that `group` needs."""
        return self.row.state_names

    def _state_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of a state of a parameter of `shape`; None if such a parameter has none."""
        return () if name in self.scalar_states else shape

    def _sizes(self, parameter: Tensor) -> Sequence[int]:
        """The integers of the row, in its order."""
        return ()

    def _initial(self, name: str, group: dict[str, Any]) -> float:
        """Initial value of a state."""
        return 0.0

    def _refusal(self, group: dict[str, Any]) -> str | None:
        """Why row-sparse gradients are refused in `group` ("" for no reason in particular); None if they are not."""
        return ""

    # ------------------------------------------------------------------ groups and rows

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with ``"params"`` and any hyper-parameters of its own.

        Raises
        ------
        ArgumentError
            If it is empty, or a tensor in it is no leaf or is in a group already.
        DtypeError
            If something in it is no float tensor, or has another dtype than the rest.
        """
        self._add(param_group)
        for averaged in self._averages():
            averaged.take_in(self._parameters)
        self._build()

    def _add(self, param_group: dict[str, Any]) -> None:
        if not isinstance(param_group, dict):
            raise DtypeError(f"a parameter group must be a dict, not {type(param_group).__name__}")
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise DtypeError("parameters come in an order that a state dict can rely on: give a list, not a set")
        given = [given] if isinstance(given, Tensor) else list(given)
        named = [p for p in given if isinstance(p, tuple)]
        tensors = [p[1] if isinstance(p, tuple) else p for p in given]
        if named and len(named) != len(given):
            raise ArgumentError("either all parameters of a group have names or none has")
        if not tensors:
            raise ArgumentError(f"parameter group {len(self.param_groups)} is empty")
        here = dict(self._index)
        first = self._parameters[0] if self._parameters else tensors[0]
        for position, tensor in enumerate(tensors):
            name = f" ({named[position][0]})" if named else ""
            where = f"parameter {position}{name} of group {len(self.param_groups)}"
            check_parameter(tensor, first, where)
            if id(tensor) in here:
                raise ArgumentError(f"{where} is in this optimiser already")
            here[id(tensor)] = len(here)
        group = {**self.defaults, **param_group, "params": tensors}
        if named:
            group["param_names"] = [p[0] for p in named]
        self._hyper(group)
        begin = len(self._parameters)
        self.param_groups.append(group)
        self._parameters += tensors
        self._index, self._given = here, (None, ())
        self._state += [{} for _ in tensors]
        self._slices.append(slice(begin, len(self._parameters)))

    def _build(self) -> None:
        """Rebuild the rows of all parameters; step counts are kept."""
        dtype = self._parameters[0].dtype
        if not self.layout:
            self.dtype = dtype
            self.store = ParameterStore(dtype)
            self._total = aligned_zeros(1, np.dtype(np.float64))  # the norm of all gradients
        count, counted = len(self._parameters), self._table
        places = self.row.places
        self._n, self._steps, self._first_hyper = places["n"], places["steps"], places["lr"]
        self._list, self._clip = places["listed"], self.row.size
        self._first_size, width = places["steps"] + 1, self._clip + clip.WORDS
        self._after = clip.RESET_WORDS + count * width  # where rows of averages begin
        self._words = np.zeros(self._after + self._average_words(), np.int64)
        self._words[:clip.RESET_WORDS] = clip.reset_words(self._total, self.dtype)
        self._table = self._words[clip.RESET_WORDS:self._after].reshape(count, width)
        if counted.size:
            self._table[:len(counted)] = counted
        self._listed: list[int] = []
        self._lists_made = TouchedRows.made
        self._hyper_words = self._table.view(np.float64)[:, self._first_hyper:self._list]
        self._active = np.zeros(count, bool)
        self._new_layout()
        self.store.house(p for p in self._parameters if p.requires_grad)
        for averaged in self._averages():
            house(self.store, (p for _, p in averaged.pairs))

    def _new_layout(self) -> None:
        self.layout += 1
        self._rows: dict[tuple[int, ...], UpdateRows] = {}
        self._synced: list[dict[str, Any] | None] = [None] * len(self.param_groups)  # what the rows hold

    def _activate(self, indices: Sequence[int]) -> None:
        """Make rows runnable: memory, state, addresses, sizes."""
        self.store.house(self._parameters[k] for k in indices)
        self._active[list(indices)] = True
        self._allocate()
        for k in indices:
            parameter, row = self._parameters[k], self._table[k]
            value, gradient = home_words(parameter)
            row[self.row.places["p"]], row[self.row.places["g"]] = value, gradient
            row[self._n] = parameter.size
            row[self._first_size:self._first_hyper] = self._sizes(parameter)
            row[self._list] = list_address(parameter)
            row[self._clip:] = clip.parameter_words(gradient, parameter.size, row[self._list], self._total, self.dtype)
        self._listed = np.flatnonzero(self._table[:, self._list]).tolist()
        self._synced = [None] * len(self.param_groups)  # their parameters may have row lists now
        self._write_bounds()

    def _allocate(self) -> None:
        """Allocate missing states of the active parameters, flat, one array a state."""
        for name in self.row.state_names:
            lacking = [(k, group) for group, part in zip(self.param_groups, self._slices, strict=True)
                       if name in self._needs(group)
                       for k in range(part.start, part.stop) if self._active[k] and name not in self._state[k]
                       and self._state_shape(name, self._parameters[k].shape) is not None]
            shapes = [self._state_shape(name, self._parameters[k].shape) for k, _ in lacking]
            sizes = [math.prod(shape or ()) for shape in shapes]
            offsets, total = flat_offsets(sizes, self.dtype)
            flat = aligned_zeros(total, self.dtype)
            for (k, group), shape, size, offset in zip(lacking, shapes, sizes, offsets, strict=True):
                state = self._state[k][name] = flat[offset:offset + size].reshape(shape)
                value = self._initial(name, group)
                if value != 0.0:
                    state[...] = value
                self._table[k, self.row.places[name]] = address_of(state) // self.dtype.itemsize

    def update_rows(self, parameters: Iterable[Tensor] | None = None) -> UpdateRows:
        """The instructions that update `parameters`, ready to run.

        Parameters
        ----------
        parameters : iterable of Tensor, optional
            Those that have gradients; by default all that require one. Tensors of other optimisers are skipped.

        Returns
        -------
        UpdateRows
            The same object for the same parameters, as long as `layout` stays.
        """
        if parameters is None:
            key = tuple(k for k, p in enumerate(self._parameters) if p.requires_grad)
        elif parameters is self._given[0]:
            key = self._given[1]
        else:
            key = tuple(sorted(self._index[id(p)] for p in parameters if id(p) in self._index))
            if type(parameters) is tuple:
                self._given = parameters, key
        self._take_lists()
        rows = self._rows_of(key)
        self._sync(only_changed=True)
        return rows

    def settle(self) -> int:
        """Apply a user's changes since the last step; returns `layout`, which tells whether rows are still valid."""
        if self._listed or self._lists_made != TouchedRows.made:
            self._take_lists()
        if self.param_groups != self._synced:
            self._sync(only_changed=True)
        return self.layout

    def _rows_of(self, key: tuple[int, ...]) -> UpdateRows:
        rows = self._rows.get(key)
        if rows is None:
            if len(self._rows) >= _MOST_ROWS:
                self._rows.clear()
            self._activate(key)
            width = self._table.shape[1]
            begins = clip.RESET_WORDS + np.array(key, np.int64) * width
            program = [(self.op, begins)]
            if self._max_grad_norm is not None:
                program = clip.norm_program(begins + self._clip, bool(key)) + program
            if self._max_grad_value is not None:
                program = clip.value_program(begins + self._clip) + program
            averages = self._average_starts()
            program.append((AVERAGE, averages))
            for op, starts in program:
                if len(starts):
                    op.forward.address(self.dtype)
            columns = [begins + self._first_hyper]
            owners = [np.searchsorted([part.stop for part in self._slices], key, "right")]
            cycled = self._cycled_word()
            if cycled:
                columns.append(begins + self._first_hyper + cycled)
                owners.append(owners[0] + len(self.param_groups))
            rows = self._rows[key] = UpdateRows(
                opcodes=np.concatenate([np.full(len(starts), op.opcode, np.int64) for op, starts in program]),
                starts=np.concatenate([starts for _, starts in program]), words=self._words,
                lr_words=np.concatenate(columns), lr_groups=np.concatenate(owners).astype(np.int64),
                updates=len(key), elements=sum(self._parameters[k].size for k in key), count_word=self._n,
                whole_word=self._n if self.whole or self.scalar_states else self._list, width=self._clip,
                layout=self.layout, dtype=self.dtype, after=len(averages),
            )
        return rows

    def _cycled_word(self) -> int:
        """Index of the hyper-parameter that a registered schedule cycles besides the rate, or 0."""
        if any(s.cycles_momentum for s in self.schedulers if s.interval == "step"):
            return next(j for j, name in enumerate(self.row.hyper_names) if name in ("momentum", "beta1"))
        return 0

    def _take_lists(self) -> None:
        """Update row lists for the present gradients, and find new ones."""
        if self._lists_made != TouchedRows.made:
            self._lists_made = TouchedRows.made
            if any(self._active[k] and p.node.touched is not None and not self._table[k, self._list]
                   for k, p in enumerate(self._parameters)):
                self._new_layout()
        for k in self._listed:
            list_address(self._parameters[k])

    def sync_hyperparameters(self) -> None:
        """Write the hyper-parameters of `param_groups` into the rows unconditionally."""
        self._sync(only_changed=False)

    def _sync(self, only_changed: bool) -> None:
        for g, group in enumerate(self.param_groups):
            if only_changed and group == self._synced[g]:
                continue
            values = self._hyper(group)
            part = self._slices[g]
            refuse_lists(type(self).__name__, self._refusal(group),
                         [self._parameters[k] for k in self._listed if part.start <= k < part.stop])
            self._allocate()
            self._hyper_words[part] = values
            # deep: a list may be changed in place; parameters are compared by identity
            self._synced[g] = {key: list(value) if isinstance(value, list) and key != "params" else value
                               for key, value in group.items()}

    # ------------------------------------------------------------------ clipping

    @property
    def max_grad_norm(self) -> float | None:
        """Bound of the global 2-norm of the gradients inside every step; None for no bound."""
        return self._max_grad_norm

    @max_grad_norm.setter
    def max_grad_norm(self, value: float | None) -> None:
        before, self._max_grad_norm = self._max_grad_norm, positive_or_none("max_grad_norm", value)
        self._bounds_changed((before is None) != (value is None))

    @property
    def max_grad_value(self) -> float | None:
        """Bound of the magnitude of each gradient element inside every step; None for no bound."""
        return self._max_grad_value

    @max_grad_value.setter
    def max_grad_value(self, value: float | None) -> None:
        before, self._max_grad_value = self._max_grad_value, positive_or_none("max_grad_value", value)
        self._bounds_changed((before is None) != (value is None))

    def _bounds_changed(self, other_rows: bool) -> None:
        if other_rows:
            self._new_layout()
        self._write_bounds()

    def _write_bounds(self) -> None:
        clip.write_bounds(self._table.view(np.float64)[:, self._clip:], self._max_grad_norm, self._max_grad_value)

    # ------------------------------------------------------------------ steps

    written = property(written_by, doc="What its steps write to, for threads to take turns.")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that requires a gradient and has one, in one compiled call.

        Parameters
        ----------
        closure : callable, optional
            Called first; computes the loss and its gradients, and returns the loss.

        Returns
        -------
        The closure's loss, or None.
        """
        loss = closure() if closure is not None else None
        key = tuple([k for k, p in enumerate(self._parameters) if p.requires_grad and p.node.gradient is not None])
        if key:
            with Writing(self):
                self._take_lists()
                rows = self._rows.get(key) or self._rows_of(key)
                self._sync(only_changed=True)
                rows.run()
                for k in key:
                    Changes.mark(self._parameters[k].buffer)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or fill them with zeros."""
        for parameter in self._parameters:
            leaf = parameter.node
            if leaf is not None and leaf.gradient is not None:
                if set_to_none:
                    leaf.gradient = None
                else:
                    zero_gradient(parameter)
        Forgotten.count += set_to_none

    # ------------------------------------------------------------------ state

    @property
    def state_nbytes(self) -> int:
        """Bytes of allocated optimiser state."""
        return sum(a.nbytes for state in self._state for a in state.values())

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """The state of each parameter that has some, in the arrays that the kernels use."""
        return {self._parameters[k]: self._pack(k, copy=False) for k in range(len(self._parameters)) if self._has(k)}

    def _has(self, k: int) -> bool:
        return self._table[k, self._steps] > 0

    def _pack(self, k: int, copy: bool) -> dict[str, Any]:
        arrays = {name: array.copy() if copy else array for name, array in self._state[k].items()
                  if name in self.row.saved_names}
        return {"step": int(self._table[k, self._steps]), **arrays}

    def _unpack(self, k: int, saved: dict[str, Any]) -> int:
        """Number of steps in a saved state."""
        return int(float(saved["step"]))

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: array}}, "param_groups": [...]}``, as PyTorch arranges it; copies."""
        groups = []
        for group, part in zip(self.param_groups, self._slices, strict=True):
            packed = {key: value for key, value in group.items() if key != "params"}
            groups.append({**packed, "params": list(range(part.start, part.stop))})
        state = {k: self._pack(k, copy=True) for k in range(len(self._parameters)) if self._has(k)}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load hyper-parameters and state from a state dict of the same groups, ours or PyTorch's.

        Raises
        ------
        StateDictError
            If the groups, their sizes, or a shape differ; nothing is changed then.
        """
        shapes = [{name: shape for name in self.row.saved_names
                   if (shape := self._state_shape(name, p.shape)) is not None} for p in self._parameters]
        saved_groups, saved_state = fitting(state_dict, self._slices, shapes)
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            for key, value in saved.items():
                if key != "params":
                    group[key] = tuple(value) if isinstance(group.get(key), tuple) else value
        self._activate(sorted(saved_state))
        self._table[:, self._steps] = 0
        for group, part in zip(self.param_groups, self._slices, strict=True):
            for k in range(part.start, part.stop):
                saved = saved_state.get(k, {})
                for name, array in self._state[k].items():
                    value = saved.get(name)
                    array[...] = self._initial(name, group) if value is None else np.asarray(value)
                if saved:
                    self._table[k, self._steps] = self._unpack(k, saved)
        self.sync_hyperparameters()

    def __repr__(self) -> str:
        return listed(type(self).__name__, self.param_groups)
