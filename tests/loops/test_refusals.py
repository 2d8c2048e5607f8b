"""What loops may not contain says so, with the line and a remedy."""
# ruff: noqa: B007, B023, E741, F841

import pathlib
import random
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check

from tapegrad.errors import CompileError

V, M = np.array([0.5, 1.5, -0.5, 2.0]), np.arange(1.0, 13.0).reshape(3, 4)
REFUSED = []
HERE = []


def refused(words, *args):
    """A function that is refused with a message of these words."""
# ruff: noqa: B007, B023, E741, F841
    def taken(function):
        REFUSED.append(pytest.param(function, args, words, id=function.__name__))
        return function
    return taken


@refused("try", 0.5)
def with_try(x):
    try:
        return x
    except ValueError:
        return 0.0


@refused("with", 0.5)
def with_with(x):
    with open("file"):
        x = x * 2
    return x


@refused("yield", 0.5)
def with_yield(x):
    y = yield x
    return y


@refused("yield", 0.5)
def with_a_yield_statement(x):
    yield x


@refused("lambda", 0.5)
def with_lambda(x):
    f = lambda y: y * y  # noqa: E731
    return f(x)


@refused("comprehension", V)
def with_comprehension(x):
    return np.array([v * v for v in x])


@refused("generator", V)
def with_generator(x):
    return sum(v * v for v in x)


@refused("dictionary", 0.5)
def with_dict(x):
    d = {1: x}
    return d[1]


@refused("set", 0.5)
def with_set(x):
    d = {x}
    return len(d) * x


@refused("function within", 0.5)
def with_nested_def(x):
    def f(y):
        return y * y

    return f(x)


@refused("recursion of with_recursion_that_writes, which writes to arrays", V, 3)
def with_recursion_that_writes(x, n):
    if n == 0:
        return x[0]
    x[n] = x[n - 1] * 2
    return with_recursion_that_writes(x, n - 1)


@refused("returns no single result", 0.5, 3)
def with_recursion_of_two_results(x, n):
    if n == 0:
        return x, x
    a, b = with_recursion_of_two_results(x, n - 1)
    return a * b, x


@refused("which draws random numbers", 0.5, 3)
def with_recursion_that_draws(x, n):
    if n == 0:
        return x
    return np.random.normal() * with_recursion_that_draws(x, n - 1)


@refused("random.random", 0.5)
def with_unknown_calls(x):
    return x * random.random()


@refused("np.random.shuffle", V)
def with_a_shuffle(x):
    a = x.copy()
    np.random.shuffle(a)
    return a[0]


@refused("whose parameters are differentiated", 0.5)
def with_an_active_parameter_of_a_draw(x):
    return np.random.gamma(x, 2.0)


@refused("drawn only under a condition", 0.5)
def with_a_draw_under_a_condition(x):
    return x + abs(x if x > 0 else np.random.normal())


@refused("np.fft.fft", V)
def with_unknown_numpy(x):
    return np.fft.fft(x)[0]


@refused("args", 0.5)
def with_star_args(x, *more):
    return x


@refused("kwargs", 0.5)
def with_star_star(x, **more):
    return x


@refused("for with else", V)
def with_for_else(x):
    s = 0.0
    for v in x:
        s += v
    else:
        s = s * 2
    return s


@refused("while with else", 0.5)
def with_while_else(x):
    while x < 2:
        x *= 2
    else:
        x = x * 3
    return x


@refused("raise", 0.5)
def with_raise(x):
    if x < 0:
        raise ValueError
    return x


@refused("global", 0.5)
def with_global(x):
    global HERE
    HERE = x
    return x


@refused("del", 0.5)
def with_del(x):
    y = x * 2
    del y
    return x


@refused("import", 0.5)
def with_import(x):
    import math

    return math.exp(x)


@refused("print", 0.5)
def with_print(x):
    print(x)
    return x


@refused("list", V)
def with_a_list(x):
    a = [1.0, 2.0]
    a[0] = x[0]
    return a[0]


@refused("append", V)
def with_append(x):
    a = [1.0]
    a.append(x[0])
    return a[0]


@refused("assignment within", 0.5)
def with_walrus(x):
    return (y := x * 2) + y


@refused("text", 0.5)
def with_text(x):
    y = f"{x}"
    return x * len(y)


class Thing:
    value = 2.0

    def method(self, x):
        return x * self.value


THING = Thing()


@refused("object THING", 0.5)
def with_an_object(x):
    return THING.method(x)


@refused("not defined", 0.5)
def with_an_unknown_name(x):
    return x * nowhere  # noqa: F821


@refused("match", 0.5, 1)
def with_match(x, n):
    match n:
        case 1:
            x = x * 2
    return x


@refused("starred", V)
def with_starred_target(x):
    a, *b = x[0], x[1], x[2]
    return a


@refused("tuple pair", 0.5, 1)
def with_a_tuple_of_active_values_at_a_computed_index(x, k):
    pair = (x, x * 2)
    return pair[0] * pair[k]


@refused("different kinds", 0.5)
def with_results_of_different_kinds(x):
    if x > 1:
        return x
    return x, x


@refused("without a result", 0.5)
def that_may_end_without_a_result(x):
    if x > 1:
        return x


@refused("several arrays in turn", V)
def with_an_array_that_is_now_one_and_now_another(x):
    a, b = x.copy(), x * 2
    for _ in range(3):
        c = a
        a = b
        b = c
        a[0] *= b[1]
    return a


@refused("bound again while", V)
def with_an_alias_of_what_is_bound_again(x):
    a = x.copy()
    b = a
    a = a * 2
    return (a * b).sum()


@refused("names several arrays", V)
def with_a_name_for_two_views(x):
    v = x[1:]
    s = v.sum()
    v = x[:2]
    return s * v.sum()


@refused("index changes", V)
def with_a_view_whose_index_changes(x):
    s = 0.0
    k = 0
    for i in range(3):
        v = x[k:]
        k = k + 1
        s += v[0] * s + v[0]
    return s


@refused("read outside", V)
def with_an_array_made_in_a_loop_and_read_after(x):
    for i in range(3):
        a = x * i
    return a.sum()


@refused("none is the function's first level", V, 0.5)
def with_arrays_made_in_branches(x, y):
    if y > 0:
        a = x * 2
    else:
        a = x * 3
    return a.sum()


@refused("several types", V)
def with_an_array_that_becomes_a_number(x):
    a = x * 2
    a = a.sum()
    return a


@refused("axes are broadcast", V, M)
def with_broadcasting(x, m):
    return np.sum(x * m)


@refused("axes", V, M)
def with_broadcasting_into_a_slice(x, m):
    a = m.copy()
    a[:] = x
    return a


@refused("may name elements", M)
def with_a_write_through_what_may_be_a_view(m):
    v = m.ravel()
    v[0] = 5.0
    return m.sum()


@refused("may name elements", V, 0.5)
def with_a_write_through_one_of_two_arrays(x, y):
    a, b = x.copy(), x * 2
    c = a if y > 0 else b
    c[0] = 1.0
    return a.sum()


@refused("index by an array", V)
def with_a_write_by_an_index_array(x):
    which = np.array([0, 2])
    a = x.copy()
    a[which] = 1.0
    return a.sum()


@refused("index by an array", V)
def with_a_mask(x):
    a = x.copy()
    a[x > 0] = 0.0
    return a.sum()


@refused("an index that is a tuple", M)
def with_a_tuple_as_index(m):
    k = (1, 2)
    return m[k] ** 2


@refused("an axis is inserted", V)
def with_a_new_axis(x):
    return (x[:, None] * x[:, None]).sum()


@refused("linspace", 0.5)
def with_active_linspace(x):
    return np.linspace(0.0, x, 5).sum()


@refused("arange", 1.5)
def with_active_arange(x):
    return np.arange(0.0, x, 0.4).sum() * x


@refused("keyword arguments", 0.5)
def with_an_active_keyword(x):
    return np.full(3, fill_value=x).sum()


@refused("and, or", 0.5, 0.7)
def with_numbers_joined_by_or(x, y):
    return x or y


@refused("within an expression", V)
def with_a_call_that_writes_within_an_expression(x):
    a = x.copy()
    return a[0] + writes(a)


def writes(a):
    a[0] = a[1] * a[0]
    return a[0] * 2


@refused("under a condition", 0.5, 0.7)
def with_a_call_under_a_condition(x, y):
    return x + (twice(x) if y > 0 else y)


def twice(x):
    return x * 2


@refused("attribute", V)
def with_the_imaginary_part(x):
    return x.imag.sum() + x[0]


@refused("method", V)
def with_an_unknown_method(x):
    return x.std()


@refused(r"along an axis; numba has np.sum\(a, axis\) alone", M)
def with_a_mean_along_an_axis(m):
    return np.mean(m, axis=0).sum()


@refused("along an axis", M)
def with_a_maximum_along_an_axis(m):
    return m.max(1).sum()


@refused("called top", 0.5)
def with_a_reserved_parameter(top):
    return top * 2


@refused("complex", 0.5)
def with_complex_numbers(x):
    z = x * 1j
    return abs(z)


@pytest.mark.parametrize(("function", "args", "words"), REFUSED)
def test_what_is_not_understood_is_refused_with_its_place_and_a_remedy(function, args, words):
    with pytest.raises(CompileError, match=words) as found:
        check.derive(function, args)
    message = str(found.value)
    assert pathlib.Path(__file__).name in message or "random.py" in message
    assert ";" in message or "numba cannot type it" in message
