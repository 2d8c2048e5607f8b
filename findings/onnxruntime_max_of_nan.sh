#!/usr/bin/env bash
# onnxruntime 1.32.0: NaN comes out of a network into which, or in which, a NaN came: one looks for it at the outputs to
# see that something is broken. Maxima lose it. In its CPU provider
# - ReduceMax and ReduceMin have NaN as their result if it is the first of the numbers, else they pass over it;
# - ArgMax answers 0 for a NaN in front, and else, for short rows, the place of the greatest number;
# - MaxPool and GlobalMaxPool pass over every NaN, wherever it stands.
# The element by element Max and Min, Relu, Softmax and TopK keep it. onnx's own reference evaluator has NaN for
# ReduceMax and GlobalMaxPool and the NaN's place for ArgMax, as NumPy and PyTorch have, and passes over it in MaxPool.
# The same row reversed therefore gives another maximum.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$here/show.py" <<'P'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
failed, nan = [], float("nan")

def computed(operator, arrays, **attributes):
    """What the runtime and what the reference evaluator give for a model of one node."""
    names = [f"x{place}" for place in range(len(arrays))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    whole = TensorProto.INT64 if operator.startswith("Arg") else TensorProto.FLOAT
    graph = helper.make_graph([node], "one", [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
                                              for name, array in zip(names, arrays)],
                              [helper.make_tensor_value_info("y", whole, [None] * arrays[0].ndim)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    feed = dict(zip(names, arrays))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.ravel(outputs[0]).tolist() for outputs in (session.run(None, feed), ReferenceEvaluator(model).run(None, feed))]

def look(what, found, expected):
    print(f"{what:40} onnxruntime {str(found[0]):22} reference {found[1]}")
    if str(found) != str(list(expected)):
        failed.append(f"{what}: {found}, was {expected}")

def row(*values):
    return np.array(values, np.float32)

first, second, last = (nan, 1.0, 2.0), (1.0, nan, 2.0), (1.0, 2.0, nan)
for operator, values, runtime in (("ReduceMax", first, nan), ("ReduceMax", second, 2.0), ("ReduceMax", last, 2.0),
                                  ("ReduceMin", first, nan), ("ReduceMin", second, 1.0), ("ReduceMin", last, 1.0)):
    look(f"{operator} of {values}", computed(operator, [row(*values)]), ([runtime], [nan]))
for values, runtime in (first, 0), (second, 2), (last, 1), ((3.0, 2.0, nan), 0):
    look(f"ArgMax of {values}", computed("ArgMax", [row(*values)], axis=0), ([runtime], [values.index(nan)]))
for values in first, second, last:
    image = row(*values).reshape(1, 1, 3)
    look(f"MaxPool of {values}", computed("MaxPool", [image], kernel_shape=[3]), ([2.0], [2.0]))
    look(f"GlobalMaxPool of {values}", computed("GlobalMaxPool", [image]), ([2.0], [nan]))
look("Max of (1, nan) and (nan, 1)", computed("Max", [row(1.0, nan), row(nan, 1.0)]), ([nan, nan], [nan, nan]))
look("Relu of (nan, 1)", computed("Relu", [row(nan, 1.0)]), ([nan, 1.0], [nan, 1.0]))
look("Softmax of (nan, 1)", computed("Softmax", [row(nan, 1.0)]), ([nan, nan], [nan, nan]))
raise SystemExit("\n".join(failed) or None)
P
"$here/env/bin/python" "$here/show.py"
echo "onnxruntime behaves as is claimed above"
