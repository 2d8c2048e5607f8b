"""Random programs, run in every way that tapegrad has and judged by a plain-Python tape.

`generate` draws a `Program`: lines of text over leaves, inputs, constants and buffers. The text runs on tapegrad and on
the tape of ``naive``, which shares no code with it; `ways` runs it define by run, compiled, as a training step; `judge`
says what must come out and within which errors; `shrink` makes a failing program small, and `script` prints it.

``python -m tests.fuzz --count 1000 --seed 0`` runs more of them by hand; with ``NUMBA_DISABLE_JIT=1 FUZZ_BOUNDS=1``
small ones in plain Python, where every access is checked against the bounds of what it may touch (`bounds`).
"""

import os

BOUNDS = os.environ.get("FUZZ_BOUNDS", "0") not in ("", "0")
if BOUNDS:
    from . import bounds

    bounds.install()
