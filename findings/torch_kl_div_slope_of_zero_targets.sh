#!/usr/bin/env bash
# torch 2.13.0: `kl_div` takes 0 log 0 for 0, as it should, so one would think that a distribution with zeros may be the
# target, also where the target is what is trained (distillation into a sparse teacher, label smoothing that is learnt).
# Its value is finite; its slope at a target of 0 is NaN, and not the limit from above, which is minus infinity, nor 0.
# One zero among the targets therefore turns everything before it into NaN, with no message, in float32 and float64.
# `torch.special.entr`, which is -t log t, has the limit as its slope (infinity), and `torch.xlogy(t, t)` has NaN too.
# log_target=True is no way out: there a logarithm of minus infinity has a slope of NaN. A mask that multiplies the
# targets does not help either, for NaN times 0 is NaN; relu and clamp, which choose, do.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import math

import torch
from torch.nn.functional import kl_div

print("torch", torch.__version__)
failed = []


def expect(what, seen, wanted):
    same = all(math.isclose(a, b, rel_tol=1e-5) or (a != a and b != b) for a, b in zip(seen, wanted))
    print(f"{what}: {[round(v, 4) for v in seen]}", "" if same else f"- was {wanted}")
    if not same:
        failed.append(what)


nan, inf = math.nan, math.inf
for dtype in (torch.float32, torch.float64):
    log_q = torch.log(torch.tensor([0.3, 0.7], dtype=dtype))
    p = torch.tensor([0.0, 0.5], dtype=dtype, requires_grad=True)
    value = kl_div(log_q, p, reduction="sum")
    value.backward()
    expect(f"{dtype}: value", [value.item()], [0.5 * math.log(0.5 / 0.7)])
    expect(f"{dtype}: slope", p.grad.tolist(), [nan, math.log(0.5 / 0.7) + 1.0])
    logits = torch.zeros(2, dtype=dtype, requires_grad=True)
    kl_div(log_q, torch.sigmoid(logits) * torch.tensor([0.0, 1.0], dtype=dtype), reduction="sum").backward()
    expect(f"{dtype}: slope of what the targets are made of, one masked", logits.grad.tolist(),
           [nan, (math.log(0.5 / 0.7) + 1.0) * 0.25])
    for name, function, slope in (("entr", torch.special.entr, inf), ("xlogy", lambda t: torch.xlogy(t, t), nan)):
        t = torch.zeros(1, dtype=dtype, requires_grad=True)
        function(t).sum().backward()
        expect(f"{dtype}: slope of {name} at 0", t.grad.tolist(), [slope])
    log_p = torch.log(torch.tensor([0.0, 0.5], dtype=dtype)).requires_grad_()
    kl_div(log_q, log_p, reduction="sum", log_target=True).backward()
    expect(f"{dtype}: slope by log p", log_p.grad.tolist(), [nan, 0.5 * (math.log(0.5 / 0.7) + 1.0)])
raise SystemExit(f"changed: {failed}" if failed else 0)
P
"$here/env/bin/python" "$here/show.py"
