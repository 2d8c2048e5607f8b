#!/usr/bin/env bash
# torch 2.13.0, numpy 2.4.6: DLPack hands memory from one library to the other; what cannot be said in it should be
# refused, as torch refuses tensors that require gradients or are conjugated but not yet computed.
# - The imaginary part of a conjugate is a view of the memory with "negative" noted on it (`is_neg()`). `Tensor.numpy()`
#   refuses it, `numpy.from_dlpack` takes the memory as it lies: -2 arrives as 2, without a word. So does
#   `torch.from_dlpack` of the very same tensor. `resolve_neg()` before helps.
# - A read-only NumPy array says so in its DLPack capsule, and `numpy.from_dlpack` keeps it. torch, which warns in
#   `from_numpy`, makes a tensor of it that can be written to, without a warning: an in-place operation changes the
#   array behind its flag, here one that is broadcast from a single number, of which all elements change at once.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import warnings

import numpy as np
import torch

print("torch", torch.__version__, "numpy", np.__version__)
failed = []

def look(what, call, expected):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = call().tolist()
        except (RuntimeError, BufferError) as error:
            found = f"{type(error).__name__}: {error}"
    found = found[:30] if isinstance(found, str) else found
    found = (found, "warns" if caught else "silent")
    print(f"{what:52} {found}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

conjugate = torch.tensor([1.0 + 2.0j, 3.0 - 4.0j]).conj()
part = conjugate.imag
look("imaginary part of the conjugate", lambda: part, ([-2.0, 4.0], "silent"))
look("  numpy()", part.numpy, ("RuntimeError: Can't call numpy", "silent"))
look("  numpy.from_dlpack", lambda: np.from_dlpack(part), ([2.0, -4.0], "silent"))
look("  torch.from_dlpack", lambda: torch.from_dlpack(part), ([2.0, -4.0], "silent"))
look("  numpy.from_dlpack of resolve_neg()", lambda: np.from_dlpack(part.resolve_neg()), ([-2.0, 4.0], "silent"))
look("the conjugate, numpy.from_dlpack", lambda: np.from_dlpack(conjugate), ("BufferError: Can't export tens", "silent"))

def written(convert, array):
    tensor = convert(array)
    tensor[0] += 1.0
    return array

def fixed():
    array = np.zeros(2)
    array.flags.writeable = False
    return array

look("read-only, written to through torch.from_dlpack", lambda: written(torch.from_dlpack, fixed()), ([1.0, 0.0], "silent"))
look("read-only, written to through torch.from_numpy", lambda: written(torch.from_numpy, fixed()), ([1.0, 0.0], "warns"))
same = np.broadcast_to(np.zeros(1), 3)
look("broadcast, written to through torch.from_dlpack", lambda: written(torch.from_dlpack, same), ([1.0, 1.0, 1.0], "silent"))
kept = np.from_dlpack(fixed()).flags.writeable
print(f"{'read-only, through numpy.from_dlpack: writeable':52} {kept}")
if kept:
    failed.append("numpy.from_dlpack no longer keeps read-only arrays so")
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "torch behaves as is claimed above"
