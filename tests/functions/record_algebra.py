"""Record what PyTorch gives for `algebra_cases`, where it is installed.

    python -m tests.functions.record_algebra
"""

from .algebra_cases import ARRAYS, CASES
from .record_pytorch import main

if __name__ == "__main__":
    main("algebra.npz", CASES, ARRAYS)
