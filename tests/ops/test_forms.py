"""Which form of an op is recorded: what a program compiles is what it uses."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import FLOATS, quotient
from tapegrad.engine.storage import address_of
from tapegrad.ops.elementwise import BINARY, UNARY
from tapegrad.ops.reduction import ROW_SUM, SUM
from tapegrad.ops.table import OPS

MATRIX, ROW, COLUMN = np.ones((3, 4)), np.ones(4), np.ones((3, 1))


def recorded(tape):
    return [OPS[code] for code in tape._opcode[:len(tape)].tolist()]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_only_the_adjoint_of_a_broadcast_operand_is_a_sum(name):
    op, f = BINARY[name], getattr(tg, name)
    for broadcast in (ROW, COLUMN):
        with tg.Tape() as tape:
            x, w = (tg.tensor(a, requires_grad=True) for a in (MATRIX, broadcast))
            kept = [f(x, w), f(w, x), f(x, x), f(x, w.detach()), f(x, broadcast), f(MATRIX, w)]
        assert recorded(tape) == [op.summed, op.summed, op, op, op, op.summed] and len(kept) == 6


@pytest.mark.parametrize("name", ["subtract", "multiply"])
def test_a_compiled_function_too_records_sums_only_where_an_operand_is_broadcast(name):
    f = tg.compile(tg.value_and_grad(lambda x, w: getattr(tg, name)(x, w).sum(), argnums=(0, 1)))
    for w, form in ((ROW, BINARY[name].summed), (MATRIX, BINARY[name])):
        value, (_, gradient) = f(MATRIX, w)
        assert recorded(f.tape)[0] is form and gradient.shape == w.shape


def test_a_form_is_listed_by_the_name_of_its_op_and_shares_its_forward_kernel():
    for op in (*BINARY.values(), UNARY["copy"]):
        assert op.summed.name == op.name and op.summed.forward is op.forward
        assert op.summed.adjoint.name != op.adjoint.name and op.summed.saves == op.saves


@pytest.mark.parametrize("axis, form", [(None, ROW_SUM), ((0, 1), ROW_SUM), (0, SUM), (1, SUM)])
def test_one_row_to_one_number_is_a_form_of_its_own(axis, form):
    with tg.Tape() as tape:
        y = tg.tensor(MATRIX, requires_grad=True).sum(axis=axis)
        z = tg.tensor(np.ones(1), requires_grad=True).mean()
    assert recorded(tape) == [form, ROW_SUM] and y.numpy().sum() == 12 and z.item() == 1
    assert tg.tensor(np.ones((0, 4))).sum().item() == 0 and np.isnan(tg.tensor(np.ones(0)).mean().item())


def run_quotient(op, f, i, b):
    op[1] = quotient(op[2], op[3])
    return 0


QUOTIENT = Kernel("test.quotient", run_quotient, own=False)


def test_a_quotient_is_that_of_whole_numbers():
    for a, b in ((0, 1), (7, 7), (6, 7), (1 << 40, 3)):
        row = np.array([0, -1, a, b], np.int64)
        QUOTIENT(address_of(row), FLOATS[1])
        assert row[1] == a // b
