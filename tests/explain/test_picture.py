"""The picture of an explanation, by graphviz and by the canvas."""

import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.errors import ArgumentError, MissingExtraError
from tapegrad.explain.drawing import canvas, graphviz
from tapegrad.explain.drawing.layers import Gaps, layered
from tapegrad.explain.drawing.sketch import ADJOINT, DERIVATIVE, MOST_BOXES, VALUE, sketch
from tapegrad.explain.picture import draw

rng = np.random.default_rng(0)
ENDINGS = ["svg", "pdf", "png"]
SIGNATURES = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}

by_dot = pytest.param("dot", marks=pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed"))


@pytest.fixture(params=[by_dot, "canvas"])
def way(request, monkeypatch):
    """Both ways to draw."""
    if request.param == "canvas":
        pytest.importorskip("matplotlib")
        pytest.importorskip("networkx")
        monkeypatch.setattr(graphviz.shutil, "which", lambda command: None)
    return request.param


def lecture():
    return tg.explain("(x + y) * z", x=-2, y=5, z=-4).to_dict()


def perceptron():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 3))
    x, y = rng.normal(size=(5, 6)), rng.integers(0, 3, 5)
    return tg.explain(lambda x, y: F.cross_entropy(model(x), y), x, y).to_dict()


def encoder(layers=4):
    tg.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), layers)
    return tg.explain(lambda x: model(x).sum(), rng.normal(size=(2, 3, 8))).to_dict()


def chain(x):
    for _ in range(150):
        x = tg.sin(x) * 1.1
    return x


def texts(path):
    """The texts of an SVG with their colours, in no order."""
    found = []
    for node in ET.parse(path).iter():
        if node.tag.endswith("}text"):
            style = {k.strip(): v for k, _, v in (part.partition(": ") for part in node.get("style", "").split(";"))}
            found.append(("".join(node.itertext()).strip(), node.get("fill") or style.get("fill")))
    return found


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_written(way, ending, tmp_path):
    draw(perceptron(), tmp_path / f"graph.{ending}")
    assert (tmp_path / f"graph.{ending}").read_bytes().startswith(SIGNATURES[ending])


def test_numbers_are_those_of_the_lecture_in_their_colours(way, tmp_path, monkeypatch):
    if way == "canvas":
        import matplotlib

        monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    draw(lecture(), tmp_path / "graph.svg")
    found = texts(tmp_path / "graph.svg")
    by_colour = {colour: sorted(float(text) for text, own in found if own == colour)
                 for colour in (VALUE, ADJOINT, DERIVATIVE)}
    assert by_colour[VALUE] == [-12, -4, -2, 3, 5]
    assert by_colour[ADJOINT] == [-4, -4, -4, 1, 3]
    assert by_colour[DERIVATIVE] == [-4, 1, 1, 3]
    assert {"x", "y", "z", "q = x + y", "f = q z", "(x + y) * z"} <= {text for text, _ in found}


def test_an_explanation_plots_itself(tmp_path):
    pytest.importorskip("networkx")
    tg.explain("sin(x) * x", x=2.0).plot(tmp_path / "graph.svg", unfold=True)
    assert (tmp_path / "graph.svg").stat().st_size > 1000


def test_modules_are_frames_and_their_parameters_stand_in_them():
    found = sketch(perceptron(), False)
    frames = {box.label: box.module for box in found.boxes}
    assert frames["2.0.weight"] == ("2", "2.0") and frames["x"] == () and frames["tanh"] == ("2", "2.1")
    assert found.frame("2.0") == "2.0  Linear"
    assert "cluster" in graphviz.source(found) and not found.is_scalar


def test_lines_between_the_same_boxes_are_one_with_both_derivatives():
    found = sketch(tg.explain("x * x", x=3.0).to_dict(), False)
    line, = found.lines
    assert line.label == "3 + 3"


def test_large_graphs_fold_by_module_and_unfold():
    explanation = encoder()
    folded, whole = sketch(explanation, False), sketch(explanation, True)
    assert len(whole.boxes) == len(explanation["nodes"]) > MOST_BOXES >= len(folded.boxes)
    labels = [box.label for box in folded.boxes if box.kind == "fold"]
    assert "layers.2.norm1  LayerNorm" in labels
    known = {box.key for box in folded.boxes}
    assert all(line.source in known and line.target in known for line in folded.lines)
    order = {box.key: k for k, box in enumerate(folded.boxes)}
    assert all(order[line.source] < order[line.target] for line in folded.lines)  # no circles
    deep = sketch(encoder(40), False)
    assert len(deep.boxes) <= MOST_BOXES and "layers.7  TransformerEncoderLayer" in {box.label for box in deep.boxes}


def test_a_fold_has_the_value_and_adjoint_of_its_last_instruction():
    explanation = encoder(40)
    fold = next(box for box in sketch(explanation, False).boxes if box.kind == "fold")
    node = next(node for node in explanation["nodes"] if node["id"] == fold.key)
    assert fold.value is node["value"] and fold.adjoint is node["adjoint"]
    assert "12 parameters" in fold.detail


def test_long_stretches_outside_of_modules_fold_in_the_middle(way, tmp_path):
    explanation = tg.explain(chain, 0.5).to_dict()
    found = sketch(explanation, False)
    fold, = [box for box in found.boxes if box.kind == "fold"]
    assert fold.label == "…" and fold.detail == f"{len(explanation['forward']) - 16} instructions"
    assert len(found.lines) == len(found.boxes) - 1
    draw(explanation, tmp_path / "graph.png")


def test_awkward_explanations_are_drawn(way, tmp_path, monkeypatch):
    if way == "canvas":
        import matplotlib

        monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    def f(x, unused):
        return tg.log(x - 1.0) * tg.stop_gradient(x) + (x * 0.0).sum()

    explanations = [tg.explain("x", x=1.0), tg.explain(f, np.array([1.0, 2.0, 0.5]), 3.0),
                    tg.explain(lambda x: x[1:] - x[:-1], np.arange(20.0)),
                    tg.explain(lambda x: tg.where(x > 0, x, -x).sum(), np.array([[1.0, -1.0]])),
                    tg.explain(tg.exp, 1e4)]
    for k, explanation in enumerate(explanations):
        found = explanation.to_dict()
        draw({**found, "title": "<b> & \"x\" $1$"}, tmp_path / f"{k}.svg")
        assert "<b> & \"x\" $1$" in {text for text, _ in texts(tmp_path / f"{k}.svg")}


def test_boxes_do_not_overlap_and_frames_stay_together():
    pytest.importorskip("networkx")
    for explanation in (perceptron(), encoder(2)):
        found = sketch(explanation, True)
        sizes = {box.key: (40.0, 10.0 * len(box.label) + 30.0) for box in found.boxes}
        layout = layered(sizes, [(line.source, line.target) for line in found.lines],
                         {box.key: box.module for box in found.boxes}, found.below(), Gaps(30.0, 18.0, 9.0, 23.0))
        places = layout.places
        for a in places:
            for b in places:
                apart = [abs(places[a][k] - places[b][k]) >= 0.5 * (sizes[a][k] + sizes[b][k]) - 1e-6 for k in (0, 1)]
                assert a == b or any(apart)
        assert all(places[line.source][0] < places[line.target][0] for line in found.lines)
        assert all(0.5 * sizes[k][1] - 1e-6 <= at[1] <= layout.across - 0.5 * sizes[k][1] + 1e-6
                   for k, at in places.items())


def test_bad_names_and_missing_libraries_are_said(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="must end in .svg, .pdf or .png"):
        draw(lecture(), tmp_path / "graph.doc")
    monkeypatch.setattr(graphviz.shutil, "which", lambda command: None)
    monkeypatch.setitem(__import__("sys").modules, "networkx", None)
    with pytest.raises(MissingExtraError, match="graphviz .*viz"):
        draw(lecture(), tmp_path / "graph.svg")


def test_where_dot_fails_the_canvas_draws(tmp_path, monkeypatch):
    pytest.importorskip("networkx")
    drawn = []
    monkeypatch.setattr(graphviz.shutil, "which", lambda command: "/bin/false")
    monkeypatch.setattr(canvas, "draw", lambda found, path: drawn.append(found))
    draw(lecture(), tmp_path / "graph.svg")
    assert len(drawn) == 1
