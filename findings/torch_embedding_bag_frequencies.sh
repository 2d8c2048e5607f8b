#!/usr/bin/env bash
# torch 2.13.0: `scale_grad_by_freq=True` divides the gradient of a row "by the inverse of frequency of the words in the
# mini-batch". `F.embedding` does so: of a sum, each row that is read gets 1, however often it is read. `F.embedding_bag`
# with mode "sum" or "mean", on a CPU, does it in small examples with sorted indices, but in general divides by the count
# of another index: a row read five times gets 5, one read once 1/3. No message; the value of the bags is right.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
failed = []


def expect(what, seen, wanted):
    same = all(abs(a - b) < 1e-6 for a, b in zip(seen, wanted))
    print(f"{what}: {[round(v, 4) for v in seen]}", "" if same else f"- was {wanted}")
    if not same:
        failed.append(what)


index = torch.tensor([[0, 5, 0, 3, 2], [3, 0, 2, 1, 3], [5, 2, 4, 4, 4], [5, 3, 4, 2, 3]])


def slope(function, index, rows, **options):
    table = torch.zeros(rows, 1, requires_grad=True)
    function(index, table, scale_grad_by_freq=True, **options).sum().backward()
    return table.grad.ravel().tolist()


expect("embedding", slope(F.embedding, index, 6), [1.0] * 6)
expect("embedding_bag", slope(F.embedding_bag, index, 6, mode="sum"), [1.0, 1 / 3, 4 / 3, 5.0, 1.0, 0.75])
expect("embedding_bag, mean", slope(F.embedding_bag, index, 6, mode="mean"),
       [0.2, 1 / 15, 4 / 15, 1.0, 0.2, 0.15])
expect("embedding_bag, two rows", slope(F.embedding_bag, torch.tensor([[0, 1], [1, 1]]), 2, mode="sum"), [1.0, 1.0])
raise SystemExit(f"changed: {failed}" if failed else 0)
P
"$here/env/bin/python" "$here/show.py"
