#!/usr/bin/env bash
# joblib 1.6.0: `dump` and `load` are pickle that is good at arrays, so one would think that an object comes back as
# pickle brings it back. An array that is referred to twice (weights tied between an encoder and a decoder, a buffer
# and what updates it) comes back as two: after loading, a change of one no longer shows in the other, and the file is
# twice as large. pickle keeps it one. The same with compress=, with mmap_mode="r+" and for an attribute or a dict
# instead of a list. Lists and objects that are referred to twice stay one, so it goes unseen until an array does not.
# `joblib.hash` takes the two states for equal. scikit-learn's advice to keep estimators with joblib leads here.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check joblib==1.6.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np

print("joblib", joblib.__version__, "numpy", np.__version__)
path, failed = Path(sys.argv[1]) / "kept.joblib", []

def look(what, found, expected):
    print(f"{what:56} {found}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

class Tied:
    def __init__(self, weight):
        self.encoder = self.decoder = weight

def by_joblib(obj, mode=None, **keywords):
    joblib.dump(obj, path, **keywords)
    return joblib.load(path, mmap_mode=mode)

def by_pickle(obj):
    return pickle.loads(pickle.dumps(obj))

weight = np.zeros(1000)
tied = Tied(weight)
for how, one in (by_joblib, False), (by_pickle, True):
    back = how(tied)
    look(f"{how.__name__}: one array as two attributes", back.encoder is back.decoder, one)
    back.encoder[0] = 1.0
    look("  the second after the first became 1.0", float(back.decoder[0]), 1.0 if one else 0.0)
    back = how([weight, weight])
    look(f"{how.__name__}: one array twice in a list", back[0] is back[1], one)
    back = how({"encoder": weight, "decoder": weight})
    look(f"{how.__name__}: one array twice in a dict", back["encoder"] is back["decoder"], one)
    inner = Tied(weight)
    back = how([inner, inner])
    look(f"{how.__name__}: one object twice in a list", back[0] is back[1], True)
    back = how([[1, 2]] * 2)
    look(f"{how.__name__}: one list twice in a list", back[0] is back[1], True)
for mode, compress in (None, 3), ("r+", 0):
    back = by_joblib([weight, weight], mode=mode, compress=compress)
    look(f"by_joblib: compress={compress}, mmap_mode={mode!r}", back[0] is back[1], False)

by_joblib([weight, weight])
look("bytes in the file, over those of one array, rounded", round(path.stat().st_size / weight.nbytes), 2)
look("bytes of the pickle, over those of one array, rounded", round(len(pickle.dumps([weight, weight])) / weight.nbytes), 1)
look("equal hashes of one twice and of two", joblib.hash([weight, weight]) == joblib.hash([weight, weight.copy()]), True)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py" "$here"
echo "joblib behaves as is claimed above"
