"""A recurrent network that forecasts sunspot numbers up to two years ahead.

Monthly numbers since 1749 rise and fall about every eleven years. The network reads the months one by one (S.
Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 9 (8), 1997) and predicts the next; fed with
its own predictions it forecasts the months after that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.datasets import load_sunspots

from .outcome import Outcome, titled

TESTED_FROM = np.datetime64("1976-01")  # the last three cycles; trained on earlier months
WINDOW = 132  # months that the network reads
WARM = WINDOW // 3  # warm-up: months that are read before predictions count
AHEAD = 24  # months to forecast


class Forecaster(nn.Module):
    """From months (n, months) to the one after each of them (n, months)."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.change = nn.Linear(hidden, 1)

    def forward(self, months: tg.Tensor) -> tg.Tensor:
        states, _ = self.lstm(months[:, :, None])
        return months + self.change(states)[:, :, 0]


# The scatter of a count grows with its square root; on this scale it is about constant.


def scaled(number: np.ndarray) -> np.ndarray:
    """Sunspot numbers on the network's scale."""
    return (np.sqrt(number) / 5).astype(np.float32)


def unscaled(z: np.ndarray) -> np.ndarray:
    """Sunspot numbers from the network's scale."""
    return (5 * np.maximum(z, 0)) ** 2


def forecast(model: nn.Module, z: np.ndarray) -> np.ndarray:
    """The next months (n, 24) after months (n, months), autoregressively."""
    with tg.no_grad():
        for _ in range(AHEAD):
            z = np.concatenate([z, model(tg.tensor(z)).numpy()[:, -1:]], axis=1)
    return z[:, -AHEAD:]


def run(epochs: int = 20, seed: int = 0, progress: bool = False) -> Outcome:
    """Train on 1749 to 1975, forecast 1976 to 2008, compare with naive forecasts."""
    tg.manual_seed(seed)
    dates, number = load_sunspots()
    z, first = scaled(number), int(np.searchsorted(dates, TESTED_FROM))
    windows = np.lib.stride_tricks.sliding_window_view(z[:first], WINDOW + 1)[::6]

    def loss_of(months: tg.Tensor, following: tg.Tensor) -> tg.Tensor:
        return F.mse_loss(model(months)[:, WARM:], following[:, WARM:])

    model = Forecaster()
    optimizer = optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, interval="epoch")
    step = tg.TrainStep(loss_of, optimizer)
    history = step.run(windows[:, :-1], windows[:, 1:], batch_size=16, epochs=epochs, seed=seed, drop_last=True,
                       progress=progress)

    # from every month of the test years with two years to come: observed before, observed after
    starts = np.arange(first, len(number) - AHEAD + 1)
    before, after = starts[:, None] + np.arange(-WINDOW, 0), starts[:, None] + np.arange(AHEAD)
    said = unscaled(forecast(model, z[before]))
    guesses = {
        "the LSTM": said,
        "as the last month": np.repeat(number[before][:, -1:], AHEAD, axis=1),
        "as the last half year": np.repeat(number[before][:, -6:].mean(axis=1, keepdims=True), AHEAD, axis=1),
    }
    errors = {name: np.sqrt(np.mean((guess - number[after]) ** 2, axis=0)) for name, guess in guesses.items()}
    numbers = {"error_1": errors["the LSTM"][0], "error_24": errors["the LSTM"][-1],
               "as_last_1": errors["as the last month"][0], "as_last_24": errors["as the last month"][-1],
               "loss": history.epoch_loss()[-1], "steps": len(history), "seconds": history.seconds}
    rows = [("root mean square error, 1 / 6 / 12 / 24 months ahead", "")]
    rows += [(f"    {name}", " / ".join(f"{of[k]:.1f}" for k in (0, 5, 11, 23))) for name, of in errors.items()]
    rows += [
        ("parameters", f"{model.num_parameters():,}"),
        (f"steps of 16 x {WINDOW} months", f"{len(history):,}"),
        ("memory of a step", f"{step.memory().peak_bytes / 1e6:.1f} MB"),
        ("training", f"{history.seconds:.0f} s"),
    ]

    def draw(figure: Any) -> None:
        axes = figure.subplot_mosaic([["series", "series"], ["loss", "errors"]], height_ratios=[4, 3])
        series = axes["series"]
        series.plot(dates[first:], number[first:], color="0.75", linewidth=1, label="counted")
        series.plot(dates[starts], said[:, 0], color="tab:blue", linewidth=1, label="forecast, a month ahead")
        for k in range(6, len(starts), 30):
            series.plot(dates[after[k]], said[k], color="tab:orange", linewidth=2,
                        label="forecast, two years from one month" if k == 6 else None)
            series.plot(dates[after[k][0]], said[k][0], "o", color="tab:orange", markersize=4)
        series.set(ylabel="sunspot number", title="Years that were not trained on")
        series.legend(frameon=False, ncols=3, loc="upper right", fontsize=8)
        series.set_ylim(0, 1.15 * number[first:].max())
        series.margins(x=0.01)
        at = np.arange(1, epochs + 1)
        axes["loss"].plot(at, history.epoch_loss()[:epochs], "o-", markersize=3, color="tab:blue")
        axes["loss"].locator_params(axis="x", integer=True)
        axes["loss"].set(xlabel="epoch", ylabel="mean squared error, scaled", title="Training loss")
        for (name, of), colour in zip(errors.items(), ("tab:blue", "tab:red", "0.6")):
            axes["errors"].plot(np.arange(1, AHEAD + 1), of, "o-", markersize=3, color=colour, label=name)
        axes["errors"].set(xlabel="months ahead", ylabel="sunspot number", ylim=(0, None),
                           title="Error in the test years (root mean square)")
        axes["errors"].legend(frameon=False, fontsize=8)

    return Outcome(titled("LSTM", epochs), rows, {k: float(v) for k, v in numbers.items()}, draw)
