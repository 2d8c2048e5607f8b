"""Folders of images as datasets, decoded by Pillow on demand."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, MissingExtraError
from .dataset import Dataset, Transform

__all__ = ["ImageFolder"]


class ImageFolder(Dataset):
    """Images in one sub-folder for each class: ``root/cat/1.png``, ``root/dog/a/2.jpg``.

    Parameters
    ----------
    root : path
    size : int or (int, int), optional
        Height and width to resize every image to (bilinear). Without it all must have the first one's size.
    grayscale : bool, default False
        One channel instead of red, green and blue.
    transform : callable, optional
        Applied to each training batch of images, with a generator.

    Attributes
    ----------
    classes : list of str
        The sub-folders' names, sorted; their indices are the labels.
    paths : list of Path
        One file for each row.
    labels : ndarray of int64, shape (n,)

    Notes
    -----
    A row is an image, float32 (channels, height, width) from 0 (black) to 1 (white), oriented by its EXIF tag, and its
    label. Files are decoded at each fetch, without a cache. Needs Pillow (the ``images`` extra).

    Raises
    ------
    DataError
        There is no class or no image, or (when a row is fetched) a file cannot be decoded; names it.
    """

    def __init__(self, root: str | PathLike[str], size: int | tuple[int, int] | None = None, *,
                 grayscale: bool = False, transform: Transform | None = None) -> None:
        super().__init__(transform=transform)
        self._pillow = _pillow()
        self.root, self.grayscale = Path(root), grayscale
        self.size = None if size is None else _pair(size)
        self._extent = self.size  # that of the first image, once it is read
        if not self.root.is_dir():
            raise DataError(f"{root}: no such folder")
        folders = sorted(f for f in self.root.iterdir() if f.is_dir() and not f.name.startswith("."))
        if not folders:
            raise DataError(f"{root}: no sub-folders; the images of each class go into one of their own")
        self._pillow.init()
        known = self._pillow.registered_extensions()
        files = [sorted(p for p in f.rglob("*") if p.suffix.lower() in known and p.is_file()) for f in folders]
        for folder, found in zip(folders, files):
            if not found:
                raise DataError(f"{folder}: no image files")
        self.classes = [f.name for f in folders]
        self.paths = [path for found in files for path in found]
        self.labels = np.repeat(np.arange(len(folders)), [len(found) for found in files])

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decode the images of these rows."""
        if self._extent is None:
            self._extent = self._decode(self.paths[0]).shape[1:]
        images = np.empty((len(index), 1 if self.grayscale else 3, *self._extent), np.float32)
        for image, k in zip(images, index):
            pixels = self._decode(self.paths[k])
            if pixels.shape != image.shape:
                (h, w), (height, width) = pixels.shape[1:], self._extent
                raise DataError(f"{self.paths[k]}: {h} x {w} pixels, {self.paths[0].name} has {height} x {width}; "
                                f"give a size to bring them to: ImageFolder(root, size=({height}, {width}))")
            image[...] = pixels
        return images, self.labels[index]

    def _decode(self, path: Path) -> np.ndarray:
        """An image as float32 (channels, height, width)."""
        from PIL import ImageOps

        try:
            with self._pillow.open(path) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
                    image = self._pillow.fromarray((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8))
                image = image.convert("L" if self.grayscale else "RGB")
                if self.size is not None and image.size != (self.size[1], self.size[0]):
                    image = image.resize((self.size[1], self.size[0]), self._pillow.Resampling.BILINEAR)
                pixels = np.asarray(image, np.float32) / 255
        except (OSError, SyntaxError, ValueError, self._pillow.DecompressionBombError) as error:
            raise DataError(f"{path}: not an image that Pillow can read ({error})") from None
        return pixels[None] if self.grayscale else pixels.transpose(2, 0, 1)


def _pair(size: Any) -> tuple[int, int]:
    """Height and width, from one number for both or a pair."""
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2 or any(isinstance(s, bool) or not isinstance(s, (int, np.integer)) or s < 1 for s in pair):
        raise ArgumentError(f"size must be a positive integer or two of them (height, width), not {size!r}")
    return int(pair[0]), int(pair[1])


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("ImageFolder needs Pillow: pip install 'tapegrad[images]'") from None
    return Image
