"""The page of an explanation as a file: it stands alone, holds all the data, and no text in it becomes code."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from tapegrad.explain.page import write_page

from . import samples


class Parts(HTMLParser):
    """Elements with their attributes, and the text inside each script, style and title."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.inside = [], [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag in ("script", "style", "title")
        if self.inside:
            self.texts.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1][2].append(data)

    def text(self, tag, **attributes):
        [parts] = [p for name, found, p in self.texts if name == tag and attributes.items() <= found.items()]
        return "".join(parts)


def written(explanation, tmp_path):
    path = tmp_path / "page.html"
    write_page(explanation, path)
    return path.read_text(encoding="utf-8")


HOSTILE = '</script><script>alert("x & y")</script><!-- <img src=x onerror=alert(1)> \u2028 ${script} $data'


def test_all_data_are_in_the_page(tmp_path):
    page = written(samples.network(), tmp_path)
    assert json.loads(Parts(page).text("script", id="explanation")) == samples.network()


@pytest.mark.parametrize("sample", [samples.lecture, samples.network])
def test_a_page_reads_nothing_from_elsewhere(sample, tmp_path):
    page = written(sample(), tmp_path)
    for tag, attributes in Parts(page).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "data:,").startswith("data:"), (tag, attributes)
    addresses = set(re.findall(r"\b(?:https?|wss?|ftp|file)://[^\s\"'`)]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG's elements, which is not fetched
    for call in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "@import", "url(", "sendBeacon", "eval(",
                 "innerHTML"):
        assert call not in page


def test_the_policy_allows_the_pages_own_script_and_style_alone(tmp_path):
    parts = Parts(written(samples.lecture(), tmp_path))
    [policy] = [a["content"] for tag, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    [script] = ["".join(text) for tag, attributes, text in parts.texts if tag == "script" and "type" not in attributes]
    for rule, text in (("script-src", script), ("style-src", parts.text("style"))):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_no_text_of_the_data_becomes_markup(tmp_path):
    explanation = samples.lecture()
    plain = [tag for tag, _ in Parts(written(explanation, tmp_path)).elements]
    explanation["title"] = explanation["nodes"][0]["name"] = explanation["nodes"][3]["where"]["code"] = HOSTILE
    page = written(explanation, tmp_path)
    parts = Parts(page)
    assert [tag for tag, _ in parts.elements] == plain
    assert json.loads(parts.text("script", id="explanation")) == explanation
    assert "\u2028" not in parts.text("script", id="explanation")


def test_what_json_lacks_is_refused(tmp_path):
    explanation = samples.lecture()
    explanation["nodes"][0]["value"]["number"] = float("nan")
    with pytest.raises(ValueError):
        write_page(explanation, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_file_is_replaced(tmp_path):
    (tmp_path / "page.html").write_text("x" * 10**6)
    page = written(samples.two_paths(), tmp_path)
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")
