"""LLVM code of the functions of `tile`: vectors of one and two registers, which LLVM splits for smaller registers.

Imported only to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from ..processor import VECTOR
from .tile import PANEL, ROWS, STACKED

_i64, _i1 = ir.IntType(64), ir.IntType(1)


def _number(value: int) -> Any:
    return ir.Constant(_i64, value)


class _Code:
    """Helpers over a builder, for elements of one type."""

    def __init__(self, builder: Any, element: Any, memory: Any, integers: Any) -> None:
        self.builder, self.element, self.memory, self.integers = builder, element, memory, integers
        self.size = 4 if isinstance(element, ir.FloatType) else 8

    def vector(self, count: int) -> Any:
        return ir.VectorType(self.element, count)

    def zeros(self, count: int) -> Any:
        return ir.Constant(self.vector(count), [ir.Constant(self.element, 0.0)] * count)

    def splat(self, value: Any, count: int) -> Any:
        kind = ir.VectorType(value.type, count)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), places)

    def at(self, index: Any) -> Any:
        """Pointer to an element of the float memory."""
        return self.builder.gep(self.memory, [index])

    def integer(self, index: Any) -> Any:
        return self.builder.load(self.builder.gep(self.integers, [index]))

    def _vector_at(self, index: Any, count: int) -> Any:
        return self.builder.bitcast(self.at(index), self.vector(count).as_pointer())

    def load(self, index: Any, count: int, mask: Any = None) -> Any:
        pointer = self._vector_at(index, count)
        if mask is None:
            return self.builder.load(pointer, align=self.size)
        align = ir.Constant(ir.IntType(32), self.size)
        return self._call(f"masked.load.{self._suffix(count)}.p0", self.vector(count),
                          [pointer, align, mask, self.zeros(count)])

    def store(self, value: Any, index: Any, count: int, lanes: Any = None) -> None:
        """Store a vector, or its first elements: `lanes`, at least half of them for two registers."""
        if lanes is None:
            self.builder.store(value, self._vector_at(index, count), align=self.size)
            return
        if VECTOR == 64:
            align = ir.Constant(ir.IntType(32), self.size)
            self._call(f"masked.store.{self._suffix(count)}.p0", ir.VoidType(),
                       [value, self._vector_at(index, count), align, self.mask(lanes, count)])
            return
        # one by one by way of the stack: some processors' masked stores take ten times as long
        half = VECTOR // self.size
        if count > half:
            low, high = (self.shuffle(value, value, list(range(k, k + half))) for k in (0, half))
            self.store(low, index, half)
            value, index, lanes = high, self.builder.add(index, _number(half)), self.builder.sub(lanes, _number(half))
        slot = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, slot)
        elements = self.builder.bitcast(slot, self.element.as_pointer())

        def copy(k: Any, carried: list[Any]) -> list[Any]:
            self.builder.store(self.builder.load(self.builder.gep(elements, [k])), self.at(self.builder.add(index, k)))
            return carried

        self.loop(_number(0), lanes, 1, [], copy)

    def _suffix(self, count: int) -> str:
        return f"v{count}f{8 * self.size}"

    def _call(self, name: str, result: Any, args: Sequence[Any], **options: Any) -> Any:
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(result, [a.type for a in args]), f"llvm.{name}")
        return self.builder.call(function, args, **options)

    def by_lanes(self, lanes: Any, generate: Callable[[int, bool], None]) -> None:
        """Code by number of lanes: by the elements of a vector, and whether `lanes` may be fewer."""
        builder, wide = self.builder, 2 * VECTOR // self.size
        with builder.if_else(builder.icmp_signed("==", lanes, _number(wide))) as (full, partial):
            with full:
                generate(wide, False)
            with partial:
                with builder.if_else(builder.icmp_signed("<=", lanes, _number(wide // 2))) as (half, more):
                    with half:
                        generate(wide // 2, True)
                    with more:
                        generate(wide, True)

    def shuffle(self, a: Any, b: Any, places: Sequence[int]) -> Any:
        """The elements of two vectors at these places, those of `b` after those of `a`."""
        kind = ir.VectorType(ir.IntType(32), len(places))
        return self.builder.shuffle_vector(a, b, ir.Constant(kind, places))

    def mask(self, lanes: Any, count: int) -> Any:
        """True for the first `lanes` of a vector."""
        kind = ir.IntType(8 * self.size)  # of the elements' size, as the masks of vector registers are
        numbers = ir.Constant(ir.VectorType(kind, count), list(range(count)))
        least = lanes if self.size == 8 else self.builder.trunc(lanes, kind)
        return self.builder.icmp_signed("<", numbers, self.splat(least, count))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self._call(f"fmuladd.{self._suffix(a.type.count)}", a.type, [a, b, c])

    def opaque(self, value: Any) -> Any:
        """`value`, hidden from LLVM's optimiser: one index serves several arrays, and its loop is not unrolled."""
        return self.builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)

    def least(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def loop(self, begin: Any, end: Any, step: int, carried: Sequence[Any],
             body: Callable[[Any, list[Any]], list[Any]]) -> tuple[Any, list[Any]]:
        """``while index + step <= end`` with the values that `body` carries on; returns the index behind and them."""
        builder = self.builder
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_i64)
        index.add_incoming(begin, before)
        values = [builder.phi(v.type) for v in carried]
        for phi, v in zip(values, carried):
            phi.add_incoming(v, before)
        builder.cbranch(builder.icmp_signed("<=", builder.add(index, _number(step)), end), inside, after)
        builder.position_at_end(inside)
        for phi, v in zip(values, body(index, values)):
            phi.add_incoming(v, builder.block)
        index.add_incoming(builder.add(index, _number(step)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return index, values


def tile_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `tile`."""
    zero = _number(0)
    _tile(builder, element, (args[0], None, *args[1:9], zero, *args[9:]), False)
    return zero


def placed_tile_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `placed_tile`."""
    zero = _number(0)
    _tile(builder, element, (*args[:7], zero, args[7], zero, *args[8:]), True)
    return zero


def _tile(builder: Any, element: Any, args: Sequence[Any], table: bool) -> None:
    f, i, rows, lanes, depth, a, a_row, a_step, b, b_step, places, alpha, base, base_row, c, c_row = args
    code = _Code(builder, element, f, i)

    def variant(height: int, count: int, masked: bool) -> None:
        starts = [code.at(builder.add(a, builder.mul(a_row, code.least(_number(r), builder.sub(rows, _number(1))))))
                  for r in range(height)]
        mask = code.mask(lanes, count) if masked else None

        def step(p: Any, carried: list[Any]) -> list[Any]:
            shift, *totals = carried
            offset = code.integer(builder.add(places, p)) if table else builder.mul(p, b_step)
            along = code.load(builder.add(b, offset), count)
            shift = code.integer(builder.add(builder.add(places, depth), p)) if table else code.opaque(shift)
            totals = [code.multiply_add(code.splat(builder.load(builder.gep(start, [shift])), count), along, t)
                      for start, t in zip(starts, totals)]
            return [builder.add(shift, a_step), *totals]

        _, (_, *totals) = code.loop(_number(0), depth, 1, [_number(0), *[code.zeros(count)] * height], step)
        scale = code.splat(alpha, count)

        def finish(adding: bool) -> None:
            for r, value in enumerate(totals):
                with builder.if_then(builder.icmp_signed("<", _number(r), rows)):
                    to = builder.add(c, builder.mul(c_row, _number(r)))
                    if adding:
                        source = builder.add(base, builder.mul(base_row, _number(r)))
                        made = code.multiply_add(value, scale, code.load(source, count, mask))
                    else:
                        made = builder.fmul(value, scale)
                    code.store(made, to, count, lanes if masked else None)

        with builder.if_else(builder.icmp_signed("!=", base, _number(0))) as (yes, no):
            with yes:
                finish(True)
            with no:
                finish(False)

    with builder.if_else(builder.icmp_signed(">", rows, _number(4))) as (high, low):
        with high:
            code.by_lanes(lanes, partial(variant, ROWS))
        with low:
            code.by_lanes(lanes, partial(variant, 4))


def transpose_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `transpose`: swap blocks of half the side, then quarters, down to single elements."""
    f, to, to_row, source, source_row, count, columns, filled = args
    code = _Code(builder, element, f, None)
    side = VECTOR // code.size
    last, mask = builder.sub(count, _number(1)), code.mask(columns, side)
    rows = [code.load(builder.add(source, builder.mul(source_row, code.least(_number(j), last))), side, mask)
            for j in range(side)]
    step = side // 2
    while step:
        for j in range(side):
            if not j & step:
                a, b = rows[j], rows[j + step]
                first = [side + k - step if k & step else k for k in range(side)]
                second = [side + k if k & step else k + step for k in range(side)]
                rows[j], rows[j + step] = code.shuffle(a, b, first), code.shuffle(a, b, second)
        step //= 2

    def store(count: int) -> None:
        for p in range(side):
            with builder.if_then(builder.icmp_signed("<", _number(p), columns)):
                part = code.shuffle(rows[p], rows[p], list(range(count)))
                code.store(part, builder.add(to, builder.mul(to_row, _number(p))), count)

    with builder.if_else(builder.icmp_signed("<", filled, _number(side))) as (half, full):
        with half:
            store(side // 2)
        with full:
            store(side)
    return _number(0)


def move_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `move`."""
    f, to, source, lanes = args
    code = _Code(builder, element, f, None)

    def copy(count: int, masked: bool) -> None:
        code.store(code.load(source, count, code.mask(lanes, count) if masked else None), to, count)

    code.by_lanes(lanes, copy)
    return _number(0)


def prefetch_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `prefetch`: a read, into all caches, of data."""
    pointer = builder.bitcast(_Code(builder, element, args[0], None).at(args[1]), ir.IntType(8).as_pointer())
    numbers = [ir.Constant(ir.IntType(32), value) for value in (0, 3, 1)]
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[n.type for n in numbers]])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, *numbers])
    return _number(0)


def stack_code(builder: Any, element: Any, args: Sequence[Any]) -> Any:
    """Code of `stack`."""
    size = _Code(builder, element, None, None).size
    with builder.goto_entry_block():
        slot = builder.alloca(ir.ArrayType(element, max(PANEL * 2 * VECTOR // size, STACKED)))
        slot.align = 64
    return builder.sdiv(builder.ptrtoint(slot, _i64), _number(size))
