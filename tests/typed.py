"""What a type checker sees of the package; mypy reads this in the lint environment."""

import numpy as np

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

model = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
step: tg.TrainStep = tg.TrainStep(lambda x, y: F.mse_loss(model(x), y), optim.Adam(model.parameters()))
x: tg.Tensor = tg.tensor([0.5, 1.0], requires_grad=True)
y: tg.Tensor = tg.clip(tg.exp(x) + tg.maximum(x, np.ones(2)), 0.0, 2.0).sum()
part: tg.Tensor = tg.functions.tanh(x)[0]
error: type[tg.TapegradError] = tg.ShapeError
spectrum: tg.Tensor = tg.fft.rfft(x)
rows: dict[str, object] = tg.sweep(lambda lr: lr, {"lr": [0.1, 0.2]}, workers=0).best
