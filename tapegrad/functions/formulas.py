"""Functions that are an elementwise op each: a line makes ``tg.name``, and ``np.name`` of tensors if NumPy has it.

The formulas are in `ops.elementwise`; the names that are methods of `Tensor` too, in `tensor.methods`.
"""

from .apply import binary as _binary
from .apply import unary as _unary

abs = _unary("abs")
absolute = abs
arccos = _unary("arccos")
arcsin = _unary("arcsin")
arctan = _unary("arctan")
cos = _unary("cos")
cosh = _unary("cosh")
erf = _unary("erf")
exp = _unary("exp")
expm1 = _unary("expm1")
log = _unary("log")
log1p = _unary("log1p")
log_sigmoid = _unary("log_sigmoid")
reciprocal = _unary("reciprocal")
relu = _unary("relu")
selu = _unary("selu")
sigmoid = _unary("sigmoid")
sign = _unary("sign")
silu = _unary("silu")
sin = _unary("sin")
sinh = _unary("sinh")
sqrt = _unary("sqrt")
square = _unary("square")
tan = _unary("tan")
tanh = _unary("tanh")
x_log_x = _unary("x_log_x")

absolute_error = _binary("absolute_error")
add = _binary("add")
bce = _binary("bce")
bce_with_logits = _binary("bce_with_logits")
divide = _binary("divide")
kl = _binary("kl")
maximum = _binary("maximum")
minimum = _binary("minimum")
multiply = _binary("multiply")
squared_error = _binary("squared_error")
subtract = _binary("subtract")
