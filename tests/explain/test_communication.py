"""The timeline of gradients between ranks, as a table and as a picture."""

import re

import pytest

from tapegrad.program.ranks.schedule import Network, Sent
from tapegrad.program.running.communication import Communication, SentBucket


def _report():
    return Communication(4, "bfloat16", (
        SentBucket(("2.weight", "2.bias"), 5_000_000, Sent(2e-3, 2.1e-3, 6e-3), 3e-3, 8e-3),
        SentBucket(("0.weight", "0.bias", "a", "b", "c"), 1_000, Sent(5e-3, 6e-3, 7e-3), 5.5e-3, 8.5e-3)),
        ("table.weight",), Network(5e-5, 1.25e9, 0.9, 3e-6), 5e-3, 7e-3, 9.5e-3, 5.25e-3, 9e-3)


def test_table_tells_plan_and_last_step_in_microseconds():
    text = str(_report())
    assert text.startswith("5,001,000 bytes of gradients a step (bfloat16), summed over 4 ranks in 2 buckets\n"
                           "measured by rank 0: 50.0 us and 1.25 GB/s for a sum, of which 90 % passes")
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert ["0", "5,000,000", "2,000", "2,100", "6,000", "3,000", "8,000", "2.weight, 2.bias"] in rows
    assert ["1", "1,000", "5,000", "6,000", "7,000", "5,500", "8,500", "0.weight, 0.bias, a and 2 more"] in rows
    assert "the walk ends at 5,000, all sums at 7,000; in one bucket they would at 9,500" in text
    assert "the walk ended at 5,250, all sums at 9,000\nby rows, after the walk: table.weight" in text


def test_picture_names_buckets_and_shows_both_timelines(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    path = tmp_path / "sent.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        _report().plot(path)
    text = path.read_text()
    for words in ("planned", "in the last step, measured", "2.weight and 1 more (5,000.0 kB)",
                  "0.weight and 4 more (1.0 kB)", "5,001,000 bytes (bfloat16) in 2 buckets"):
        assert words in text
