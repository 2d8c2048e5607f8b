"""Random small programs against differences."""

import pathlib
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check
from random_programs import function_of, programs

pytestmark = pytest.mark.compiled


def compare(source, seed):
    """Compare with differences where these are to be trusted: where two steps agree, no branch is near."""
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
        try:
            slopes = check.differences(program, args, weights, 2e-5)
            again = check.differences(program, args, weights, 7e-6)
        except OverflowError:
            assume(False)
        assume(all(np.all(np.isfinite(p)) and np.all(np.abs(p) < 1e5) for p in slopes))
        assume(check.worst_error(slopes, again) < 1e-7)
        results, found, derived = check.gradients(program, args, weights)
    assert np.allclose(results, expected, rtol=1e-9, atol=1e-9), derived.source
    assert check.worst_error(found, slopes) < 1e-6, derived.source


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 99))
def test_adjoints_of_random_programs_are_those_of_differences(source, seed):
    compare(source, seed)
