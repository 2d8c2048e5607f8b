"""The page of an explanation as a person uses it: in a browser, by mouse and by keyboard."""

import statistics

import numpy as np
import pytest

import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.explain import explain
from tapegrad.explain.page import write_page

from . import samples

pytestmark = pytest.mark.browser


class Page:
    """An open page, with what the tests read from it."""

    def __init__(self, tab):
        self.tab = tab

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)
        self.drawn()

    def drawn(self):
        self.tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, name):
        self.tab.mouse.click(*self.place(name))
        self.drawn()

    def place(self, name):
        return self.tab.evaluate("(name) => explain.placeOf(name)", name)

    def hover(self, name):
        self.tab.mouse.move(*self.place(name))
        self.drawn()

    def go(self, step):
        self.tab.evaluate("(step) => explain.goTo(step)", step)
        self.drawn()

    @property
    def state(self):
        return self.tab.evaluate("() => explain.state")

    @property
    def last(self):
        return self.tab.evaluate("() => explain.lastStep")

    def text(self, place):
        return self.tab.locator(place).inner_text()

    def rows(self, kind=""):
        """The listing's lines as {node: (value, formula, local derivatives, adjoint)}."""
        rows = self.tab.evaluate(
            """(kind) => [...document.querySelectorAll(`#lines .line${kind}:not([hidden])`)]
              .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
              .map((row) => [...row.children].map((cell) => cell.textContent))""",
            kind)
        return {name: tuple(rest) for _, name, *rest in rows}

    def pixels(self, name, dy=0):
        """The colours that are drawn around a node, dy pixels of the graph below its middle."""
        return self.tab.evaluate(
            """([name, dy]) => {
              const canvas = document.getElementById("nodes"), box = canvas.getBoundingClientRect();
              const [x, y] = explain.placeOf(name);
              const all = canvas.getContext("2d").getImageData(x - box.left - 25, y - box.top + dy - 6, 50, 12).data;
              const found = new Set();
              for (let i = 0; i < all.length; i += 4) {
                if (all[i + 3] > 200) found.add(`${all[i]},${all[i + 1]},${all[i + 2]}`);
              }
              return [...found];
            }""", [name, dy])


@pytest.fixture
def opened(chromium, tmp_path):
    """A function that writes the page of an explanation and opens it."""
    contexts = []

    def open_page(explanation, width=1280, height=800, scheme="light"):
        path = tmp_path / f"{len(contexts)}.html"
        write_page(explanation, path)
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.errors = []
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.on("console", lambda said: tab.errors.append(said.text) if said.type == "error" else None)
        tab.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or tab.errors.append(asked.url))
        tab.goto(path.as_uri())
        return Page(tab)

    yield open_page
    for context in contexts:
        for tab in context.pages:
            assert tab.errors == []
        context.close()


# -------------------------------------------------------------- stepping


def test_forward_to_the_end_fills_in_values_one_by_one(opened):
    page = opened(samples.lecture())
    assert [value for value, *_ in page.rows().values()] == ["-2", "5", "-4", "", ""]
    page.press("ArrowRight")
    assert page.rows()["q"][0] == "3" and page.rows()["f"][0] == ""
    assert "Forward 1 of 2" in page.text("#now") and "q = x + y" in page.text("#now")
    assert "q = -2 + 5 = 3" in page.text("#now")
    page.press("ArrowRight")
    assert page.rows()["f"][0] == "-12"
    assert [adjoint for *_, adjoint in page.rows().values()] == [""] * 5
    page.press("ArrowRight")
    assert page.rows()["f"][3] == "1"
    page.press("ArrowRight", "ArrowRight")
    assert page.state["step"] == page.last == 5
    assert [adjoint for *_, adjoint in page.rows().values()] == ["-4", "-4", "3", "-4", "1"]
    assert page.rows()["f"][2] == "\u2202f/\u2202q = -4, \u2202f/\u2202z = 3"
    page.press("ArrowRight")
    assert page.state["step"] == 5


def test_back_takes_values_and_adjoints_away_again(opened):
    page = opened(samples.lecture())
    page.press("End")
    page.press("ArrowLeft")
    assert [adjoint for *_, adjoint in page.rows().values()] == ["", "", "3", "-4", "1"]
    page.press("Home")
    assert [value for value, *_ in page.rows().values()] == ["-2", "5", "-4", "", ""]
    assert [adjoint for *_, adjoint in page.rows().values()] == [""] * 5


def test_contributions_add_up_in_the_reverse_walk(opened):
    page = opened(samples.two_paths())
    page.go(6)  # d = b + 1
    assert page.rows()["b"][3] == "3 \u2026"
    page.go(7)  # c = a + b
    assert page.rows()["b"][3] == "5"
    assert "2 * 1 = 2" in page.text(".contributions") and "3 + 2 = 5" in page.text(".contributions")


def test_slider_and_timeline_keep_step(opened):
    page = opened(samples.lecture())
    slider = page.tab.locator("#slider")
    slider.fill("2")
    page.drawn()
    assert page.state["step"] == 2 and page.text("#place") == "2 / 5"
    assert page.text("#live-bytes") == "16 B live, peak 24 B (step 4)"
    box = page.tab.locator("#memory").bounding_box()
    page.tab.mouse.click(box["x"] + box["width"] - 9, box["y"] + 10)
    page.drawn()
    assert page.state["step"] == 5 and slider.input_value() == "5"
    assert page.tab.locator("#slider").get_attribute("aria-valuetext").startswith("Step 5 of 5, Reverse 2 of 2")


def test_play_walks_to_the_end_and_stops(opened):
    page = opened(samples.lecture())
    page.tab.locator("#play").click()
    assert page.text("#play") == "Pause"
    for _ in range(100):
        page.tab.wait_for_timeout(200)
        if page.text("#play") == "Play":
            break
    assert page.state["step"] == page.last and page.text("#play") == "Play"


def test_values_stand_above_and_adjoints_below_in_two_colours(opened):
    page = opened(samples.lecture())
    page.go(2)
    scale = 1.6
    assert "10,95,180" in page.pixels("q", -30 * scale) and "180,64,10" not in page.pixels("q", 31 * scale)
    page.press("End")
    assert "180,64,10" in page.pixels("q", 31 * scale) and "10,95,180" not in page.pixels("q", 31 * scale)


# -------------------------------------------------------------- pointing and picking


def test_pointing_at_a_node_lights_its_inputs_its_line_and_the_source(opened):
    page = opened(samples.lecture())
    page.press("End")
    page.hover("f")
    assert list(page.rows(".lit")) == ["f"] and list(page.rows(".input")) == ["z", "q"]
    assert page.text("#source .lit code") == "f = q * z"
    assert "f = 3 * -4 = -12" in page.text("#card")
    page.tab.mouse.move(700, 790)
    page.drawn()
    assert page.rows(".lit") == {} and page.tab.locator("#card").is_hidden()


def test_two_clicks_show_each_path_and_the_sum(opened):
    page = opened(samples.two_paths())
    page.click("b")
    assert "From b" in page.text("#path")
    page.click("e")
    assert "b \u2192 e: 2 paths" in page.text("#path")
    assert page.tab.locator("#path li").all_inner_texts() == [
        "b \u2192 c \u2192 e 1 \u00b7 2 = 2", "b \u2192 d \u2192 e 1 \u00b7 3 = 3"]
    assert "\u2202e/\u2202b = 2 + 3 = 5" in page.text("#path") and "Equal to the adjoint" in page.text("#path")
    page.press("Escape")
    assert page.tab.locator("#path").is_hidden() and page.state["picks"] == []


def test_clicks_in_any_order_and_without_a_path(opened):
    page = opened(samples.two_paths())
    page.click("e")
    page.click("a")
    assert "a \u2192 e: 1 path" in page.text("#path")
    page.click("c")
    page.click("d")
    assert "no path" in page.text("#path")


def test_paths_too_many_to_list_are_counted_and_summed(opened):
    r = samples.Recorder("doubling")
    x = r.leaf("x", 1)
    for i in range(70):
        x = r.scalar("add", x, x, f"y{i} = x + x")
    page = opened(r.explanation(x))
    page.press("ArrowDown", "Enter")  # x, the first line
    for _ in range(70):
        page.tab.keyboard.press("ArrowDown")
    page.press("Enter")
    assert f"x \u2192 y69: {2**70} paths" in page.text("#path")
    assert "Too many to list" in page.text("#path") and "\u2202y69/\u2202x = 1.181e+21" in page.text("#path")


def test_a_path_through_tensors_shows_jacobians_and_their_shapes(opened):
    page = opened(samples.network(1))
    page.click("x")
    page.click("loss")
    line = page.text("#path li")
    assert line.startswith("x \u2192 %3 \u2192 %4 \u2192 loss") and line.endswith("J\u00a0128\u00d7128")


# -------------------------------------------------------------- modules


def test_a_module_folds_into_one_node_and_unfolds(opened):
    page = opened(samples.network())
    before = page.state["shown"]
    page.tab.locator("#modules summary").click()
    page.tab.locator("[data-module='layers.0']").click()
    page.drawn()
    assert page.state["folded"] == ["layers.0"] and page.state["shown"] == before - 2
    assert page.tab.locator("[data-module='layers.0']").get_attribute("aria-expanded") == "false"
    assert page.rows()["layers.0"][1] == "Linear, 1 op" and "layers.0.weight" not in page.rows()
    page.press("Escape", "End")
    assert page.rows()["layers.0"][0].startswith("\u2016\u00b7\u2016")  # the value of its output
    page.tab.locator("#modules summary").click()
    page.tab.locator("#fold-all").click()
    page.drawn()
    assert list(page.rows()) == ["x", "layers", "target", "loss"]
    page.tab.locator("#unfold-all").click()
    page.drawn()
    assert page.state["shown"] == before and page.state["folded"] == []


def test_a_parameter_without_a_module_folds_with_that_of_its_name(opened):
    explanation = samples.network()
    for node in explanation["nodes"]:
        if node["kind"] == "parameter":
            node["module"] = ""
    page = opened(explanation)
    page.tab.evaluate("() => explain.fold('layers.2')")
    page.drawn()
    assert "layers.2" in page.rows() and "layers.2.weight" not in page.rows() and "layers.0.weight" in page.rows()


def test_a_module_that_is_called_twice_folds(opened):
    r = samples.Recorder("shared")
    r.kinds["cell"] = "Cell"
    x = r.leaf("x", 0.5)
    for i in range(2):
        r.module = "cell"
        x = r.unary("tanh", x, f"h{i} = tanh(x)")
        r.module = ""
        x = r.scalar("add", x, x, f"s{i} = h + h")
    page = opened(r.explanation(x))
    page.tab.evaluate("() => explain.fold('cell')")
    page.press("End")
    assert set(page.rows()) == {"x", "cell", "s0", "s1"} and page.rows()["x"][3]


# -------------------------------------------------------------- keyboard, screen readers, colours


def test_all_works_by_keyboard_alone(opened):
    page = opened(samples.network())
    reached = set()
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        reached.add(page.tab.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
    controls = page.tab.evaluate(
        "() => [...document.querySelectorAll('header button, footer button, input, canvas[tabindex]')]"
        ".filter((each) => !each.closest('details') && each.checkVisibility()).map(({ id }) => id)")
    assert set(controls) <= reached and {"SUMMARY", "table"} <= reached

    page.press("End", "Home", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert page.state["step"] == 1
    page.tab.locator("#nodes").focus()
    page.press("ArrowDown", "Enter")  # x, the first line
    assert page.state["picks"] == ["x"]
    page.press("ArrowDown", "ArrowDown", "ArrowDown", "Enter")
    assert page.state["picks"] == ["x", "%3"] and "1 path" in page.text("#path")
    page.press("Escape", "ArrowDown", "ArrowDown", "f")
    assert page.state["folded"] == ["layers.0"]
    page.press("f")
    assert page.state["folded"] == []


def test_a_screen_reader_hears_each_step(opened):
    page = opened(samples.lecture())
    live = page.tab.locator("[aria-live=polite]")
    page.press("ArrowRight")
    assert live.inner_text() == "Step 1 of 5, Forward 1 of 2: q = x + y. q = -2 + 5 = 3."
    page.press("End")
    assert live.inner_text() == ("Step 5 of 5, Reverse 2 of 2: q = x + y. g = -4. "
                                 "\u2202f/\u2202x receives -4 * 1 = -4; \u2202f/\u2202y receives -4 * 1 = -4.")
    page.press("ArrowDown")
    assert live.inner_text() == "x: input, value -2, adjoint -4"
    table = page.tab.locator("#table")
    assert table.get_attribute("aria-rowcount") == "6"
    active = page.tab.locator(f"#{table.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-selected") == "true" and "x" in active.inner_text()
    unnamed = page.tab.evaluate(
        "() => [...document.querySelectorAll('button, input, [role=grid], canvas[tabindex], section')]"
        ".filter((each) => !each.textContent.trim() && !each.getAttribute('aria-label')).map((each) => each.outerHTML)")
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_toggle(opened, scheme):
    page = opened(samples.lecture(), scheme=scheme)
    back = "() => getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    page.press("ArrowRight")
    assert page.tab.evaluate(back) == {"light": light, "dark": dark}[scheme]
    assert {"light": "10,95,180", "dark": "116,183,255"}[scheme] in page.pixels("x", -30 * 1.6)
    page.tab.locator("#theme").click()
    page.drawn()
    assert page.tab.evaluate(back) == {"light": dark, "dark": light}[scheme]
    assert {"light": "116,183,255", "dark": "10,95,180"}[scheme] in page.pixels("x", -30 * 1.6)
    assert page.tab.locator("#theme").get_attribute("aria-pressed") == {"light": "true", "dark": "false"}[scheme]


def test_a_narrow_window_has_no_sideways_scroll(opened):
    page = opened(samples.network(), width=360, height=640)
    page.press("End")
    assert page.tab.evaluate("() => document.documentElement.scrollWidth") == 360
    for place in ("#graph", "#now", "#listing", "#slider", "#memory"):
        box = page.tab.locator(place).bounding_box()
        assert box["height"] >= 20 and box["x"] >= 0 and box["x"] + box["width"] <= 360


def test_nan_is_shown_and_marked(opened):
    explanation = samples.lecture()
    explanation["nodes"][4]["value"] = samples.quantity(float("nan"))
    page = opened(explanation)
    page.go(2)
    assert page.rows(".bad")["f"][0] == "nan"


def test_a_walk_without_reverse_ends_with_the_output(opened):
    explanation = samples.lecture()
    explanation["reverse"], explanation["memory"] = [], []
    for node in explanation["nodes"]:
        node["adjoint"] = None
    for edge in explanation["edges"]:
        edge["wanted"], edge["contribution"], edge["numbers"] = False, None, None
    page = opened(explanation)
    page.press("End")
    assert page.last == 2 and page.rows()["f"][0] == "-12" and page.text("#live-bytes") == ""


def test_what_explain_gives_opens_as_a_page(opened):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    explanation = explain(lambda x: F.cross_entropy(model(x), y), x).to_dict()
    page = opened(explanation, 1280, 1400)
    names = [node["name"] for node in explanation["nodes"]]
    assert {"0.weight", "2.bias"} < set(names) and list(page.rows()) == names
    page.press("End")
    rows = page.rows()
    assert all(rows[node["name"]][0] for node in explanation["nodes"])
    assert {name for name in names if rows[name][3]} == {n["name"] for n in explanation["nodes"] if n["adjoint"]}
    assert "cross_entropy" in page.text("#source") and page.text("#live-bytes")
    page.tab.evaluate("() => explain.fold('0')")
    page.drawn()
    assert "0" in page.rows() and "0.weight" not in page.rows()


def test_a_single_node_is_a_page_too(opened):
    r = samples.Recorder("x")
    page = opened(r.explanation(r.leaf("x", 3)))
    page.press("End")
    assert page.last == 1 and page.rows() == {"x": ("3", "input", "", "1")}


def test_markup_in_names_is_text(opened):
    explanation = samples.lecture()
    explanation["title"] = explanation["nodes"][0]["name"] = "</script><img src=x onerror=alert(1)>"
    page = opened(explanation)
    page.press("End", "ArrowDown")
    assert page.text("h1") == explanation["title"] and page.rows()[explanation["title"]][0] == "-2"
    assert page.tab.locator("img").count() == 0


# -------------------------------------------------------------- 2,000 nodes


def test_two_thousand_nodes_are_drawn_within_two_seconds_and_step_within_16_ms(opened):
    explanation = samples.neurons()
    assert len(explanation["nodes"]) >= 2000
    for node in explanation["nodes"]:
        node["module"] = ""  # nothing to fold: all nodes are seen
    explanation["modules"] = []
    page = opened(explanation, 1400, 900)
    assert page.state["shown"] == len(explanation["nodes"])
    first = page.tab.evaluate(
        "() => ['first-contentful-paint', 'drawn'].map((name) => performance.getEntriesByName(name)[0].startTime)")
    assert max(first) <= 2000

    # reading a pixel waits until all is drawn
    time_steps = """async () => {
      const pens = ["edges", "nodes", "memory"].map((id) => document.getElementById(id).getContext("2d"));
      const times = [];
      for (let step = explain.seedStep - 100; step < explain.seedStep + 100; step++) {
        const start = performance.now();
        explain.goTo(step);
        explain.render();
        document.body.offsetHeight;
        for (const pen of pens) pen.getImageData(0, 0, 1, 1);
        times.push(performance.now() - start);
        if (step % 20 === 0) await new Promise(requestAnimationFrame);
      }
      return times;
    }"""
    for look in ("#zoom-in", "#fit"):  # near, and the whole graph at once
        page.tab.locator(look).click()
        page.drawn()
        assert statistics.median(page.tab.evaluate(time_steps)) <= 16
    page.press("End")
    assert page.state["step"] == page.last


def test_a_large_graph_opens_with_its_modules_folded(opened):
    page = opened(samples.neurons())
    assert page.state["shown"] < 20
    page.go(page.last)
    assert page.rows()["layer4"][3] == "1"
