"""Functions of functions: derivatives in JAX's names, and a function of one applied to many."""

from . import autograd
from .directional import hvp, jvp, linearize, stop_gradient, vjp
from .grad import grad, value_and_grad
from .gradcheck import GradcheckError, gradcheck
from .jacobian import elementwise_grad, hessian, jacfwd, jacobian, jacrev
from .rules import custom_jvp, custom_vjp
from .sparse import sparse_hessian, sparse_jacobian
from .vmap import vmap

__all__ = [
    "GradcheckError", "autograd", "custom_jvp", "custom_vjp", "elementwise_grad", "grad", "gradcheck", "hessian",
    "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linearize", "sparse_hessian", "sparse_jacobian", "stop_gradient",
    "value_and_grad", "vjp", "vmap",
]
