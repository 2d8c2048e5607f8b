"""``python -m tests.fuzz --count 100000 --seed 0``: random programs by hand."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from fuzz.campaign import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
