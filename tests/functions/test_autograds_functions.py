"""The functions of NumPy that HIPS autograd 1.8 differentiates or knows to be constant, called with tensors.

NumPy's values for arrays are the judge.
"""

import numpy as np
import pytest

import tapegrad as tg

DIFFERENTIABLE = """
abs absolute acos acosh add amax amin angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh array_split asin asinh
astype atan atan2 atanh atleast_1d atleast_2d atleast_3d broadcast_to clip conj conjugate cos cosh cross cumsum deg2rad
degrees diag diagonal diff divide dot dsplit einsum exp exp2 expand_dims expm1 fabs fliplr flipud fmax fmin full
gradient hsplit hypot imag inner kron linspace log log10 log1p log2 logaddexp logaddexp2 matmul max maximum min minimum
mod moveaxis multiply nan_to_num negative outer pad partition permute_dims pow power prod rad2deg radians ravel real
real_if_close reciprocal remainder repeat reshape roll rollaxis rot90 sin sinc sinh sort split sqrt square squeeze
subtract sum swapaxes tan tanh tensordot tile trace transpose tril triu true_divide vsplit linalg.cholesky linalg.det
linalg.eig linalg.eigh linalg.inv linalg.pinv linalg.slogdet linalg.solve linalg.svd fft.fft fft.fft2 fft.fftn
fft.fftshift fft.ifft fft.ifft2 fft.ifftn fft.ifftshift fft.irfft fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn
""".split()
CONSTANT = """
all allclose any argmax argmin argpartition argsort argwhere around array_equal array_equiv ceil count_nonzero
empty_like equal fix flatnonzero floor floor_divide full_like greater greater_equal isclose iscomplex iscomplexobj
isfinite isinf isnan isneginf isposinf isreal isscalar less less_equal logical_and logical_not logical_or logical_xor
ndim nonzero not_equal ones_like result_type rint round searchsorted shape sign size trunc zeros_like
""".split()
#: complex results; and NumPy asks np.full's value nothing (tapegrad.numpy.full does)
NOT_THERE = {"full", "linalg.eig", *(name for name in DIFFERENTIABLE if name.startswith("fft.") and
                                     not name.endswith("shift"))}
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0.2, 0.8, (3, 4)), RNG.uniform(0.3, 0.9, (3, 4))
ROW, SQUARE, THREE = X[0].copy(), X[:, :3] @ X[:, :3].T + np.eye(3), RNG.normal(size=(2, 3))
TWO = """
add allclose arctan2 array_equal array_equiv atan2 divide equal floor_divide fmax fmin greater greater_equal hypot inner
isclose kron less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor maximum minimum mod multiply
not_equal outer pow power remainder subtract tensordot true_divide
""".split()
ARGUMENTS = {
    **{name: (X, Y) for name in TWO}, "acosh": (X + 1.0,), "arccosh": (X + 1.0,), "array_split": (ROW, 3),
    "astype": (X, np.float64), "broadcast_to": (ROW, (2, 4)), "clip": (X, 0.3, 0.6),
    "cross": (THREE, THREE[::-1] + 1.0), "dot": (X, Y.T.copy()), "dsplit": (np.ones((2, 2, 2)), 2),
    "einsum": ("ij,ij->i", X, Y), "expand_dims": (X, 0),
    "full": ((2,), np.array(2.0)), "gradient": (ROW,), "hsplit": (X, 2), "linspace": (ROW, ROW + 1.0, 5),
    "matmul": (X, Y.T.copy()), "moveaxis": (X, 0, 1), "pad": (X, 1), "partition": (ROW, 2), "permute_dims": (X, (1, 0)),
    "repeat": (X, 2), "reshape": (X, (4, 3)), "roll": (X, 1), "rollaxis": (X, 1), "split": (X, 3),
    "squeeze": (X[None],), "swapaxes": (X, 0, 1), "tile": (X, 2), "vsplit": (X, 3), "argpartition": (ROW, 2),
    "around": (X, 1), "full_like": (X, 2.0), "searchsorted": (np.sort(ROW), Y),
    "linalg.solve": (SQUARE, THREE.T.copy()),
    **{f"linalg.{name}": (SQUARE,) for name in ("cholesky", "det", "eig", "eigh", "inv", "pinv", "slogdet", "svd")},
}


def function(name):
    place = np
    for part in name.split("."):
        place = getattr(place, part, None)
    return place


def parts(result):
    return [p for part in result for p in parts(part)] if isinstance(result, (tuple, list)) else [result]


def works(name):
    """Whether the function of tensors gives NumPy's values, with a history if it is differentiable."""
    given = ARGUMENTS.get(name, (X,))
    want = parts(function(name)(*given))
    tensors = [tg.tensor(v, requires_grad=name in DIFFERENTIABLE) if isinstance(v, np.ndarray) else v for v in given]
    try:
        got = parts(function(name)(*tensors))
    except tg.TapegradError:
        return False
    assert len(got) == len(want)
    for mine, numpys in zip(got, want):
        assert isinstance(mine, tg.Tensor) == isinstance(numpys, (np.ndarray, np.generic)) or np.ndim(numpys) == 0
        if name == "empty_like" or isinstance(numpys, np.dtype):
            assert mine.shape == numpys.shape if name == "empty_like" else mine == numpys
            continue
        value = mine.detach().numpy() if isinstance(mine, tg.Tensor) else mine
        if name in ("linalg.eigh", "linalg.svd"):  # vectors of either sign
            value, numpys = np.abs(value), np.abs(numpys)
        np.testing.assert_allclose(value, numpys, rtol=1e-9, atol=1e-12)
    return name in CONSTANT or got[0].requires_grad or name == "linalg.slogdet" and got[1].requires_grad


def test_they_are_189():
    assert len({*DIFFERENTIABLE, *CONSTANT}) == 189


@pytest.mark.parametrize("name", [n for n in (*DIFFERENTIABLE, *CONSTANT) if function(n) is not None])
def test_a_function_that_autograd_knows_works_on_tensors(name):
    assert works(name) != (name in NOT_THERE)
