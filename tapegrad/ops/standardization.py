"""Normalisations as compositions of ops: y = w z + bias, z = (x - mean) rstd, where the Jacobian of z is symmetric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

from ..engine.caller import user_line
from ..errors import CaptureError


class Laid(NamedTuple):
    """How a normalisation goes over its input.

    Attributes
    ----------
    shape : tuple of int
        Of the input, in axes that are normalised or not.
    axes : tuple of int
        Over which mean and variance are taken.
    affine : tuple of int
        Shape of weight and bias beside `shape`.
    shared : tuple of int
        Axes along which a weight is the same.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    affine: tuple[int, ...]
    shared: tuple[int, ...]


class Standardized:
    """z and rstd, by the statistics of x itself.

    Parameters
    ----------
    r
        The instruction.
    t
        Array functions.
    laid : Laid
    centred : bool
        Whether the mean is taken off.
    """

    def __init__(self, r: Any, t: Any, laid: Laid, centred: bool) -> None:
        self._t, self._axes, self._centred = t, laid.axes, centred
        x = t.reshape(r.x, laid.shape)
        deviation = x - self._mean(x) if centred else x
        self.rstd = 1.0 / t.sqrt(self._mean(deviation * deviation) + r.eps)
        self.z = deviation * self.rstd

    def _mean(self, x: Any) -> Any:
        return self._t.mean(x, self._axes, keepdims=True)

    def slope(self, v: Any) -> Any:
        """rstd (v - mean(v) - z mean(v z))."""
        rest = v - self.z * self._mean(v * self.z)
        return self.rstd * (rest - self._mean(v) if self._centred else rest)


class Scaled:
    """z and rstd, by statistics that are constants."""

    def __init__(self, r: Any, t: Any, laid: Laid, mean: Callable[[], Any], rstd: Any) -> None:
        self._r, self._t, self._laid, self._mean = r, t, laid, mean
        self.rstd = t.reshape(rstd, laid.affine)

    @property
    def z(self) -> Any:
        """(x - mean) rstd."""
        return (self._t.reshape(self._r.x, self._laid.shape)
                - self._t.reshape(self._mean(), self._laid.affine)) * self.rstd

    def slope(self, v: Any) -> Any:
        """rstd v."""
        return self.rstd * v


#: of an instruction how its input lies, and z
Of = Callable[[Any, Any], tuple[Laid, Callable[[], Any]]]


def adjoints(of: Of, r: Any, g: Any, t: Any, wanted: Set[str]) -> dict[str, Any]:
    """dx = the Jacobian of z times w g; dw = sum of g z; dbias = sum of g."""
    laid, standard = of(r, t)
    g, found = t.reshape(g, laid.shape), {}
    if "bias" in wanted:
        found["bias"] = t.reshape(t.sum(g, laid.shared), r.shape_of("bias"))
    if wanted & {"x", "weight"}:
        made = standard()
        if "weight" in wanted:
            found["weight"] = t.reshape(t.sum(g * made.z, laid.shared), r.shape_of("weight"))
        if "x" in wanted:
            found["x"] = t.reshape(made.slope(g * t.reshape(r.weight, laid.affine) if r.has_weight else g), r.shape)
    return found


def tangent(of: Of, r: Any, moved: Mapping[str, Any], t: Any) -> Any:
    """dy = w times the Jacobian of z times dx + z dw + dbias."""
    laid, standard = of(r, t)
    made: Any = standard() if moved.keys() & {"x", "weight"} else None
    parts = []
    if "x" in moved:
        dz = made.slope(t.reshape(moved["x"], laid.shape))
        parts.append(dz * t.reshape(r.weight, laid.affine) if r.has_weight else dz)
    if "weight" in moved:
        parts.append(made.z * t.reshape(moved["weight"], laid.affine))
    if "bias" in moved:
        parts.append(t.broadcast_to(t.reshape(moved["bias"], laid.affine), laid.shape))
    return t.reshape(sum(parts[1:], parts[0]), r.shape)


# ------------------------------------------------------------------ in batches


def rows_of_each(r: Any, t: Any) -> Any:
    """Normalised rows of all, and what belongs to the channels of each beside them."""
    affine = [r.has_weight and r.has_axis("weight"), r.has_bias and r.has_axis("bias")]
    whole = not any(affine)
    x = r.x if r.has_axis("x") else t.reshape(r.x, (1, *r.x.shape))
    y = t.normalization.row_norm(x, *((r.weight, r.bias) if whole else (None, None)), r.rows * x.shape[0], r.groups,
                                 r.s, r.eps, r.centred, (whole and r.has_weight, whole and r.has_bias))
    if whole:
        return y
    shape = (len(x), r.rows // r.groups, r.groups, r.n // r.s, r.s)
    w, bias = (t.reshape(v, (len(v) if has_axis else 1, 1, *shape[2:4], 1)) if has else None
               for v, has, has_axis in zip((r.weight, r.bias), (r.has_weight, r.has_bias), affine))
    y = t.reshape(y, shape) if w is None else t.reshape(y, shape) * w
    return y if bias is None else y + bias


def channels_of_each(r: Any, t: Any) -> Any:
    """The channels of all beside one another; or all samples, where they have weights and statistics in common."""
    if r.by_batch and r.follows:
        raise CaptureError(f"{user_line()}: batch_norm moves running statistics, which vmap would do for each of the "
                           "batch; call .eval() on the module, or make it with track_running_stats=False")
    given = {"weight": r.has_weight, "bias": r.has_bias, "running_mean": not r.by_batch, "running_var": not r.by_batch}
    names = [name for name, is_given in given.items() if is_given]
    if not r.by_batch and not any(r.has_axis(name) for name in names):
        x = t.reshape(r.x, (r.size * r.samples, r.channels, r.s))
        return t.batch_norm(x, eps=r.eps, **{name: getattr(r, name) for name in names})
    shape = (r.size, r.samples, r.channels, r.s)
    x = t.reshape(t.swapaxes(t.reshape(r.whole("x"), shape), 0, 1), (r.samples, r.size * r.channels, r.s))
    own = {name: t.reshape(r.whole(name), (r.size * r.channels,)) for name in names}
    y = t.batch_norm(x, training=r.by_batch, eps=r.eps, **{"running_mean": None, "running_var": None, **own})
    return t.swapaxes(t.reshape(y, (r.samples, r.size, r.channels, r.s)), 0, 1)
