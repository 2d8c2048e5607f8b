#!/usr/bin/env bash
# torch 2.13.0: two slopes that one would take for judges of one's own, and that are wrong in float64.
# The gradient of `digamma`, and `polygamma(1, x)`, which is the same kernel, have an absolute error of 1e-9, as good as
# float32, although `digamma` itself and `polygamma(2, x)` are right to the last places: gradcheck passes them (its
# tolerance is 1e-5), a test of second derivatives of lgamma at 1e-12 does not.
# `x.var(dim=())` gives the variance of all elements, but its gradient is infinite (divided by the extent over no axes,
# which is 1, minus 1); `x.var(dim=None)` and `x.var()` are right.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 mpmath==1.3.0
cat > "$here/show.py" <<'P'
import mpmath
import torch

print("torch", torch.__version__)
x = torch.tensor([0.7, 1.6, 2.3], dtype=torch.float64, requires_grad=True)
(slope,) = torch.autograd.grad(torch.digamma(x).sum(), x)
failed = []
for name, found, order in (("gradient of digamma", slope, 1), ("polygamma(1)", torch.polygamma(1, x), 1),
                           ("digamma", torch.digamma(x), 0), ("polygamma(2)", torch.polygamma(2, x), 2)):
    right = [mpmath.polygamma(order, mpmath.mpf(a)) for a in x.tolist()]
    error = max(float(abs(f - r)) for f, r in zip(found.tolist(), right))
    print(f"{name}: absolute error {error:.1e}")
    if (error > 1e-11) != (order == 1):
        failed.append(name)
for dim in ((), None):
    (slope,) = torch.autograd.grad(x.var(dim=dim), x)
    print(f"var(dim={dim}) {x.var(dim=dim).item():.4f}, gradient {slope.tolist()}")
    if torch.isfinite(slope).all() != (dim is None):
        failed.append(f"var {dim}")
raise SystemExit(f"changed: {failed}" if failed else 0)
P
"$here/env/bin/python" "$here/show.py"
