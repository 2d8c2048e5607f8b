"""What a recording's memory is used for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of a recorded step, by purpose.

    Attributes
    ----------
    parameter_bytes, gradient_bytes, optimizer_bytes : int
        Parameters (frozen ones too), the gradients of the trained ones, and optimiser state.
    activation_bytes : int
        Values that the reverse walk reads.
    temporary_bytes : int
        Other values, and adjoints.
    data_bytes : int
        The batch.
    peak_bytes : int
        All of it at its greatest.
    lower_bound_bytes : int
        The least that any placement of the same step could do with.
    """

    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    temporary_bytes: int
    data_bytes: int
    peak_bytes: int
    lower_bound_bytes: int

    def __str__(self) -> str:
        rows = [(name.removesuffix("_bytes").replace("_", " "), f"{value:,}") for name, value in asdict(self).items()]
        widths = [max(len(row[c]) for row in rows) for c in (0, 1)]
        return "\n".join(f"{name.ljust(widths[0])}  {value.rjust(widths[1])} bytes" for name, value in rows)

    def to_json(self) -> str:
        """The report as a JSON object.

        >>> MemoryReport(1, 2, 3, 4, 5, 6, 21, 20).to_json()[:22]
        '{"parameter_bytes": 1,'
        """
        return json.dumps(asdict(self))
