"""Every op of the table has a derivative of its derivative, a tangent, a batching rule; run as a program, the table."""

import tapegrad  # noqa: F401  (defines the ops)
from tapegrad.engine.row import Layout
from tapegrad.ops.few import SCALED_TOTALS, SOFTMAXES_OF_SCALARS, TOTALS
from tapegrad.ops.mapped import Mapped
from tapegrad.ops.masked import MASKED
from tapegrad.ops.table import OPS
from tapegrad.transforms.batching import rule_of

#: what the planning of a recording puts in place of other ops: nothing is differentiated after that
PLANNED = {*SCALED_TOTALS.values(), *SOFTMAXES_OF_SCALARS.values(), *TOTALS.values(), *MASKED.values()}


#: floats that no adjoint reaches: working memory, and tables that a function makes of its arguments
FIXED = {"scratch", "columns", "shares", "table"}


def differentiable(op):
    """Names of the inputs that an adjoint reaches."""
    names = []
    for name in op.row.inputs:
        layout = op.row.layouts[name]
        if not layout & (Layout.INT64 | Layout.BOOL | Layout.FIXED | Layout.OVERWRITTEN) and name not in FIXED:
            names.append(name)
    return names


def table():
    """By op: its composition, its tangent, its batching."""
    rows = []
    for op in OPS:
        if op.adjoint is None or not op.forward.own or op in PLANNED or isinstance(op, Mapped):
            continue
        given = [name for name in differentiable(op) if op.formula is not None or name in op.composition]
        missing = sorted(set(differentiable(op)) - set(given))
        composition = ("missing: " + ", ".join(missing) if missing else "formula" if op.formula is not None else
                       "expression" if any(isinstance(r, str) for r in op.composition.values()) else "composition")
        tangent = "rule" if op.tangent else composition if composition in ("formula", "expression") else "transpose"
        rule = rule_of(op)
        rows.append((op.name, op.form or "", composition, tangent, "loop" if rule is None else "rule"))
    return rows


def test_all_columns_are_full():
    missing = [row for row in table() if row[2].startswith("missing")]
    assert not missing
    assert len(table()) > 100


if __name__ == "__main__":
    for row in [("op", "form", "composition", "tangent", "batching"), *table()]:
        print("{:22}{:10}{:14}{:12}{}".format(*row))
