"""`to_onnx`: a module's forward as a file of the Open Neural Network Exchange."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.replacing import replacing
from ...errors import ArgumentError, MissingExtraError, ShapeError
from ...nn import Module
from ...program.running.arguments import as_input
from ...tape.nodes import Leaf
from ...tape.state import no_grad
from .graph import Graph
from .operators import OPERATORS
from .traced import Traced, flat, traced

__all__ = ["to_onnx"]

_OPSET = 18
_TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}


def to_onnx(module: Module, path: str | os.PathLike[str], example: Any, *, dynamic_batch: bool = True,
            check: bool = True) -> None:
    """Write what a module computes in evaluation mode to an ONNX file, which other runtimes load.

    Parameters
    ----------
    module : Module
        Its forward is recorded with `example`; modes are restored.
    path : path_like
        A file that is there is replaced.
    example : array_like, or tuple of array_like
        The arguments, of the shapes and dtypes that the file is to take: float32 or float64 as the parameters,
        integers, or bool.
    dynamic_batch : bool, default True
        Leave the length of axis 0 open, which is that of all arguments; else the file takes the example's shapes only.
    check : bool, default True
        Run what is to be written with onnx's own reference evaluator on the example, and on rows of it at another
        length of the batch, and compare.

    Raises
    ------
    ArgumentError
        Something cannot be expressed: its name, line and layer are given, and nothing is written. What is computed with
        another length of the batch cannot be told from the recording: say ``dynamic_batch=False``.
    MissingExtraError
        onnx is not installed (``pip install 'tapegrad[onnx]'``).

    Notes
    -----
    Opset 18. Names of inputs are input0, input1, ..., of outputs output0, ...; parameters and buffers have those of
    `state_dict`. What is expressed: linear, convolution, normalisation by running statistics, rows and groups, pooling,
    resampling, elementwise functions, reductions, softmax, attention, embedding, views and concatenation.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> from tapegrad.io.onnx import to_onnx
    >>> to_onnx(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), "model.onnx", np.ones((1, 3)))  # doctest: +SKIP
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise MissingExtraError("to_onnx needs onnx: pip install 'tapegrad[onnx]'") from None
    given = [as_input(a) for a in (example if isinstance(example, tuple) else (example,))]
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        floats = [p.dtype for p in module.parameters()]
        given = [a.astype(floats[0]) if floats and a.dtype.kind == "f" else a for a in given]
        first = second = traced(module, [a.shape for a in given], [a.dtype for a in given])
        if dynamic_batch:
            if len({a.shape[:1] for a in given}) != 1 or not given[0].ndim:
                raise ShapeError("to_onnx: arguments must have the same length along axis 0, or say "
                                 "dynamic_batch=False; shapes are " + ", ".join(str(list(a.shape)) for a in given))
            # a length that is no extent of the example, so that what is equal to it depends on it
            length = max(max(a.shape, default=1) for a in given) + 1
            second = traced(module, [(length, *a.shape[1:]) for a in given], [a.dtype for a in given])
        graph = _graph(module, helper, numpy_helper, first, second)
        model = _model(helper, graph, first, second)
        onnx.checker.check_model(model, full_check=True)
        if check:
            _check(model, module, given)
            if dynamic_batch:
                _check(model, module, [np.resize(a, (length, *a.shape[1:])) for a in given])
    finally:
        for m, training in modes.items():
            m.training = training
    with replacing(Path(path)) as part:
        part.write_bytes(model.SerializeToString())


def _graph(module: Module, helper: Any, numpy_helper: Any, first: Traced, second: Traced) -> Graph:
    """The nodes of all instructions."""
    if [i.op.name for i in first.instructions] != [i.op.name for i in second.instructions]:
        raise ArgumentError("to_onnx: the module computes otherwise with another length of the batch; say "
                            "dynamic_batch=False")
    held = {id(t.node if isinstance(t.node, Leaf) else t.buffer): name
            for name, t in [*module.named_parameters(), *module.named_buffers()]}
    names = {variable: held.get(id(source), "") for variable, source in first.outside.items()}
    graph = Graph(helper, numpy_helper, first, second, names)
    for k, (a, b) in enumerate(zip(first.inputs, second.inputs)):
        graph.made[a.variable] = f"input{k}", a, b
    for at, (i, other) in enumerate(zip(first.instructions, second.instructions)):
        if i.op.name == "scratch":
            continue
        graph.now = f"{i.op.name} at {i.where}"
        writer = OPERATORS.get(i.op.name)
        if writer is None:
            raise graph.refuse(f"{i.op.name} cannot be expressed")
        graph.other = other
        for name, kind in i.op.row.kinds.items():  # type: ignore[union-attr]
            if kind in ("float", "double") and i.real(name) != other.real(name):
                raise graph.refuse(f"{name} depends on the length of the batch; say dynamic_batch=False")
        working = {n for n, o in enumerate(i.operands) if _makes_scratch(first, o.variable)}
        inputs = ["" if n in working else graph.value(a, b)
                  for n, (a, b) in enumerate(zip(i.operands, other.operands)) if n]
        graph.result(at, writer(graph, i, inputs))
    graph.now = "the outputs"
    return graph


def _makes_scratch(traced: Traced, variable: int) -> bool:
    return any(i.op.name == "scratch" and i.operands[0].variable == variable for i in traced.instructions)


def _model(helper: Any, graph: Graph, first: Traced, second: Traced) -> Any:
    """The model of a graph with its inputs and outputs."""
    def information(name: str, a: Any, b: Any) -> Any:
        shape = [n if n == m else "batch" for n, m in zip(a.shape, b.shape)]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), shape)

    inputs = [information(f"input{k}", a, b) for k, (a, b) in enumerate(zip(first.inputs, second.inputs))]
    outputs = []
    for k, (a, b) in enumerate(zip(first.outputs, second.outputs)):
        graph.node("Identity", graph.value(a, b), output=f"output{k}")
        outputs.append(information(f"output{k}", a, b))
    made = helper.make_graph(graph.nodes, "tapegrad", inputs, outputs, graph.used())
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9,
                             producer_name="tapegrad")


def _check(model: Any, module: Module, given: list[np.ndarray]) -> None:
    """Compare with the reference evaluator of onnx."""
    from onnx.reference import ReferenceEvaluator

    with no_grad():
        mine = flat(module(*given))
    theirs = ReferenceEvaluator(model).run(None, {f"input{k}": a for k, a in enumerate(given)})
    for k, (a, b) in enumerate(zip(mine, theirs)):
        a = a.numpy()
        bound = _TOLERANCE.get(a.dtype, 0.0) * (1.0 + np.abs(a[np.isfinite(a)]).max(initial=0.0)) if a.size else 0.0
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=bound, equal_nan=True):
            raise ArgumentError(f"to_onnx: output{k} of the file is not the module's on the example; nothing is "
                                "written. Please report this with the module")
