"""A character transformer that learns to write like Shakespeare, from three of his plays.

The decoder of A. Vaswani and others, Attention is all you need, 2017, in the pre-norm form (R. Xiong and others, On
layer normalization in the transformer architecture, 2020): each position attends to itself and to earlier ones, and
predicts the next character.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ArrayDataset
from tapegrad.datasets import load_shakespeare

from .outcome import Outcome, titled

CONTEXT = 64  # context length in characters


class CharTransformer(nn.Module):
    """From character indices (n, length) to logits of the next one (n, length, vocabulary)."""

    def __init__(self, vocabulary: int, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=4 * width, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width))
        self.scores = nn.Linear(width, vocabulary)

    def forward(self, text: tg.Tensor) -> tg.Tensor:
        x = self.characters(text) + self.positions(np.arange(text.shape[1]))
        return self.scores(self.layers(x, is_causal=True))


def loss_of(model: nn.Module, text: tg.Tensor, following: tg.Tensor) -> tg.Tensor:
    """Mean cross-entropy of the next character, in nats."""
    scores = model(text)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1))


def windows(numbers: np.ndarray, stride: int) -> ArrayDataset:
    """Windows of the text, and the same shifted by a character. Nothing is copied."""
    views = np.lib.stride_tricks.sliding_window_view(numbers, CONTEXT + 1)[::stride]
    return ArrayDataset(views[:, :-1], views[:, 1:])


def write(model: nn.Module, letters: str, beginning: str, length: int, rng: np.random.Generator,
          temperature: float = 0.7) -> str:
    """Continue a text, each character sampled from the model's distribution."""
    text = [letters.index(letter) for letter in beginning]
    with tg.no_grad():
        for _ in range(length):
            scores = model(np.array([text[-CONTEXT:]])).numpy()[0, -1].astype(np.float64)
            likely = np.exp((scores - scores.max()) / temperature)
            text.append(int(rng.choice(len(letters), p=likely / likely.sum())))
    return "".join(letters[number] for number in text)


def run(epochs: int = 6, seed: int = 0, progress: bool = False) -> Outcome:
    """Train on all but the end of Romeo and Juliet, evaluate there, and write a little."""
    tg.manual_seed(seed)
    text = load_shakespeare()
    letters = "".join(sorted(set(text)))
    number_of = {letter: k for k, letter in enumerate(letters)}
    numbers = np.array([number_of[letter] for letter in text])
    split = len(numbers) * 95 // 100
    training, held_out = windows(numbers[:split], stride=CONTEXT // 2), windows(numbers[split:], stride=CONTEXT)

    model = CharTransformer(len(letters))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    batch_size = 16
    steps = epochs * (len(training) // batch_size)
    optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1, interval="step")
    step = tg.TrainStep(lambda x, y: loss_of(model, x, y), optimizer)

    def measured() -> float:
        with tg.no_grad():
            return loss_of(model, *map(tg.tensor, held_out[:])).item()

    held_losses = [measured()]
    history = step.run(training, batch_size=batch_size, epochs=epochs, seed=seed, drop_last=True, progress=progress,
                       callback=lambda epoch, history: held_losses.append(measured()))

    beginning = "ROMEO.\n"
    sample = write(model, letters, beginning, 800, np.random.default_rng(seed))
    bits = held_losses[-1] / np.log(2)
    of_letters = -np.mean(np.log(np.bincount(numbers, minlength=len(letters))[numbers] / len(numbers)))
    measures = {"loss": float(history.loss[-50:].mean()), "held_out_loss": held_losses[-1], "bits": float(bits),
                "steps": float(len(history)), "seconds": history.seconds}
    rows = [
        ("characters, of them different", f"{len(text):,}, {len(letters)}"),
        ("cross-entropy of unseen text", f"{held_losses[-1]:.3f} nats ({bits:.2f} bits a character)"),
        ("... of the last 50 steps", f"{measures['loss']:.3f} nats"),
        ("... by the letters' frequencies alone", f"{of_letters:.3f} nats"),
        ("parameters", f"{model.num_parameters():,}"),
        (f"steps of {batch_size} x {CONTEXT} characters", f"{len(history):,}"),
        ("memory of a step", f"{step.memory().peak_bytes / 1e6:.1f} MB"),
        ("training", f"{history.seconds:.0f} s"),
    ]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[5, 4])
        at = np.linspace(0, epochs, len(history) + 1)[1:]
        left.plot(at, history.loss, color="tab:blue", alpha=0.5, linewidth=0.8, label="each step")
        left.plot(np.arange(epochs + 1), held_losses, "o-", color="tab:orange", markersize=3, label="unseen text")
        left.axhline(of_letters, color="0.4", linestyle=":", linewidth=1)
        left.annotate("the letters' frequencies", (epochs, of_letters), (0, 3), textcoords="offset points", ha="right",
                      fontsize=8, color="0.3")
        left.locator_params(axis="x", integer=True)
        left.set(xlabel="epoch", ylabel="cross-entropy, nats a character", title="Loss")
        left.legend(frameon=False)
        right.set_axis_off()
        right.set_title("What it writes")
        lines = [part for line in sample.splitlines() for part in textwrap.wrap(line, 52) or [""]]
        right.text(0.02, 0.98, "\n".join(lines[:36]), transform=right.transAxes, va="top", family="monospace",
                   fontsize=9)

    return Outcome(titled("Character transformer", epochs), rows, measures, draw, sample)
