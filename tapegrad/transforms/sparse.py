"""Sparse Jacobians and Hessians: a pattern from the graph, colours, and one product a colour, all at once."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.lazy import lazy
from ..engine.tree import unflatten
from ..errors import GradientError, ShapeError
from ..program.capture import Capture
from ..program.running.program import Program
from ..tensor.tensor import Tensor
from .coloring import column_colors, star_colors
from .evaluation import Evaluation
from .grad import ValueAndGrad
from .gradcheck import GradcheckError
from .pattern import pattern_of
from .transformation import Argnums, Transformation


@dataclass
class Plan:
    """How a sparse matrix is found from products.

    Attributes
    ----------
    pattern : scipy.sparse.csr_array of bool
    colors : ndarray of int64
        Of the columns, or with `by_rows` of the rows.
    by_rows : bool
        Whether rows are added up, in reverse mode, rather than columns.
    product, place : ndarray of int64
        Of each element in the order of the pattern, the number of its product and its place there.
    """

    pattern: Any
    colors: np.ndarray
    by_rows: bool
    product: np.ndarray
    place: np.ndarray

    @lazy
    def places(self) -> np.ndarray:
        """Where each element is among all elements of all products."""
        return self.product * self.pattern.shape[1 if self.by_rows else 0] + self.place

    @property
    def count(self) -> int:
        """Number of products."""
        return int(self.colors.max(initial=-1)) + 1

    def seeds(self, dtype: np.dtype) -> np.ndarray:
        """A vector for each colour, 1 where a column or row has it."""
        return (self.colors[None, :] == np.arange(self.count)[:, None]).astype(dtype)

    def matrix(self, products: np.ndarray) -> Any:
        """The matrix from the products."""
        matrix = copy(self.pattern)  # without the checks of a new one
        matrix.data, matrix.indices, matrix.indptr = (
            np.take(products.ravel(), self.places), matrix.indices.copy(), matrix.indptr.copy())
        return matrix


def plan_of(pattern: Any, symmetric: bool) -> Plan:
    """The plan of fewest products."""
    if max(pattern.nnz, *pattern.shape) <= np.iinfo(np.int32).max:  # as SciPy's solvers want them
        pattern.indices, pattern.indptr = pattern.indices.astype(np.int32), pattern.indptr.astype(np.int32)
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    columns = pattern.indices.astype(np.int64)
    if symmetric:
        colors = star_colors(pattern)
        # an element is read in its column's product where no other column of the colour has one in that row
        keys, counts = np.unique(rows * (colors.max(initial=0) + 1) + colors[columns], return_counts=True)
        alone = counts[np.searchsorted(keys, rows * (colors.max(initial=0) + 1) + colors[columns])] == 1
        return Plan(pattern, colors, False, colors[np.where(alone, columns, rows)], np.where(alone, rows, columns))
    by_column, by_row = column_colors(pattern), column_colors(pattern.T.tocsr())
    if by_row.max(initial=-1) < by_column.max(initial=-1):
        return Plan(pattern, by_row, True, by_row[rows], columns)
    return Plan(pattern, by_column, False, by_column[columns], rows)


class Sparse(Transformation):
    """``sparse_jacobian(f)`` or ``sparse_hessian(f)``; call it, or give it to `compile`.

    Attributes
    ----------
    pattern : scipy.sparse.csr_array of bool
        Of the last call or recording, or what was given.
    colors : ndarray of int64
        Of its columns or rows; as many products are made.
    """

    def __init__(self, function: Callable, argnums: int, pattern: Any, check: bool, symmetric: bool) -> None:
        super().__init__(function, argnums, pattern, check, symmetric)
        self._argnums, self._check, self._symmetric = Argnums(argnums), check, symmetric
        self._derived = ValueAndGrad(function, argnums, False, True) if symmetric else function
        self._given = None if pattern is None else plan_of(
            _symmetric(_as_pattern(pattern)) if symmetric else _as_pattern(pattern), symmetric)
        self._plan: Plan | None = self._given

    @property
    def pattern(self) -> Any:
        return None if self._plan is None else self._plan.pattern

    @property
    def colors(self) -> np.ndarray | None:
        return None if self._plan is None else self._plan.colors

    def _evaluated(self, args: Any, kwargs: dict[str, Any]) -> tuple[Evaluation, Plan]:
        positions, _ = self._argnums.positions(len(args))
        run = Evaluation(self._derived, args, kwargs, positions)
        if len(run.sources) != 1 or len(run.outputs) != 1:
            raise GradientError(f"{self._name}: a sparse matrix is of one array by one array, not of "
                                f"{len(run.outputs)} by {len(run.sources)}; put them into one with tg.concatenate")
        run.check_outputs()
        (source,), (output,) = run.sources, run.outputs
        plan = self._given
        if plan is None:
            pattern = pattern_of(run.graph, source, output)
            plan = plan_of(_symmetric(pattern) if self._symmetric else pattern, self._symmetric)
        elif plan.pattern.shape != (output.size, source.size):
            raise ShapeError(f"{self._name}: the pattern given is of shape {list(plan.pattern.shape)}, the matrix of "
                             f"{[output.size, source.size]}")
        self._plan = plan
        return run, plan

    def _products(self, run: Evaluation, plan: Plan, seeds: np.ndarray) -> Tensor:
        """The product of the matrix, or of its transpose, with each of some vectors."""
        end = (run.outputs if plan.by_rows else run.sources)[0]
        with run.walking():
            return run.products([Tensor(seeds.reshape(len(seeds), *end.shape))], plan.by_rows)[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The matrix at these arguments."""
        run, plan = self._evaluated(args, kwargs)
        dtype = run.sources[0].dtype
        matrix = plan.matrix(self._products(run, plan, plan.seeds(dtype)).numpy())
        if self._check:
            seed = self._probe(run, plan)
            self._compare(plan, matrix, seed, self._products(run, plan, seed).numpy())
        return matrix

    @staticmethod
    def _probe(run: Evaluation, plan: Plan) -> np.ndarray:
        """A vector whose product tells whether the pattern holds."""
        size = (run.outputs if plan.by_rows else run.sources)[0].size
        return np.random.default_rng(0).uniform(0.5, 1.5, (1, size)).astype(run.dtype)

    def _compare(self, plan: Plan, matrix: Any, seed: np.ndarray, product: np.ndarray) -> None:
        found, expected = matrix.T @ seed[0] if plan.by_rows else matrix @ seed[0], product.ravel()
        scale = float(np.abs(expected).max(initial=0.0))
        error = np.abs(found - expected)
        if not (error <= 1e4 * np.finfo(expected.dtype).eps * max(scale, 1e-30)).all():
            k = int(np.argmax(error))
            raise GradcheckError(f"{self._name}: the pattern given lacks elements: of the product with a vector "
                                 f"element {k} is {found[k]:.9g}, and must be {expected[k]:.9g}")

    def trace(self, capture: Capture, inputs: list[Tensor], structure: Any) -> tuple[Program, Callable]:
        """Record for `compile`: the program, and a function that presents its results."""
        args, kwargs = unflatten(structure, inputs)
        run, plan = self._evaluated(args, kwargs)
        dtype = run.sources[0].dtype
        products = self._products(run, plan, plan.seeds(dtype))
        seed = self._probe(run, plan)
        probes = [self._products(run, plan, seed)] if self._check else []
        program = Program(capture, inputs, [products, *probes])

        def present(program: Program) -> Any:
            matrix = plan.matrix(program.array(products))
            for product in probes:
                self._compare(plan, matrix, seed, program.array(product))
            return matrix

        return program, present


def _as_pattern(given: Any) -> Any:
    import scipy.sparse

    pattern = scipy.sparse.csr_array(given).astype(bool)
    pattern.sum_duplicates()
    pattern.sort_indices()
    return pattern


def _symmetric(pattern: Any) -> Any:
    return _as_pattern(pattern + pattern.T)


def sparse_jacobian(f: Callable, argnums: int = 0, *, pattern: Any = None, check: bool = False) -> Sparse:
    """A function that returns the Jacobian of `f` as a sparse matrix.

    Parameters
    ----------
    f : callable
        Over tensors; returns one tensor.
    argnums : int, default 0
        The argument by which to differentiate, one array.
    pattern : sparse matrix or array_like of bool, (result.size, argument.size), optional
        Which elements may differ from zero; by default it is found from the graph. Of a Hessian one triangle is enough.
    check : bool, default False
        Compare a product with a vector with that of the matrix, so that a wrong pattern is found out.

    Returns
    -------
    callable
        Its results are ``scipy.sparse.csr_array`` of shape (result.size, argument.size). It has ``pattern`` and
        ``colors`` of the last call.

    Raises
    ------
    GradcheckError
        With `check`, if the pattern given lacks elements.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> jacobian = tg.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> jacobian(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    >>> len(set(jacobian.colors.tolist()))
    2
    """
    return Sparse(f, argnums, pattern, check, False)


def sparse_hessian(f: Callable, argnums: int = 0, *, pattern: Any = None, check: bool = False) -> Sparse:
    """A function that returns the Hessian of a scalar function as a sparse matrix; see `sparse_jacobian`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> hessian = tg.sparse_hessian(lambda x: (x[1:] * x[:-1] ** 2).sum())
    >>> hessian(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[4.0, 2.0, 0.0], [2.0, 6.0, 4.0], [0.0, 4.0, 0.0]]
    """
    return Sparse(f, argnums, pattern, check, True)
