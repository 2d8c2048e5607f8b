"""The page of an explanation: one HTML file that stands alone, with style, script and data inside it.

``page.html`` is the frame; the scripts are put into it in the order of ``SCRIPTS``, as one closed scope:

- ``data.js``: the explanation by node, what is known of it after each step of the two walks, numbers as text;
- ``folding.js``: the graph that is seen, with folded modules as one node each;
- ``layout.js``: its places, in layers; ``paths.js``: paths and their products;
- ``canvas.js``, ``graph.js``: the drawing; ``listing.js``, ``timeline.js``, ``panels.js``: what stands around it;
- ``page.js``: the state that they share, controls and keys.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

__all__ = ["write_page"]

SCRIPTS = ("data", "folding", "layout", "paths", "canvas", "graph", "listing", "timeline", "panels", "page")


def write_page(explanation: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """
    Writes an explanation as one self-contained HTML file, which needs no network.

    Parameters
    ----------
    explanation : dict
        What ``Explanation.to_dict()`` gives.
    path : str or path
        The file, which is replaced if it exists.

    Raises
    ------
    ValueError
        Where the dict holds NaN or an infinity as a number: JSON lacks them, they are ``"nan"``, ``"inf"``, ``"-inf"``.
    OSError
        Where the file cannot be written.

    Notes
    -----
    The page's content security policy allows its own script and style by their SHA-256, and nothing else: no name in
    the data can become code, and no browser fetches anything for it.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(_source(f"{name}.js") for name in SCRIPTS) + "\n})();\n"
    style = _source("page.css")
    page = Template(_source("page.html")).substitute(
        title=html.escape(str(explanation["title"])),
        script_hash=_hash(script), style_hash=_hash(style), style=style, script=script, data=_json(explanation),
    )
    Path(path).write_text(page, encoding="utf-8", newline="\n")


def _source(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(explanation: dict[str, Any]) -> str:
    """JSON in which no text can end the element that holds it: ``<``, ``>`` and ``&`` are escaped."""
    text = json.dumps(explanation, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
