"""Distributions of ``scipy.stats`` whose densities and distribution functions know tensors.

Each is a module with SciPy's functions ``logpdf``, ``pdf``, ``logcdf``, ``cdf``, ``logsf``, ``sf`` (those of `poisson`
are ``logpmf`` and ``pmf``), with SciPy's parameters. Densities are differentiable by everything, distribution functions
by where they are taken, ``loc`` and ``scale``. The values of parameters are not looked at: outside of their range
results are NaN.

Examples
--------
>>> import numpy as np, tapegrad as tg
>>> from tapegrad.scipy.stats import norm
>>> def likelihood(mean, scale, x):
...     return norm.logpdf(x, mean, scale).sum()
>>> x = np.array([1.0, 3.0])
>>> tg.grad(likelihood, argnums=(0, 1))(1.0, 2.0, x)
(array(0.5), array(-0.5))
"""

from . import beta, chi2, dirichlet, gamma, multivariate_normal, norm, poisson, t

__all__ = ["beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t"]
