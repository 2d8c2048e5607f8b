#!/usr/bin/env bash
# torch 2.13.0: the determinant is a polynomial of the elements, so it has a slope at every matrix: the cofactors.
# `backward` and `torch.autograd.grad` give zeros for a matrix whose determinant comes out as exactly 0, where nothing
# is special about the slope ([[1, 2], [2, 4]]: [[4, -2], [-2, 1]]; a diagonal one with one 0), so training that starts
# there stays there. With create_graph=True the very same call gives the cofactors, and so do `torch.func.grad` and
# `jacrev`; forward mode (`torch.func.jvp`) gives 0. It is so in float32 and float64, from 2 rows on. A determinant of
# 1e-9 instead of 0 has the right slope.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import numpy as np
import torch
from torch.linalg import det

print("torch", torch.__version__)
failed = []

def cofactors(rows):
    n = len(rows)
    return np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(rows, i, 0), j, 1)) for j in range(n)]
                     for i in range(n)])

def slope(rows, dtype, create_graph=False):
    matrix = torch.tensor(rows, dtype=dtype, requires_grad=True)
    return torch.autograd.grad(det(matrix), matrix, create_graph=create_graph)[0].detach().numpy()

def look(what, found, expected):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    print(f"  {what:34} {(found.round(4) + 0.0).tolist()}")
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
        failed.append(f"{what}: {found.tolist()}, was {expected.tolist()}")

for rows in ([[1.0, 2.0], [2.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]):
    true = cofactors(np.array(rows))
    print(f"{rows}, cofactors {(true.round(4) + 0.0).tolist()}")
    for dtype in torch.float64, torch.float32:
        matrix = torch.tensor(rows, dtype=dtype)
        look(f"determinant, {dtype}", det(matrix), 0.0)
        look("grad", slope(rows, dtype), np.zeros_like(true))
        look("grad with create_graph=True", slope(rows, dtype, True), true)
        look("jacrev", torch.func.jacrev(det)(matrix), true)
        ones = torch.ones_like(matrix)
        look(f"jvp along ones (true {true.sum():.4g})", torch.func.jvp(det, (matrix,), (ones,))[1], 0.0)
near = [[1.0, 2.0], [2.0, 4.0 + 1e-9]]
print(near)
look("grad", slope(near, torch.float64), [[4.0, -2.0], [-2.0, 1.0]])
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "torch behaves as is claimed above"
