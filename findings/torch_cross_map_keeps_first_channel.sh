#!/usr/bin/env bash
# torch 2.13.0: `nn.CrossMapLRN2d(size, alpha, beta, k)` divides by `(k + alpha mean(x^2))^beta`, the mean over `size`
# neighbouring channels, as `nn.LocalResponseNorm` does, by a running sum over the channels. The first channel never
# leaves that sum: from channel (size + 1) / 2 on it counts as a neighbour. And the gradient is not that of these values:
# `gradcheck` fails. No message. LocalResponseNorm of the same arguments is right.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import torch

print("torch", torch.__version__)
failed = []


def expect(what, seen, wanted):
    print(f"{what}: {seen}", "" if seen == wanted else f"- was {wanted}")
    if seen != wanted:
        failed.append(what)


def channels(layer):
    """Which channels change when the first one does."""
    x = torch.ones(1, 7, 1, 1, dtype=torch.double)
    louder = x.clone()
    louder[:, 0] = 5.0
    return [c for c in range(7) if not torch.isclose(layer(x)[0, c], layer(louder)[0, c]).item()]


torch.manual_seed(0)
x = torch.randn(2, 7, 3, 4, dtype=torch.double, requires_grad=True)
for name, of_three in (("LocalResponseNorm", [0, 1]), ("CrossMapLRN2d", [0, 1, 2, 3, 4, 5, 6])):
    layer = getattr(torch.nn, name)(3, 0.5, 0.75, 2.0)
    expect(f"{name}(3), channels that the first changes", channels(layer), of_three)
    expect(f"{name}(3), gradcheck", torch.autograd.gradcheck(layer, (x,), raise_exception=False),
           name == "LocalResponseNorm")
raise SystemExit(f"changed: {failed}" if failed else 0)
P
"$here/env/bin/python" "$here/show.py"
