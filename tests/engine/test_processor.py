"""The processor that code is made for, and what changes with it."""

import os
import re
import subprocess
import sys

import pytest

from tapegrad.engine import processor
from tapegrad.engine.cache import cache_folder

WITHOUT = re.sub(r"\+((avx512|avx10|evex512)[^,]*)", r"-\1", processor.FEATURES)  # with vectors of 32 bytes at most
TELL = ("from tapegrad.engine import cache, processor; from tapegrad.engine.tiles import tile; "
        "print(processor.NAME, processor.VECTOR, tile.ROWS, cache.cache_folder().name, sep='\\n')")


def told(**variables):
    result = subprocess.run([sys.executable, "-c", TELL], env={**os.environ, **variables}, text=True, check=True,
                            capture_output=True)
    return result.stdout.split("\n")[:4]


def test_numbas_variables_name_another_processor():
    assert told(NUMBA_CPU_NAME="generic")[:3] == ["generic", "32", "6"]
    assert told(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx,+avx2,+fma")[:3] == ["haswell", "32", "6"]
    assert told(NUMBA_CPU_NAME="znver4", NUMBA_CPU_FEATURES="+avx2,+avx512f")[:3] == ["znver4", "64", "8"]


def test_each_processor_has_a_folder_of_its_own():
    folders = [told(**variables)[3] for variables in (
        {}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_NAME": "haswell"}, {"NUMBA_CPU_FEATURES": "+sse2"})]
    assert len(set(folders)) == 4 and folders[0] == cache_folder().name


@pytest.mark.compiled
@pytest.mark.machine
def test_products_and_convolutions_are_right_with_vectors_of_32_bytes(tmp_path):
    here = os.path.dirname(os.path.dirname(__file__))
    files = ["engine/tiles/test_tile.py", "engine/products/test_product.py", "ops/test_convolution.py"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not (slow or grid or machine)",
         *[os.path.join(here, file) for file in files]],
        env={**os.environ, "NUMBA_CPU_FEATURES": WITHOUT, "TAPEGRAD_CACHE_DIR": str(tmp_path)}, text=True,
        capture_output=True)
    assert result.returncode == 0, result.stdout[-3000:]
