"""Weights of bounded norm, orthogonal weights, weights as length and direction: ``nn.utils.parametrizations``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ... import functions
from ...errors import ArgumentError
from ...functions import factorizations, spectra
from ...functions.spectral import power_iteration
from ...tape.state import no_grad
from ...tensor.tensor import Tensor
from ..errors import ModuleError
from ..module import Module
from ..shapes import normal_axis
from .parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)

_MAPS = ("matrix_exp", "cayley", "householder")


def _weight(function: str, module: Module, name: str, axes: int) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ModuleError(f"{function}: {type(module).__name__} has no parameter {name!r}")
    if weight.ndim < axes:
        raise ArgumentError(f"{function}: {name} has shape {list(weight.shape)}; expected {axes} axes at least")
    return weight


# ------------------------------------------------------------------ spectral norm


class SpectralNorm(Module):
    """A weight divided by its greatest singular value, which power iteration follows from one use to the next."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if n_power_iterations < 1:
            raise ArgumentError(f"spectral_norm: n_power_iterations must be 1 at least, not {n_power_iterations}")
        self.dim, self.eps, self.n_power_iterations = normal_axis(dim, weight.shape, "spectral_norm"), float(eps), int(
            n_power_iterations)
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, n in zip(("_u", "_v"), matrix.shape):
                values = functions.randn(n).numpy().astype(np.float64)
                self.register_buffer(name, Tensor((values / np.linalg.norm(values)).astype(weight.dtype)))
            power_iteration(matrix, self._u, self._v, 15, self.eps, True)

    def _matrix(self, weight: Tensor) -> Tensor:
        first = weight if self.dim == 0 else functions.moveaxis(weight, self.dim, 0)
        return functions.reshape(first, (first.shape[0], -1))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight over its greatest singular value; in training after further iterations."""
        if weight.ndim == 1:
            return weight / functions.maximum(functions.sqrt(functions.sum(functions.square(weight))), self.eps)
        matrix, u, v = self._matrix(weight), self._u, self._v
        if self.training:
            u, v = power_iteration(matrix, u, v, self.n_power_iterations, self.eps, True)
        return weight / functions.sum(u * functions.matmul(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The weight itself."""
        return value


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> M:
    """Divide a weight by its greatest singular value (Miyato et al., Spectral normalization, 2018).

    Parameters
    ----------
    module : Module
    name : str, default "weight"
    n_power_iterations : int, default 1
        Steps at each use in training; also in each replay of a recording.
    eps : float, default 1e-12
        Least length that is divided by.
    dim : int, optional
        The axis of the matrix's rows: 0, but 1 of transposed convolutions.

    Returns
    -------
    Module
        The same. Its state dict has ``parametrizations.<name>.original``, ``.0._u`` and ``.0._v``, as PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40))
    >>> bool(abs(np.linalg.norm(layer.weight.detach().numpy(), 2) - 1) < 0.1)
    True
    """
    weight = _weight("spectral_norm", module, name, 1)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    made = SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


# ------------------------------------------------------------------ length and direction


class WeightNorm(Module):
    """A weight as length and direction."""

    def __init__(self, dim: int | None, ndim: int) -> None:
        super().__init__()
        self.dim, self._axes = dim, tuple(axis for axis in range(ndim) if axis != dim)

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """``g v / |v|``."""
        squares = functions.sum(functions.square(weight_v), axis=self._axes, keepdims=True)
        return weight_v * (weight_g / functions.sqrt(squares))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths, and the weight."""
        lengths = functions.sqrt(functions.sum(functions.square(weight), axis=self._axes, keepdims=True))
        return (functions.reshape(lengths, ()) if self.dim is None else lengths), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """`nn.utils.weight_norm` as a parametrization: ``parametrizations.<name>.original0`` is the length.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
    dim : int or None, default 0
        The norms are those of the slices along this axis; None for one of all elements.
    """
    weight = _weight("weight_norm", module, name, 1)
    axis = None if dim is None else normal_axis(dim, weight.shape, "weight_norm")
    return register_parametrization(module, name, WeightNorm(axis, weight.ndim))


# ------------------------------------------------------------------ orthogonal


class Orthogonal(Module):
    """A matrix with orthonormal columns, or rows where there are fewer, of a matrix without constraints."""

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)
        self._trivial = use_trivialization

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrix of X."""
        turned = X.shape[-2] < X.shape[-1]
        if turned:
            X = functions.swapaxes(X, -1, -2)
        n, k = X.shape[-2:]
        if self.orthogonal_map == "householder":
            Q = _householder(X)
        else:
            low = functions.tril(X)
            if n != k:
                low = functions.concatenate([low, np.zeros((*X.shape[:-1], n - k), X.dtype)], -1)
            A = low - functions.swapaxes(low, -1, -2)
            if self.orthogonal_map == "matrix_exp":
                Q = spectra.matrix_exp(A)
            else:
                eye = np.eye(n, dtype=X.dtype)
                Q = factorizations.solve(eye - 0.5 * A, eye + 0.5 * A)
            Q = Q if n == k else Q[..., :k]
        base = self._buffers.get("base")
        if base is not None:
            Q = functions.matmul(base, Q)
        return functions.swapaxes(Q, -1, -2) if turned else Q

    def right_inverse(self, Q: Tensor) -> Any:
        """What the nearest orthogonal matrix, by a QR factorization, is made of."""
        values = Q.detach().numpy()
        turned = values.shape[-2] < values.shape[-1]
        values = np.swapaxes(values, -1, -2) if turned else values
        n, k = values.shape[-2:]
        if not self._trivial:
            if self.orthogonal_map != "householder":
                raise ArgumentError(f"orthogonal: {self.orthogonal_map} without use_trivialization has no inverse to "
                                    "begin at the present weight; use orthogonal_map='householder' or trivialization")
            made = _reflections(values)
            return Tensor(np.swapaxes(made, -1, -2) if turned else made)
        if n != k:
            more = functions.randn(*values.shape[:-2], n, n - k, dtype=values.dtype).numpy()
            values = np.concatenate([values, more], -1)
        kept = np.swapaxes(values, -1, -2) @ values
        if n != k or np.abs(kept - np.eye(n)).max() > 10 * n * np.finfo(values.dtype).eps:
            values = _nearest(values)
        self.base = Tensor(np.ascontiguousarray(values))
        minus = np.broadcast_to(-np.eye(n, k, dtype=values.dtype), (*values.shape[:-1], k))
        return Tensor((np.swapaxes(minus, -1, -2) if turned else minus).copy())


def _nearest(values: np.ndarray) -> np.ndarray:
    """The factor Q of a QR factorization whose R has a positive diagonal."""
    q, r = np.linalg.qr(values)
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    return (q * np.where(signs == 0, 1, signs)[..., None, :]).astype(values.dtype)


def _householder(X: Tensor) -> Tensor:
    """The first columns of the product of reflections at the columns of X below the diagonal, which has their signs."""
    n, k = X.shape[-2:]
    A = functions.tril(X, -1)
    tau = 2.0 / (1.0 + functions.sum(A * A, axis=-2))
    V = A + np.eye(n, k, dtype=X.dtype)
    Q: Any = np.broadcast_to(np.eye(n, k, dtype=X.dtype), X.shape)
    for j in reversed(range(k)):
        v = V[..., j:j + 1]
        Q = Q - v * tau[..., j:j + 1, None] * functions.matmul(functions.swapaxes(v, -1, -2), Q)
    signs = functions.trunc(functions.diagonal(X, 0, -2, -1).detach())
    return Q * functions.expand_dims(signs, -2)


def _reflections(values: np.ndarray) -> np.ndarray:
    """The reflections of a QR factorization, with the signs of R on the diagonal."""
    import scipy.linalg

    flat = values.reshape(-1, *values.shape[-2:])
    made = np.empty_like(flat)
    for one, matrix in zip(made, flat):
        (packed, tau), _ = scipy.linalg.qr(matrix, mode="raw")
        one[...] = np.tril(packed, -1)
        signs = np.sign(np.diagonal(packed)) * np.where(tau == 0, -1, 1)
        np.fill_diagonal(one, signs)
    return made.reshape(values.shape)


def orthogonal(module: M, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> M:
    """Keep a weight orthogonal: with orthonormal columns, or rows where there are fewer.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
        Of a parameter of two axes or more; the last two are the matrix.
    orthogonal_map : {"matrix_exp", "cayley", "householder"}, optional
        Of a skew-symmetric matrix A the exponential, or ``(I - A / 2)^-1 (I + A / 2)``; or a product of Householder's
        reflections. "matrix_exp" of square weights by default, else "householder".
    use_trivialization : bool, default True
        Whether the map begins at the present weight, kept as ``base`` (Lezcano-Casado, Trivializations for
        gradient-based optimization on manifolds, 2019).

    Returns
    -------
    Module
        The same, with the nearest orthogonal weight.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> w = nn.utils.parametrizations.orthogonal(nn.Linear(20, 40)).weight.detach().numpy()
    >>> bool(np.abs(w.T @ w - np.eye(20)).max() < 1e-5)
    True
    """
    weight = _weight("orthogonal", module, name, 2)
    chosen = orthogonal_map or ("matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder")
    if chosen not in _MAPS:
        raise ArgumentError(f"orthogonal: orthogonal_map {chosen!r}; the maps are {', '.join(map(repr, _MAPS))}")
    with no_grad():
        return register_parametrization(module, name, Orthogonal(weight, chosen, use_trivialization), unsafe=True)
