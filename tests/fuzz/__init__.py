"""Random programs, run in every way that tapegrad has and judged by a plain-Python tape.

`generate` draws a `Program`: lines of text over leaves, inputs, constants and buffers. The text runs on tapegrad and on
the tape of ``naive``, which shares no code with it; `ways` runs it define by run, compiled, as a training step; `judge`
says what must come out and within which errors; `shrink` makes a failing program small, and `script` prints it.

``python -m tests.fuzz --count 1000 --seed 0`` runs more of them by hand.
"""
