"""A LeNet-like network that reads handwritten digits, enlarged to 28 x 28 pixels.

Two convolutions and three linear layers, after Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning
applied to document recognition, Proceedings of the IEEE 86 (11), 1998, with ReLU and max pooling instead of tanh and
averages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, special

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ArrayDataset, RandomAffine
from tapegrad.datasets import load_digits

from .outcome import Outcome, titled


def lenet() -> nn.Module:
    """From images (n, 1, 28, 28) to logits of ten classes (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),  # to (n, 6, 14, 14)
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),  # to (n, 16, 5, 5)
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits that come with the package, 8 x 8, as float32 (n, 1, 28, 28) with a margin, and their labels."""
    pixels, labels = load_digits(split)
    large = ndimage.zoom(pixels.reshape(-1, 8, 8), (1, 3, 3), order=1, mode="nearest", grid_mode=True)
    return np.pad(large, [(0, 0), (2, 2), (2, 2)])[:, None].astype(np.float32), labels


def scores(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Logits of the model, without recording."""
    with tg.no_grad():
        return model(tg.tensor(images)).numpy()


def run(epochs: int = 30, seed: int = 0, progress: bool = False) -> Outcome:
    """Train on 1,437 digits with random rotation, translation and scale (augmentation); test on 360 others."""
    tg.manual_seed(seed)
    images, labels = digits("train")
    test_images, test_labels = digits("test")

    model = lenet()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, interval="epoch")
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optimizer)

    accuracies = []

    def test(epoch: int, history: tg.History) -> None:
        accuracies.append(float(np.mean(scores(model, test_images).argmax(axis=1) == test_labels)))

    augment = RandomAffine(degrees=12, translate=(0.08, 0.08), scale=(0.9, 1.1))
    history = step.run(ArrayDataset(images, labels, transform=augment), batch_size=64, epochs=epochs, seed=seed,
                       drop_last=True, progress=progress, callback=test)

    probabilities = special.softmax(scores(model, test_images), axis=1)
    predicted = probabilities.argmax(axis=1)
    hardest = probabilities[np.arange(len(test_labels)), test_labels].argsort()[:10]
    wrong = predicted != test_labels
    numbers = {"accuracy": accuracies[-1], "loss": float(history.epoch_loss()[-1]), "steps": float(len(history)),
               "seconds": history.seconds}
    rows = [
        ("accuracy on 360 test digits", f"{accuracies[-1]:.4f} ({wrong.sum()} wrong)"),
        ("training loss, last epoch", f"{numbers['loss']:.4f}"),
        ("parameters", f"{model.num_parameters():,}"),
        ("steps of 64 digits", f"{len(history):,}"),
        ("memory of a step", f"{step.memory().peak_bytes / 1e6:.1f} MB"),
        ("training", f"{history.seconds:.0f} s"),
    ]

    def draw(figure: Any) -> None:
        curves, pictures = figure.subfigures(2, 1, height_ratios=[1, 1])
        left, right = curves.subplots(1, 2)
        at = np.arange(1, len(accuracies) + 1)
        left.plot(np.arange(1, len(history) + 1) / len(history) * at[-1], history.loss, color="0.8", linewidth=0.8,
                  label="each step")
        left.plot(at, history.epoch_loss(), "o-", color="tab:blue", markersize=3, label="mean of an epoch")
        left.locator_params(axis="x", integer=True)
        left.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Loss on digits turned and moved")
        left.legend(frameon=False)
        right.plot(at, 100 * np.array(accuracies), "o-", color="tab:green", markersize=3)
        right.locator_params(axis="x", integer=True)
        right.set(xlabel="epoch", ylabel="per cent right", title=f"Test digits: {100 * accuracies[-1]:.1f} % right")
        right.grid(alpha=0.3)
        given = augment(images[:10], np.random.default_rng(seed))
        shown = [(image, f"{label}", "0.3") for image, label in zip(given, labels)]
        shown += [(test_images[k], f"{test_labels[k]}, read as {predicted[k]}" if wrong[k] else
                   f"{test_labels[k]}: {100 * probabilities[k, predicted[k]]:.0f} %", "tab:red" if wrong[k] else "0.3")
                  for k in hardest]
        axes = pictures.subplots(2, 10)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (image, label, colour) in zip(axes.flat, shown):
            ax.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
            ax.set_title(label, fontsize=8, color=colour)
        pictures.suptitle("Ten digits as they are trained on (above); the ten test digits it is least sure of (below)",
                          fontsize=10)

    return Outcome(titled("LeNet", epochs), rows, numbers, draw)
