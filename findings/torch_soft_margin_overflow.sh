#!/usr/bin/env bash
# torch 2.13.0: `soft_margin_loss(x, y)` is log(1 + exp(-y x)), the logistic loss in other letters. Its siblings
# (binary_cross_entropy_with_logits, multilabel_soft_margin_loss, softplus) are computed so that nothing overflows, and
# one takes that for granted. This one takes the exponential as it is written: in float32 one example on the wrong side
# by 89 or more has the loss infinity and the slope NaN (89 and 1 are right), in float64 from 710 on. That one example
# makes the mean over the batch infinite and, by its NaN, spoils all parameters in one step. The right side is accurate.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import math

import torch
from torch.nn import functional as F

print("torch", torch.__version__)
failed = []

def look(what, found, expected):
    print(f"{what:58} {found}")
    if str(found) != str(expected):
        failed.append(f"{what}: {found}, was {expected}")

def value_and_slope(loss, x, dtype, sign):
    x = torch.tensor([[x]], dtype=dtype, requires_grad=True)
    value = loss(x, torch.full_like(x, sign))
    return round(value.item(), 4), round(torch.autograd.grad(value, x)[0].item(), 4) + 0.0  # no -0.0

def cross_entropy(x, y):
    return F.binary_cross_entropy_with_logits(x, (y > 0).to(x.dtype))

def many_labels(x, y):
    return F.multilabel_soft_margin_loss(x, (y > 0).to(x.dtype))

def softplus(x, y):
    return F.softplus(-y * x).mean()

for dtype, last, first in (torch.float32, 88.0, 89.0), (torch.float64, 709.0, 710.0):
    for loss in F.soft_margin_loss, cross_entropy, many_labels, softplus:
        overflows = loss is F.soft_margin_loss
        for sign in 1.0, -1.0:
            name = f"{loss.__name__}({-sign * last}, {sign}), {dtype}"
            look(name, value_and_slope(loss, -sign * last, dtype, sign), (last, -sign))
            name = f"{loss.__name__}({-sign * first}, {sign}), {dtype}"
            expected = (math.inf, math.nan) if overflows else (first, -sign)
            look(name, value_and_slope(loss, -sign * first, dtype, sign), expected)
        look(f"{loss.__name__}({first}, 1.0), {dtype}", value_and_slope(loss, first, dtype, 1.0), (0.0, 0.0))

x = torch.tensor([89.0, 0.0, 0.0, 0.0], requires_grad=True)
loss = F.soft_margin_loss(x, -torch.ones(4))
loss.backward()
look("one of four by 89: loss and slopes", [loss.item(), *x.grad.tolist()], [math.inf, math.nan, 0.125, 0.125, 0.125])
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "torch behaves as is claimed above"
