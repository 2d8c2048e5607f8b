"""A text file in blocks of whole records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np

__all__ = ["BLOCK_BYTES", "Block", "blocks"]

BLOCK_BYTES = 1 << 19


class Block:
    """Whole records of a text file.

    Attributes
    ----------
    data : bytes
        UTF-8.
    line : int
        The line of the file on which it starts, counted from 1.
    regular : bool
        Whether quotes, if any, enclose whole cells and lines end in a line feed, so that all readers agree on what it
        holds.
    """

    __slots__ = ("data", "line", "regular")

    def __init__(self, data: bytes, line: int, regular: bool) -> None:
        self.data, self.line, self.regular = data, line, regular

    @property
    def lines(self) -> int:
        """Lines that end here."""
        returns = self.data.count(b"\r")
        if not returns:
            return self.data.count(b"\n")
        return self.data.count(b"\n") + returns - self.data.count(b"\r\n")


def blocks(stream: IO[bytes], delimiter: str, quote: str, size: int = BLOCK_BYTES, line: int = 1) -> Iterator[Block]:
    """The blocks of a stream, each of about `size` bytes; where quotes are not regular, all the rest is one."""
    held = b""
    while True:
        fresh = stream.read(size)
        if not fresh:
            break
        held += fresh
        end, regular = _cut(held, delimiter, quote)
        if not regular:
            yield Block(held + stream.read(), line, False)
            return
        if end:
            block = Block(held[:end], line, True)
            held = held[end:]
            yield block
            line += block.lines
    if held:
        end, regular = _cut(held + b"\n", delimiter, quote)
        yield Block(held, line, regular and end == len(held) + 1 and not held.endswith(b"\r"))


def _cut(data: bytes, delimiter: str, quote: str) -> tuple[int, bool]:
    """The end of the last whole record, and whether the records up to it are regular."""
    if b"\r" in data[:-1] and data.count(b"\r", 0, len(data) - 1) != data.count(b"\r\n"):
        return 0, False
    mark = quote.encode()
    if mark not in data:
        return data.rfind(b"\n") + 1, True
    if len(delimiter.encode()) != 1 or len(mark) != 1:
        return 0, False
    quotes = _alternating(data, delimiter, mark)
    if quotes is None:
        return 0, False
    feeds = np.flatnonzero(np.frombuffer(data, np.uint8) == 10)
    outside = feeds[np.searchsorted(quotes, feeds) % 2 == 0]
    return (int(outside[-1]) + 1 if len(outside) else 0), True


def _alternating(data: bytes, delimiter: str, mark: bytes) -> np.ndarray | None:
    """Where the quotes are, if by turns they open cells at an edge and close them at one, or stand doubled inside."""
    text = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    at = np.flatnonzero(text == mark[0])
    edges = (10, ord(delimiter), mark[0])
    opening, closing = at[::2], at[1::2]
    if not (np.isin(text[opening - 1], edges).all() and np.isin(text[closing + 1], (*edges, 13)).all()):
        return None
    doubled, resumed = text[closing + 1] == mark[0], text[opening[1:] - 1] == mark[0]
    if not np.array_equal(doubled[: len(resumed)], resumed):
        return None
    return at - 1
