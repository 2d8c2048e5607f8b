"""`grad` and `value_and_grad`: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.tree import flatten, map_leaves, own, unflatten
from ..errors import DtypeError
from ..functions.constants import ones_like
from ..program.capture import Capture
from ..program.running.program import Program, scalar_seed
from ..tape.history import differentiating
from ..tape.nodes import Leaf
from ..tape.reverse import backward
from ..tape.state import enable_grad, state
from ..tensor.tensor import Tensor
from .evaluation import Evaluation, dtype_of, split, tensor_of
from .transformation import Argnums, Transformation


class ValueAndGrad(Transformation):
    """``value_and_grad(f)`` or ``grad(f)``; call it, nest it, or give it to `compile`."""

    def __init__(self, function: Callable, argnums: int | Sequence[int], has_aux: bool, gradient_only: bool) -> None:
        super().__init__(function, argnums, has_aux, gradient_only)
        self._argnums, self._has_aux, self._gradient_only = Argnums(argnums), has_aux, gradient_only

    def _arranged(self, value: Any, aux: Any, gradients: list[Any], again: Sequence[int] | None) -> Any:
        argnums = self._argnums
        gradient = gradients[0] if argnums.single and again is None else argnums.arranged(gradients, again)
        head = (value, aux) if self._has_aux else value
        return ((gradient, aux) if self._has_aux else gradient) if self._gradient_only else (head, gradient)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Value and gradient at these arguments."""
        positions, again = self._argnums.positions(len(args))
        derived = None if self._has_aux else getattr(self._function, "value_and_gradient", None)  # of a loop
        if derived is not None and state.capture is None and not state.transforming:
            found = derived(args, kwargs, positions)
            if found is not None:
                return self._arranged(found[0], None, found[1], again)
        trees = [flatten(args[k]) for k in positions]
        given = [leaf for leaves, _ in trees for leaf in leaves]
        if state.capture is not None or state.transforming or any(isinstance(t, Tensor) for t in given):
            return self._composed(args, kwargs, positions, again)
        dtype = dtype_of(given)
        chosen: dict[int, list[Tensor]] = {}
        arguments = list(args)
        for k, (leaves, structure) in zip(positions, trees):
            chosen[k] = [Tensor(tensor_of(x, dtype, f"argument {k}"), dtype, True) for x in leaves]
            arguments[k] = unflatten(structure, chosen[k])
            chosen[k] = flatten(arguments[k])[0]
        wanted = {t.node for leaves in chosen.values() for t in leaves}
        with enable_grad(), differentiating(wanted):
            value, aux = split(self._function(*arguments, **kwargs), self._has_aux)
        value = scalar_seed(value, f"{self._name}()")
        if value.requires_grad:
            if isinstance(value.node, Leaf):
                value.backward()
            else:
                backward(value.node.tape, value.node, value.offset, value.shape, value.strides,
                         np.ones(value.shape, value.dtype), False, wanted)
        gradients = [unflatten(structure, [_gradient_array(t) for t in leaves])
                     for (_, structure), leaves in zip(trees, chosen.values())]
        return self._arranged(_plain(value)[()], map_leaves(_plain, aux), gradients, again)

    def _composed(self, args: Sequence[Any], kwargs: dict[str, Any], positions: list[int],
                  again: Sequence[int] | None) -> Any:
        """The same by compositions of ops, which may be differentiated again."""
        run = Evaluation(self._function, args, kwargs, positions, self._has_aux)
        scalar_seed(unflatten(run.structure, run.outputs), f"{self._name}()")
        gradients = run.pull([ones_like(t) for t in run.outputs])
        return self._arranged(run.value(), run.auxiliary(), run.by_argument(gradients), again)

    def trace(self, capture: Capture, inputs: list[Tensor], structure: Any) -> tuple[Program, Callable]:
        """Record for `compile`: the program, and how its results are presented."""
        args, kwargs = unflatten(structure, inputs)
        positions, again = self._argnums.positions(len(args))
        chosen, structures = [], []
        for k in positions:
            leaves, tree = flatten(args[k])  # before the function, which may change its containers
            for t in leaves:
                if not t.is_floating:
                    raise DtypeError(f"argument {k} holds {t.dtype} data, which has no gradient")
                t._requires_grad = True  # of a symbol, which `requires_grad_` does not take for a leaf
            chosen.append(leaves)
            structures.append(tree)
        capture.trained = set()
        result, aux = split(self._function(*args, **kwargs), self._has_aux)
        value = scalar_seed(result, f"{self._name}()")
        aux_leaves, aux_structure = flatten(aux)
        aux_tensors = [t for t in aux_leaves if isinstance(t, Tensor)]
        differentiable = value.is_symbolic and value.requires_grad
        program = Program(capture, inputs, [value, *aux_tensors], value if differentiable else None,
                          [t for leaves in chosen for t in leaves])

        def present(program: Program) -> Any:
            number = program.first_output.copy()[()]
            extra = [program.array(t).copy() if isinstance(t, Tensor) else own(t) for t in aux_leaves]
            gradients = [unflatten(tree, [program.gradient(t) if differentiable else np.zeros(t.shape, t.dtype)
                                          for t in leaves]) for tree, leaves in zip(structures, chosen)]
            return self._arranged(number, unflatten(aux_structure, extra), gradients, again)

        return program, present


def _plain(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _gradient_array(t: Tensor) -> np.ndarray:
    gradient = t.grad
    return np.zeros(t.shape, t.dtype) if gradient is None else gradient.numpy()


def value_and_grad(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> ValueAndGrad:
    """A function that returns the value of `f` and its gradient.

    Parameters
    ----------
    f : callable
        Returns a scalar `Tensor`; with `has_aux` a pair (scalar, anything).
    argnums : int or tuple of int, default 0
        Positional arguments by which to differentiate; each an array or nested lists, tuples and dicts of arrays.
    has_aux : bool, default False

    Returns
    -------
    callable
        ``(value, gradient)``; the gradient has the structure of the argument, and is a tuple if `argnums` is one.

    Notes
    -----
    Of NumPy arrays the gradient is NumPy's; it has no history by parameters or other tensors that `f` uses. Give a
    tensor, ``tg.grad(f)(tg.tensor(x))``, or call it in a recording, and it has.

    Value and gradient are of the argument's dtype; float32 where all that is differentiated is. SciPy's minimisers go
    on in the dtype of the start, and not all of them do so in float32 (SciPy 1.17, ``minimize(..., jac=True)``):

    - ``method="Newton-CG"`` takes differences of gradients at 1e-8 from each other, which are equal in float32: it
      stops at or near the start, and may report success. Nothing but float64 throughout helps.
    - ``"TNC"`` and ``"SLSQP"`` raise: "Buffer dtype mismatch", "All inputs to slsqp must be of type numpy.float64".
      The start must be float64, and for SLSQP the gradient too.
    - ``"CG"`` and ``"BFGS"`` come to the minimum as far as float32 can tell, and may then report "precision loss".

    So start in float64, ``x0.astype(np.float64)``. To compute in float32 all the same, convert at both ends:
    ``value, g = f(x.astype(np.float32))``, then return ``float(value), g.astype(np.float64)``.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> f = lambda w, x: tg.sum(tg.tanh(w * x))
    >>> value, (gw, gx) = tg.value_and_grad(f, argnums=(0, 1))(np.zeros(2), np.ones(2))
    >>> gw.tolist(), gx.tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    return ValueAndGrad(f, argnums, has_aux, False)


def grad(f: Callable, argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> ValueAndGrad:
    """A function that returns the gradient of `f`; see `value_and_grad`.

    Notes
    -----
    Where a function has no derivative, the gradient is one of its subgradients, PyTorch's: 0 at 0 of ``abs``, ``relu``
    and norms; 1 on a bound of ``clip`` by numbers; equal shares where elements tie for ``max``, ``min``, ``maximum``,
    ``minimum`` and the norm of order inf, the first of them in ``max_pool``. ``sqrt`` has slope inf at 0, so that
    ``sqrt(sum(x * x))`` is NaN at 0, where ``norm(x)`` is 0. Of `where`, see there.

    A second derivative is that of the first one's rule, on the branch that it takes there: 0 where the branches are
    numbers; 0 at 0 of norms and std, where PyTorch's and JAX's may be NaN. Measured in float64: gradient; rows of the
    Hessian.

    ========================== ================= ========================= =====================
    f, x                       here              JAX 0.10                  PyTorch 2.13
    ========================== ================= ========================= =====================
    abs(x), 0                  0; 0              1; 0                      0; 0
    relu(x), 0                 0; 0              0; 0                      0; 0
    relu6(x), 6                0; 0              0; 0                      0; 0
    leaky_relu(x, 0.1), 0      0.1; 0            1; 0                      0.1; 0
    elu(x, 2), 0               2; 2              2; 2                      2; 0
    selu(x), 0                 1.758; 1.758      1.758; 1.758              1.758; 0
    hardtanh(x), 1             0; 0              1; 0                      0; 0
    clip(x, 0, 1), 1           1; 0              0.5; 0                    1; 0
    huber_loss(x, 0), 1        1; 1              -                         1; 0
    maximum(x, 0), 0           0.5; 0            0.5; 0                    0.5; 0
    max(x), [1, 1]             0.5 0.5; 0 0; 0 0 0.5 0.5; 0 0; 0 0         0.5 0.5; 0 0; 0 0
    max(x * x), [1, 1]         1 1; 1 0; 0 1     1 1; 1 0; 0 1             1 1; 1 0; 0 1
    sort(x * x) [1, 3], [1, 1] 2 6; 2 0; 0 6     2 6; 2 0; 0 6             2 6; 2 0; 0 6
    max_pool1d(x * x), [1, 1]  2 0; 2 0; 0 0     2 0; 2 0; 0 0             2 0; 2 0; 0 0
    sqrt(x), 0                 inf; -inf         inf; -inf                 inf; -inf
    x ** 0, 0                  0; 0              nan; nan                  0; 0
    x ** 0.5, 0                inf; -inf         inf; -inf                 inf; -inf
    x ** 1, 0                  1; 0              1; nan                    1; 0
    x ** 1.5, 0                0; inf            0; inf                    0; inf
    x ** 2, 0                  0; 2              0; 2                      0; 2
    norm(x), [0, 0]            0 0; 0 0; 0 0     nan nan; nan nan; nan nan 0 0; nan nan; nan nan
    norm(x, 1), [0, 1]         0 1; 0 0; 0 0     1 1; 0 0; 0 0             0 1; 0 0; 0 0
    norm(x, inf), [1, 1]       0.5 0.5; 0 0; 0 0 0.5 0.5; 0 0; 0 0         0.5 0.5; 0 0; 0 0
    std(x), [1, 1]             0 0; 0 0; 0 0     nan nan; nan nan; nan nan 0 0; 0 0; 0 0
    prod(x), [0, 0]            0 0; 0 1; 1 0     0 0; 0 1; 1 0             0 0; 0 1; 1 0
    ========================== ================= ========================= =====================

    Of ``a ** b`` with tensors for both, mixed derivatives at ``a = 0`` do not exist and may come out as 0, inf or NaN,
    here as there. ``sort`` keeps the order of equal elements, as with ``stable=True`` in PyTorch.

    Examples
    --------
    >>> import tapegrad as tg
    >>> float(tg.grad(lambda x: x ** 3)(2.0))
    12.0
    """
    return ValueAndGrad(f, argnums, has_aux, True)
