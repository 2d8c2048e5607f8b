"""Lowering: the LLVM code of the primitives, and compilation by numba.

Imported only when something has to be compiled.
"""

from __future__ import annotations

import inspect
import math
import platform
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler, config, cpu_options, registry
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic, lower_builtin, overload, type_callable

from . import as_written, primitives, processor
from .language import DEVICE_FUNCTIONS, specialised
from .mathematics import vecmath
from .row import resolved
from .tiles import tile, tile_code

#: A product may be contracted with the addition that follows (FMA). Nothing else: ``w * d * d`` is not ``w * (d * d)``
#: where squares overflow, nor ``a / b`` the same as ``a * (1 / b)``. Sums that may be reassociated say so, with `plus`
FASTMATH = {"contract"}
#: of an addition that may be reassociated: with "nsz" because LLVM reassociates none without it
REORDERED = ("reassoc", "nsz", "contract")
OPTIONS = {"fastmath": FASTMATH, "error_model": "numpy", "forceinline": True, "no_cpython_wrapper": True,
           "no_cfunc_wrapper": True}

_i64, _i32, _byte_pointer = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()


# ------------------------------------------------------------------ primitives
# Lowered inline: for an overload numba would compile a function each.


def _primitive(function: Callable, typer: Callable, *kinds: Any) -> Callable:
    """Register `function` with numba: typed by `typer`, lowered by the decorated function (builder, args, types)."""
    type_callable(function)(lambda context: typer)
    _PRIMITIVES.add(function)

    def register(generate: Callable) -> Callable:
        @lower_builtin(function, *kinds)
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return generate(context, builder, signature, args)

        return generate

    return register


_PRIMITIVES: set[Callable] = set()
_row, _any = types.CPointer(types.int64), types.Any


@_primitive(primitives.words_at, lambda address: _row, types.Integer)
def _words_at(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.inttoptr(builder.shl(args[0], ir.Constant(_i64, 3)), _i64.as_pointer())


@_primitive(primitives.row_address, lambda op: types.int64, _any)
def _row_address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.ashr(builder.ptrtoint(args[0], _i64), ir.Constant(_i64, 3))


@_primitive(primitives.word_of, lambda value: types.int64, types.Float)
def _word_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    value = context.cast(builder, args[0], signature.args[0], types.float64)
    return builder.bitcast(value, _i64)


@_primitive(primitives.integers, lambda f: _row, _any)
def _integers(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(args[0], _i64.as_pointer())


def _slot(builder: Any, kind: Any) -> Any:
    """A stack slot of the function, without the zero fill that numba emits at every use."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


@_primitive(primitives.frame, lambda: _row)
def _frame(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(_slot(builder, ir.ArrayType(_i64, primitives.FRAME_WORDS)), _i64.as_pointer())


@_primitive(primitives.floats_at, lambda f, address: f, _any, types.Integer)
def _floats_at(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    size = ir.Constant(_i64, context.get_abi_sizeof(context.get_value_type(signature.return_type.dtype)))
    return builder.inttoptr(builder.mul(args[1], size), args[0].type)


@_primitive(primitives.doubles_at, lambda f, address: types.CPointer(types.float64), _any, types.Integer)
def _doubles_at(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(builder.gep(args[0], [args[1]]), ir.DoubleType().as_pointer())


@_primitive(primitives.wide, lambda value: types.float64, types.Number)
def _wide(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.cast(builder, args[0], signature.args[0], types.float64)


@_primitive(primitives.quotient, lambda a, b: types.int64, types.Integer, types.Integer)
def _quotient(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.udiv(*(context.cast(builder, a, t, types.int64) for a, t in zip(args, signature.args)))


def _inputs(builder: Any) -> Any:
    """The alias scope of what `read` reads and no `write` changes."""
    module = builder.module
    return module.add_metadata([module.add_metadata(["inputs", module.add_metadata(["tapegrad"])])])


@_primitive(primitives.read, lambda f, k: f.dtype, _any, types.Integer)
def _read(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    value = builder.load(builder.gep(args[0], [args[1]]))
    value.set_metadata("alias.scope", _inputs(builder))
    return value


@_primitive(primitives.held, lambda f, k: f.dtype, _any, types.Integer)
def _held(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    value = builder.load(builder.gep(args[0], [args[1]]))
    value.set_metadata("noalias", _inputs(builder))
    return value


@_primitive(primitives.write, lambda f, k, value: types.int64, _any, types.Integer, _any)
def _write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    value = context.cast(builder, args[2], signature.args[2], signature.args[0].dtype)
    builder.store(value, builder.gep(args[0], [args[1]])).set_metadata("noalias", _inputs(builder))
    return ir.Constant(_i64, 0)


@_primitive(primitives.apart, lambda: types.int64)
def _apart(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    attributes = builder.function.attributes
    attributes.discard("alwaysinline")
    attributes.add("noinline")
    return ir.Constant(_i64, 0)


_SAME_BITS = {types.int64: types.float64, types.int32: types.float32,
              types.float64: types.int64, types.float32: types.int32}


@_primitive(primitives.bits_float, lambda n: _SAME_BITS[n], types.Integer)
@_primitive(primitives.float_bits, lambda x: _SAME_BITS[x], types.Float)
def _bitcast(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


def _word(builder: Any, op: Any, k: Any) -> Any:
    return builder.bitcast(builder.load(builder.gep(op, [k])), ir.DoubleType())


@_primitive(primitives.real64, lambda op, k: types.float64, _any, types.Integer)
def _real64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return _word(builder, *args)


@_primitive(primitives.real, lambda op, k, f: f.dtype, _any, types.Integer, _any)
def _real(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.cast(builder, _word(builder, *args[:2]), types.float64, signature.return_type)


@_primitive(primitives.cast, lambda value, f: f.dtype, _any, _any)
def _cast(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.cast(builder, args[0], signature.args[0], signature.return_type)


def _wider(a: Any, b: Any) -> Any:
    return a if a == b else max(a, b, key=lambda t: t.bitwidth)


@_primitive(primitives.plus, lambda a, b: _wider(a, b), types.Float, types.Float)
def _plus(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    a, b = (context.cast(builder, v, t, signature.return_type) for v, t in zip(args, signature.args))
    return builder.fadd(a, b, flags=REORDERED)


@_primitive(vecmath.where, lambda c, a, b: _wider(a, b), types.Boolean, _any, _any)
def _where(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    a, b = (context.cast(builder, v, t, signature.return_type) for v, t in zip(args[1:], signature.args[1:]))
    return builder.select(args[0], a, b)


def _elementary(function: Callable, generate: Callable, arity: int) -> None:
    typer = (lambda x: x) if arity == 1 else (lambda a, b: _wider(a, b))
    _primitive(function, typer, *[types.Float] * arity)(generate)


def _llvm(name: str) -> Callable:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic(f"llvm.{name}", [args[0].type]), args)

    return generate


def _library(function: Callable) -> Callable:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        args = [context.cast(builder, a, t, signature.return_type) for a, t in zip(args, signature.args)]
        uniform = signature.return_type(*[signature.return_type] * len(args))
        return context.get_function(function, uniform)(builder, args)

    return generate


for _name in ("sqrt", "floor"):
    _elementary(getattr(vecmath, _name), _llvm(_name), 1)
_elementary(vecmath.abs, _llvm("fabs"), 1)
for _name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"):
    _elementary(getattr(vecmath, _name), _library(getattr(math, _name)), 1)
_elementary(vecmath.power, _library(math.pow), 2)


@_primitive(primitives.call, lambda address, op, f, i, b: types.int64, types.Integer, _any, _any, _any, _any)
def _call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    result, exception = _slot(builder, _i64), _slot(builder, _byte_pointer)
    arguments = [result, exception, *args[1:]]
    function = ir.FunctionType(_i32, [a.type for a in arguments])
    code = builder.call(builder.inttoptr(args[0], function.as_pointer()), arguments)
    returned = builder.icmp_unsigned("==", code, ir.Constant(_i32, 0))
    return builder.select(returned, builder.load(result), ir.Constant(_i64, -1))


def _tiles(function: Callable, code: Callable) -> None:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = context.get_value_type(signature.args[0].dtype)
        args = [context.cast(builder, value, given, types.int64 if isinstance(given, types.Integer) else given)
                for value, given in zip(args, signature.args)]
        return code(builder, element, args)

    def typer(*kinds: Any) -> Any:
        return types.int64

    typer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    _primitive(function, typer, *[_any] * len(typer.__signature__.parameters))(generate)


_tiles(tile.tile, tile_code.tile_code)
_tiles(tile.placed_tile, tile_code.placed_tile_code)
_tiles(tile.transpose, tile_code.transpose_code)
_tiles(tile.move, tile_code.move_code)
_tiles(tile.prefetch, tile_code.prefetch_code)
_tiles(tile.stack, tile_code.stack_code)


@_primitive(tile.lanes_of, lambda f: types.int64, _any)
def _lanes_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return ir.Constant(_i64, 16 * processor.VECTOR // signature.args[0].dtype.bitwidth)


# ------------------------------------------------------------------ between threads


def _word_at(builder: Any, memory: Any, at: Any) -> Any:
    return builder.gep(memory, [at])


@_primitive(primitives.look, lambda i, at: types.int64, _any, types.Integer)
def _look(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.load_atomic(_word_at(builder, *args), "seq_cst", 8)


def _publication(function: Callable, ordering: str) -> None:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.cast(builder, args[2], signature.args[2], types.int64)
        builder.store_atomic(value, _word_at(builder, *args[:2]), ordering, 8)
        return value

    _primitive(function, lambda i, at, value: types.int64, _any, types.Integer, types.Integer)(generate)


_publication(primitives.publish, "seq_cst")
_publication(primitives.offer, "release")


@_primitive(primitives.settle, lambda: types.int64)
def _settle(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    builder.fence("seq_cst")
    return ir.Constant(_i64, 0)


@_primitive(primitives.replace, lambda i, at, expected, value: types.int64, _any, *[types.Integer] * 3)
def _replace(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    before, after = (context.cast(builder, a, t, types.int64) for a, t in zip(args[2:], signature.args[2:]))
    pair = builder.cmpxchg(_word_at(builder, *args[:2]), before, after, "seq_cst", "seq_cst")
    return builder.zext(builder.extract_value(pair, 1), _i64)


@_primitive(primitives.increase, lambda i, at, by: types.int64, _any, *[types.Integer] * 2)
def _increase(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    by = context.cast(builder, args[2], signature.args[2], types.int64)
    return builder.atomic_rmw("add", _word_at(builder, *args[:2]), by, "seq_cst")


_PAUSES: dict[str, tuple[str, list[Any]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []), "amd64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [ir.Constant(_i32, 1)]), "arm64": ("llvm.aarch64.hint", [ir.Constant(_i32, 1)]),
}


@_primitive(primitives.pause, lambda: types.int64)
def _pause(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    name, values = _PAUSES.get(platform.machine().lower(), ("", []))
    if name:
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)
    return ir.Constant(_i64, 0)


@_primitive(primitives.c_call, lambda address, number, pointer, count: types.int64, *[types.Integer] * 4)
def _c_call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    address, number, pointer, count = (context.cast(builder, a, t, types.int64)
                                       for a, t in zip(args, signature.args))
    function = ir.FunctionType(_i32, [_i32, _i64, _i64])
    called = builder.call(builder.inttoptr(address, function.as_pointer()),
                          [builder.trunc(number, _i32), pointer, count])
    return builder.sext(called, _i64)


@_primitive(primitives.byte_address, lambda f, address: types.int64, _any, types.Integer)
def _byte_address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    size = ir.Constant(_i64, context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype)))
    return builder.mul(context.cast(builder, args[1], signature.args[1], types.int64), size)


@_primitive(primitives.fortran, lambda routine, arguments, count: types.int64, types.Integer, _any, types.Integer)
def _fortran(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    routine, arguments, count = args
    end = builder.append_basic_block("called")
    cases = builder.switch(context.cast(builder, count, signature.args[2], types.int64), end)
    for arity in range(primitives.LEAST_ARGUMENTS, primitives.MOST_ARGUMENTS + 1):
        block = builder.append_basic_block(f"of_{arity}")
        cases.add_case(ir.Constant(_i64, arity), block)
        builder.position_at_end(block)
        given = [builder.load(builder.gep(arguments, [ir.Constant(_i64, k)])) for k in range(arity)]
        function = ir.FunctionType(ir.VoidType(), [_byte_pointer] * arity)
        builder.call(builder.inttoptr(routine, function.as_pointer()),
                     [builder.inttoptr(address, _byte_pointer) for address in given])
        builder.branch(end)
    builder.position_at_end(end)
    return ir.Constant(_i64, 0)


@intrinsic
def _advance(typing: Any, pointer: Any, count: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), codegen


@overload(primitives.array_of, strict=False)
def _array_of_overload(memory: Any, address: Any, shape: Any) -> Any:
    return lambda memory, address, shape: numba.carray(_advance(memory, address), shape)


@intrinsic
def _gemm(typing: Any, routine: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any, b: Any,
          ldb: Any, beta: Any, c: Any, ldc: Any, f: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, _) = args
        element = context.get_value_type(f.dtype)
        size = context.get_abi_sizeof(element)

        def place(value: Any, kind: Any) -> Any:
            slot = cgutils.alloca_once(builder, kind)
            builder.store(value, slot)
            return builder.bitcast(slot, _byte_pointer)

        def letter(transposed: Any) -> Any:
            yes, no = ir.Constant(ir.IntType(8), ord("T")), ir.Constant(ir.IntType(8), ord("N"))
            return place(builder.select(cgutils.is_not_null(builder, transposed), yes, no), ir.IntType(8))

        def integer(value: Any) -> Any:
            return place(builder.trunc(value, _i32), _i32)

        def elements(address: Any) -> Any:
            return builder.inttoptr(builder.mul(address, ir.Constant(_i64, size)), _byte_pointer)

        arguments = [letter(ta), letter(tb), integer(m), integer(n), integer(k), place(alpha, element), elements(a),
                     integer(lda), elements(b), integer(ldb), place(beta, element), elements(c), integer(ldc)]
        function = ir.FunctionType(ir.VoidType(), [_byte_pointer] * 13)
        builder.call(builder.inttoptr(routine, function.as_pointer()), arguments)
        return ir.Constant(_i64, 0)

    i8, real = types.int64, f.dtype
    return types.int64(i8, i8, i8, i8, i8, i8, real, i8, i8, i8, i8, real, i8, i8, f), codegen


@overload(primitives.fortran_gemm, strict=False)
def _gemm_overload(routine: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any, b: Any,
                   ldb: Any, beta: Any, c: Any, ldc: Any, f: Any) -> Any:
    return lambda routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, f: _gemm(
        routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, f)


# ------------------------------------------------------------------ device functions


_taught = 0


def teach() -> None:
    """Register with numba the device functions defined since the last call."""
    global _taught
    while _taught < len(DEVICE_FUNCTIONS):
        function, single, double = DEVICE_FUNCTIONS[_taught]
        _taught += 1
        if function not in _PRIMITIVES:
            _register(function, resolved(single), resolved(double))


def _register(function: Callable, single: Callable, double: Callable) -> None:
    narrow = specialised(single, np.dtype(np.float32))

    def choose(*args: Any) -> Callable:
        is_single = any(getattr(a, "dtype", a) == types.float32 for a in args)
        return narrow if is_single else double

    overload(function, jit_options=OPTIONS, strict=False)(choose)


# ------------------------------------------------------------------ compiling


def signature(dtype: np.dtype) -> Any:
    """``int64(int64*, T*, int64*, uint8*)``."""
    pointer, element = types.CPointer, numba.from_dtype(dtype)
    return types.int64(pointer(types.int64), pointer(element), pointer(types.int64), pointer(types.uint8))


def compile_object(function: Callable, name: str, dtype: np.dtype, own: bool = True, straight: bool = False) -> tuple[
        str, bytes]:
    """Symbol and object code of `function`, compiled for `dtype`.

    A user's function (not `own`) may allocate and is compiled as written. For `straight` see `Kernel`. The callees of a
    straight one are compiled without that first, for numba caches them, and LLVM does not vectorise loops of other
    functions over code that is vectorised in part.
    """
    teach()
    flags, target, sig = compiler.Flags(), registry.cpu_target, signature(dtype)
    if own:  # with the flags of device functions: numba compiles callees anew under other flags
        target.options.parse_as_flags(flags, {**OPTIONS, "nopython": True})
    else:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.error_model = "numpy"
        flags.fastmath = cpu_options.FastMathOptions(False)
    flags.nrt = not own  # a kernel that allocates does not compile
    function.__qualname__ = name

    def compiled() -> Any:
        return compiler.compile_extra(target.typing_context, target.target_context, function, sig.args,
                                      sig.return_type, flags, {})

    with global_compiler_lock, nullcontext() if own else as_written.own_flags():
        result = compiled()
        if straight:
            before, config.SLP_VECTORIZE = config.SLP_VECTORIZE, 1
            try:
                result = compiled()
            finally:
                config.SLP_VECTORIZE = before
        symbol = result.fndesc.llvm_func_name
        result.library.get_pointer_to_function(symbol)
        return symbol, result.library._get_compiled_object()


# ------------------------------------------------------------------ vecmath: compiled as written


def _register_formula(function: Callable, single: Callable | None, double: Callable | None) -> None:
    # without "reassoc", which would cancel the error terms that the formulas rely on
    options = {**OPTIONS, "fastmath": {"contract"} if function not in (vecmath.minus, vecmath.times) else False}
    narrow = single and specialised(single, np.dtype(np.float32))

    def choose(*args: Any) -> Callable | None:
        return narrow if types.float32 in args or types.int32 in args else double

    overload(function, jit_options=options, strict=False)(choose)


def _register_formulas() -> None:
    for function, single, double in vecmath.formulas():
        _register_formula(function, single, double)


_register_formulas()
