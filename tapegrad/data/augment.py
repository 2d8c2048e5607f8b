"""Augmentations: callables over a batch of images (n, channels, height, width) and a NumPy generator.

Each draws anew for every image of a batch and returns a new array. Names and arguments are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError

__all__ = ["Compose", "GaussianNoise", "Normalize", "RandomAffine", "RandomCrop", "RandomHorizontalFlip"]


class Compose:
    """Transforms in sequence.

    Parameters
    ----------
    transforms : sequence of callable

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.data import Compose, Normalize, RandomCrop
    >>> transform = Compose([RandomCrop(28, padding=2), Normalize(0.5, 0.5)])
    >>> transform(np.ones((4, 1, 28, 28), np.float32), np.random.default_rng(0)).shape
    (4, 1, 28, 28)
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        for transform in transforms:
            if not callable(transform):
                raise ArgumentError(f"Compose: {transform!r} is not callable")
        self.transforms = list(transforms)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for transform in self.transforms:
            x = transform(x, rng)
        return x


class RandomCrop:
    """A window of each image, at a random position.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window.
    padding : int, default 0
        Pixels added on every side beforehand.
    fill : float, default 0
        Value of the padding.
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0, fill: float = 0.0) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.padding, self.fill = padding, fill

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check_images(x, self)
        if self.padding:
            sides = [(0, 0), (0, 0), (self.padding,) * 2, (self.padding,) * 2]
            x = np.pad(x, sides, constant_values=self.fill)
        height, width = self.size
        if height > x.shape[2] or width > x.shape[3]:
            raise ShapeError(f"RandomCrop: a window of {height} x {width} in images of {x.shape[2]} x {x.shape[3]} "
                             "pixels; give a smaller size or more padding")
        windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(2, 3))
        top, left = (rng.integers(0, end, len(x)) for end in windows.shape[2:4])
        return windows[np.arange(len(x)), :, top, left]


class RandomHorizontalFlip:
    """Each image mirrored left to right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomHorizontalFlip: p must lie in 0 to 1, not {p}")
        self.p = p

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check_images(x, self)
        flipped = rng.random(len(x)) < self.p
        return np.where(flipped[:, None, None, None], x[..., ::-1], x)


class RandomAffine:
    """Each image rotated, translated and scaled about its centre (bilinear; 0 outside).

    Parameters
    ----------
    degrees : float
        Rotated by -degrees to degrees.
    translate : (float, float), default (0, 0)
        Translated by at most these fractions of the width and the height.
    scale : (float, float), default (1, 1)
        Scaled by a factor between these.
    """

    def __init__(self, degrees: float, translate: tuple[float, float] = (0.0, 0.0),
                 scale: tuple[float, float] = (1.0, 1.0)) -> None:
        self.degrees, self.translate, self.scale = degrees, translate, scale

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy import ndimage

        _check_images(x, self)
        n, extent = len(x), np.array(x.shape[2:], float)
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, n))
        shift = rng.uniform(-1, 1, (n, 2)) * extent * self.translate[::-1]
        factor = rng.uniform(*self.scale, n)
        cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
        matrix = np.stack([cos, sin, -sin, cos], axis=1).reshape(n, 2, 2)  # from output pixels to input pixels
        middle = (extent - 1) / 2
        offset = middle - np.einsum("nij,nj->ni", matrix, middle + shift)
        turned = np.empty(x.shape, x.dtype if x.dtype.kind == "f" else np.float32)
        for image, given, m, o in zip(turned, x, matrix, offset):
            for channel, of in zip(image, given):
                ndimage.affine_transform(of, m, o, output=channel, order=1)
        return turned


class GaussianNoise:
    """Gaussian noise of standard deviation `sigma` added to every element."""

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = sigma

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float32)
        noise: np.ndarray = rng.standard_normal(x.shape, dtype)
        return x + dtype.type(self.sigma) * noise


class Normalize:
    """``(x - mean) / std`` by channel (axis 1), as float32 unless `x` is float64.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels, or one for each. 0 and 255 map bytes to 0 to 1.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        if not np.all(self.std > 0):
            raise ArgumentError(f"Normalize: std must be positive, not {std}")

    def __call__(self, x: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        dtype = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float32)
        shape = (-1, *(1,) * (x.ndim - 2)) if self.mean.ndim or self.std.ndim else ()
        for of_channel in (self.mean, self.std):
            if of_channel.ndim and (x.ndim < 2 or of_channel.size != x.shape[1]):
                raise ShapeError(f"Normalize: {of_channel.size} channels given, x has shape {list(x.shape)}")
        return (x.astype(dtype) - self.mean.reshape(shape).astype(dtype)) / self.std.reshape(shape).astype(dtype)


def _check_images(x: np.ndarray, transform: Any) -> None:
    if x.ndim != 4:
        raise ShapeError(f"{type(transform).__name__}: x must be images (n, channels, height, width), not of shape "
                         f"{list(x.shape)}")
