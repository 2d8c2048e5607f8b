"""Workspaces that the ops of a recording share."""

from __future__ import annotations

from typing import Any

from .table import Op


def scratch_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Memory that its users write before they read it."""
    return 0


SCRATCH = Op("scratch", scratch_forward, doc="working memory that ops share")
