"""``tapegrad explain``."""

import json

import pytest

from .commands import FAST, FLOWER, run, succeed


def test_the_table_of_the_lectures_first_graph():
    assert succeed("explain", "(x + y) * z", "x=-2", "y=5", "z=-4") == """\
#  node       value  formula    local derivatives       adjoint df/d.
0  x             -2  input                                         -4
1  y              5  input                                         -4
2  z             -4  input                                          3
3  q = x + y      3  q = x + y  dq/dx = 1   dq/dy = 1              -4
4  f = q * z    -12  f = q z    df/dq = -4   df/dz = 3              1
"""


def test_paths_with_their_products_and_their_sum():
    text = succeed("explain", "(a + b) * (b + 1)", "a=2", "b=1", "--paths", "b")
    assert text.splitlines()[-3:] == ["b -> c -> e:  de/dc dc/db = 2 * 1 = 2",
                                      "b -> d -> e:  de/dd dd/db = 3 * 1 = 3", "de/db = 2*1 + 3*1 = 5"]


def test_vectors_matrices_and_signs():
    text = succeed("explain", "sum(W @ x) + c", "W=[[1,2],[3,4]]", "x=1,-1", "c=-inf")
    assert "[1, -1]" in text and "-inf" in text


@pytest.mark.parametrize("number", range(1, 10))
def test_each_lecture(number):
    text = succeed("explain", "--lecture", number)
    assert text.startswith(f"{number}. ") and "adjoint d" in text
    assert json.loads(succeed("explain", "--lecture", number, "--json"))["title"].startswith(f"{number}. ")
    assert r"\begin{align*}" in succeed("explain", "--lecture", number, "--latex")


def test_a_row_of_a_file_is_explained_layer_by_layer(flower_file):
    text = succeed("explain", flower_file, *FLOWER, *FAST, "--sample", 3, "--errors", "--stored")
    assert text.startswith("row 3 of kind")
    assert "0.weight" in text and "2.bias" in text and "cross_entropy(output)" in text
    assert "|adjoint|" in text and "bytes in all" in text


def test_a_value_that_is_not_finite_is_told():
    text = succeed("explain", "log(x)", "x=0")
    assert "-inf" in text and "note: the first infinity is a value of instruction f = log(x)" in text


@pytest.mark.parametrize("arguments, message", [
    (("x +", "x=1"), "tapegrad: not an expression: invalid syntax\nx +\n   ^\n"),
    (("x * qux(x)", "x=1"), "tapegrad: there is no function qux\nx * qux(x)\n    ^\n"),
    (("x @ y", "x=1,2", "y=1,2,3"), "tapegrad: shapes [2] and [3] do not fit: 2 columns and 3 rows\nx @ y\n  ^\n"),
    (("x + y", "x=1"), "tapegrad: no value is given for y\nx + y\n    ^\n"),
    (("x", "x=1", "y=2"), "tapegrad: the expression has no variable y; it has x\n"),
    (("x", "x=1", "x=2"), "tapegrad: x is given twice\n"),
    (("x", "x"), "tapegrad: 'x': a value is given as NAME=VALUE, such as x=2 or w=1,2\n"),
    (("x", "x=one"), "tapegrad: 'x=one': the value is to be a number, or numbers: x=2, w=1,2, W=[[1,2],[3,4]]\n"),
    (("x", "x=__import__('os')"), "tapegrad: \"x=__import__('os')\": the value is to be a number, or numbers: "
                                  "x=2, w=1,2, W=[[1,2],[3,4]]\n"),
    (("x * x", "x=2", "--paths", "z"), "tapegrad: no node is named 'z'; there are x, f\n"),
    (("--lecture", "10"), "tapegrad: there are lectures 1 to 9, not 10\n"),
    (("x", "x=1", "--lecture", "1"), "tapegrad: --lecture stands alone, without an expression or a file\n"),
    (("nowhere.csv", "--target", "y"), "tapegrad: nowhere.csv: No such file or directory\n"),
])
def test_bad_input_is_one_line_and_the_place(arguments, message):
    result = run("explain", *arguments)
    assert (result.exit_code, result.stderr) == (2, message)


def test_without_anything_the_way_is_told():
    result = run("explain")
    assert result.exit_code == 2 and "--lecture 1" in result.stderr


def test_a_row_that_is_not_there(flower_file):
    result = run("explain", flower_file, *FLOWER, *FAST, "--sample", 10**6)
    assert result.exit_code == 2 and "--sample 1000000: there are" in result.stderr
    assert run("explain", flower_file, "x=1", *FLOWER).exit_code == 2
