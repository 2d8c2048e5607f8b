#!/usr/bin/env bash
# scikit-learn 1.9.1: `sample_weight` of MLPRegressor and MLPClassifier should weigh one row against another, and where
# all rows weigh the same it should do nothing. With the stochastic solvers neither holds:
# - The mean is weighted within each mini-batch and divided by that batch's weights, so only what shares a batch is
#   weighed. With batch_size=1 weights do nothing at all (alpha=0): rows of 1000 and of 0.001 pull alike. Rows sorted by
#   weight, unshuffled, in batches of equal weights: nothing either. Otherwise it depends on batch_size and shuffling.
#   The solver lbfgs, which takes all rows at once, weighs them.
# - The penalty is divided by the batch's weights too: a weight of 2 for every row is half of alpha, with lbfgs as well.
# - A batch of which no row has a weight raises ZeroDivisionError ("Weights sum to zero"), from deep within NumPy;
#   whether there is one is a matter of random_state and batch_size.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$here/show.py" <<'P'
import warnings

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
warnings.simplefilter("ignore", ConvergenceWarning)
failed = []
rng = np.random.default_rng(0)
inputs = rng.normal(size=(40, 3))
halves = np.repeat([0, 1], 20)
line = inputs[:, 0]
targets = np.where(halves == 0, line, -line)  # the two halves pull in opposite directions
light = np.where(halves == 0, 1e-3, 1e3)

def fitted(weights=None, kind=MLPRegressor, y=targets, **keywords):
    settings = dict(hidden_layer_sizes=(5,), solver="sgd", learning_rate_init=0.01, max_iter=30, alpha=0.0,
                    shuffle=False, random_state=0)
    return kind(**settings | keywords).fit(inputs, y, sample_weight=weights)

def apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one.coefs_, other.coefs_))

def look(what, found, expected):
    print(f"{what:62} {found}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

def effect(**keywords):
    """What weights of 0.001 and 1000 do to the coefficients."""
    distance = apart(fitted(**keywords), fitted(light, **keywords))
    return "none" if distance < 1e-9 else "some" if distance > 1e-2 else f"{distance}"

for solver in "sgd", "adam":
    for batch_size, expected in (1, "none"), (20, "none"), (40, "some"):
        look(f"effect of weights, {solver}, batches of {batch_size}", effect(solver=solver, batch_size=batch_size), expected)
look("effect of weights, sgd, batches of 1, shuffled", effect(batch_size=1, shuffle=True), "none")
look("effect of weights, sgd, batches of 20, shuffled", effect(batch_size=20, shuffle=True), "some")
look("effect of weights, classifier, batches of 1", effect(kind=MLPClassifier, y=halves, batch_size=1), "none")
look("effect of weights, lbfgs", effect(solver="lbfgs"), "some")

two = np.full(40, 2.0)
for solver in "sgd", "lbfgs":
    keywords = dict(solver=solver, batch_size=40)
    whole, half = fitted(alpha=1.0, **keywords), fitted(alpha=0.5, **keywords)
    doubled = fitted(two, alpha=1.0, **keywords)
    look(f"alpha=1 with weights of 2 is alpha=1 without, {solver}", apart(doubled, whole) < 1e-6, False)
    look(f"alpha=1 with weights of 2 is alpha=0.5 without, {solver}", apart(doubled, half) < 1e-6, True)

for batch_size, expected in (20, "ZeroDivisionError: Weights sum to zero, can't be normalized"), (40, "fits"):
    try:
        fitted(halves.astype(float), batch_size=batch_size)
        found = "fits"
    except ZeroDivisionError as error:
        found = f"{type(error).__name__}: {error}"
    look(f"half of the weights zero, batches of {batch_size}", found, expected)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "scikit-learn behaves as is claimed above"
