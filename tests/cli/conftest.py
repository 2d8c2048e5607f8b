"""Fixtures of the command line's tests, which are passed over where its libraries are not installed."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

if any(find_spec(library) is None for library in ("typer", "safetensors")):
    collect_ignore_glob = ["test_*.py"]
else:
    from .commands import FLOWER, flowers, succeed


@pytest.fixture
def flower_file(file):
    return file(flowers(), "flowers.csv")


@pytest.fixture(scope="module")
def flower_model(tmp_path_factory):
    """A model trained on flowers, the file of its training, and what training printed as JSON."""
    folder = tmp_path_factory.mktemp("flowers")
    (folder / "flowers.csv").write_text(flowers())
    model = folder / "model.safetensors"
    text = succeed("train", folder / "flowers.csv", *FLOWER, "--save", model, "--json")
    return model, folder / "flowers.csv", json.loads(text)
