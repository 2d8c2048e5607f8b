#!/usr/bin/env bash
# scikit-learn 1.9.1: `set_params` between two calls of MLPRegressor.partial_fit takes every keyword and reports it back
# by `get_params`. Who lowers the learning rate by hand, or changes to another solver for the last epochs, changes
# nothing: learning_rate_init, solver, momentum, beta_1 and hidden_layer_sizes stay what they were at the first call,
# without a word, while alpha, activation and batch_size change at once (another activation over the old weights,
# too). With warm_start=True and `fit` the new learning rate counts, and the optimiser's moments begin anew.
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
from sklearn.neural_network import MLPRegressor

print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
warnings.simplefilter("ignore", ConvergenceWarning)
failed = []
rng = np.random.default_rng(0)
inputs = rng.normal(size=(40, 3))
targets = inputs[:, 0]
first = dict(hidden_layer_sizes=(5,), solver="adam", shuffle=False, random_state=0, max_iter=1)

def look(what, found, expected):
    print(f"{what:58} {found}")
    if found != expected:
        failed.append(f"{what}: {found}, was {expected}")

def after(method, changed):
    """The model after a first epoch, a change of settings and a second epoch."""
    model = MLPRegressor(**first, warm_start=method == "fit")
    getattr(model, method)(inputs, targets)
    model.set_params(**changed)
    for name, value in changed.items():
        assert model.get_params()[name] == value
    getattr(model, method)(inputs, targets)
    return model

def heeded(method, changed):
    plain, other = after(method, {}), after(method, changed)
    same = all(np.array_equal(a, b) for a, b in zip(plain.coefs_, other.coefs_))
    return "ignored" if same else "heeded"

for changed, expected in (({"learning_rate_init": 0.5}, "ignored"), ({"solver": "sgd"}, "ignored"),
                          ({"beta_1": 0.1}, "ignored"),
                          ({"hidden_layer_sizes": (7,)}, "ignored"), ({"alpha": 10.0}, "heeded"),
                          ({"activation": "tanh"}, "heeded"), ({"batch_size": 10}, "heeded")):
    look(f"partial_fit, {changed}", heeded("partial_fit", changed), expected)
wider = after("partial_fit", {"hidden_layer_sizes": (7,)})
look("shape of the first weights after hidden_layer_sizes=(7,)", wider.coefs_[0].shape, (3, 5))
look("fit with warm_start, {'learning_rate_init': 0.5}", heeded("fit", {"learning_rate_init": 0.5}), "heeded")
for method, steps in ("partial_fit", 2), ("fit", 1):
    look(f"steps that Adam has counted in two epochs, {method}", after(method, {})._optimizer.t, steps)
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "scikit-learn behaves as is claimed above"
