#!/usr/bin/env bash
# torch 2.13.0: `linalg.pinv(a, rtol=...)` and `atol=` take small singular values for 0. The gradient is that of a matrix
# whose small values are 0 (constant rank, Golub and Pereyra 1973), also where they are not: it is wrong then, without a
# word, by the ratio of what is cut to what is kept, in reverse and in forward mode. Regularising by a cut-off, which is
# what the tolerance is for, trains on wrong slopes. Without a tolerance only rounding is cut, and the gradient is right.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import numpy as np
import torch

print("torch", torch.__version__)
failed = []
weights = np.array([[1.0, -2.0], [0.5, 3.0]])

def look(rtol, small, wrong):
    a = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]) @ np.diag([1.0, small]) @ np.array(
        [[np.cos(1.1), np.sin(1.1)], [-np.sin(1.1), np.cos(1.1)]])
    def value(x):
        return float((np.linalg.pinv(x, rcond=rtol) * weights).sum())
    true = np.array([[(value(a + 1e-6 * e) - value(a - 1e-6 * e)) / 2e-6 for e in np.eye(4).reshape(2, 2, 2, 2)[i]]
                     for i in range(2)])
    x = torch.tensor(a, requires_grad=True)
    def loss(x):
        return (torch.linalg.pinv(x, rtol=rtol) * torch.tensor(weights)).sum()
    reverse = torch.autograd.grad(loss(x), x)[0].numpy()
    ones = torch.ones_like(x)
    forward = torch.func.jvp(loss, (x.detach(),), (ones,))[1].item()
    off = np.abs(reverse - true).max() / np.abs(true).max()
    print(f"singular values 1 and {small}, rtol {rtol}: torch {reverse.round(4).tolist()}, differences "
          f"{true.round(4).tolist()}: off by {off:.1%}; along ones {forward:.4f}, true {true.sum():.4f}")
    if (off > 1e-4) != wrong or (abs(forward - true.sum()) > 1e-4) != wrong:
        failed.append(f"rtol {rtol}, {small}: off by {off}")

look(0.5, 0.4, True)
look(0.5, 0.1, True)
look(1e-10, 0.4, False)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "torch behaves as is claimed above"
