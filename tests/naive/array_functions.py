"""Array functions of the plain-Python tape, under tapegrad's names: all of them, and the operators of `Var`."""

from __future__ import annotations

from .elementwise_functions import *  # noqa: F403
from .elementwise_functions import add, divide, greater, less_equal, multiply, negative, power, subtract
from .layout_functions import *  # noqa: F403
from .layout_functions import add_at, index, set_at, transpose, whole
from .product_functions import *  # noqa: F403
from .product_functions import matmul
from .tape import Var, as_var


def detach(a):
    return Var(as_var(a).value)


def checkpoint(function, *args):
    return function(*args)


class _At:
    def __init__(self, a):
        self.a = a

    def __getitem__(self, key):
        a = self.a

        class Place:
            @staticmethod
            def set(value):
                return set_at(a, key, value)

            @staticmethod
            def add(value):
                return add_at(a, key, value)

        return Place


def _key(key):
    return tuple(whole(k) if isinstance(k, Var) else k for k in key) if isinstance(key, tuple) else (
        whole(key) if isinstance(key, Var) else key)


Var.__add__, Var.__radd__ = add, lambda a, b: add(b, a)
Var.__sub__, Var.__rsub__ = subtract, lambda a, b: subtract(b, a)
Var.__mul__, Var.__rmul__ = multiply, lambda a, b: multiply(b, a)
Var.__truediv__, Var.__rtruediv__ = divide, lambda a, b: divide(b, a)
Var.__pow__ = power
Var.__matmul__, Var.__rmatmul__ = matmul, lambda a, b: matmul(b, a)
Var.__neg__ = negative
Var.__gt__, Var.__le__ = greater, less_equal
Var.__getitem__ = lambda a, key: index(a, _key(key))
Var.T = property(transpose)
Var.at = property(_At)
Var.detach = detach
