"""Random small programs against the same program over tensors, and against differences."""

import pathlib
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check
import over_tensors
from random_programs import function_of, programs

pytestmark = pytest.mark.compiled


def compare(source, seed):
    """Compare with the same program in plain Python over tensors, and with differences where these are to be trusted:
    where two steps agree, no branch is near."""
    draw = np.random.default_rng(seed)
    args = (draw.uniform(-1, 1), draw.uniform(-1, 1), draw.uniform(-1, 1, 4), draw.uniform(-1, 1, 4),
            draw.uniform(-1, 1, (2, 3)), int(draw.integers(3, 8)))
    with tempfile.TemporaryDirectory() as folder:
        program = function_of(source, pathlib.Path(folder))
        try:
            expected = check.results_of(program, args)
        except (OverflowError, ZeroDivisionError):
            assume(False)
        assume(all(np.all(np.abs(r) < 1e4) for r in expected))
        weights = check.weights_for(expected)
        results, found, derived = check.gradients(program, args, weights)
        values, slopes = over_tensors.gradients(program, args, weights)
        assert np.allclose(results, expected, rtol=1e-9, atol=1e-9), derived.source
        assert np.allclose(values, expected, rtol=1e-9, atol=1e-9)
        assume(all(np.all(np.isfinite(p)) and np.all(np.abs(p) < 1e8) for p in slopes))
        assert check.worst_error(found, slopes) < 1e-9, derived.source
        try:
            slopes = check.differences(program, args, weights, 2e-5)
            again = check.differences(program, args, weights, 7e-6)
        except OverflowError:
            return
    if all(np.all(np.isfinite(p)) and np.all(np.abs(p) < 1e5) for p in slopes) and (
            check.worst_error(slopes, again) < 1e-7):
        assert check.worst_error(found, slopes) < 1e-6, derived.source


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 99))
def test_adjoints_of_random_programs_are_those_of_tensors_and_of_differences(source, seed):
    compare(source, seed)
