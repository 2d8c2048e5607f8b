"""What the command line says of bad input."""

from __future__ import annotations

import numpy as np
import pytest

from .commands import FLOWER, refuse


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--hidden", "a,b", "'a,b' is not a list of layer sizes"),
            ("--hidden", "64,0", "'64,0' is not"),
            ("--hidden", "", "'' is not"),
            ("--lr", "-1", "'-1' is not a positive number"),
            ("--lr", "0", "'0' is not a positive number"),
            ("--lr", "nan", "'nan' is not a positive number"),
            ("--lr", "fast", "'fast' is not a positive number"),
            ("--epochs", "0", "'0' is not a whole number of at least 1"),
            ("--epochs", "1.5", "'1.5' is not a whole"),
            ("--batch-size", "0", "'0' is not a whole"),
            ("--weight-decay", "-0.1", "'-0.1' is not zero or a positive number"),
            ("--dropout", "1", "'1' is not at least 0 and below 1"),
            ("--val-fraction", "1.5", "'1.5' is not at least 0 and below 1"),
            ("--activation", "foo", "'foo' is none of relu, leaky_relu"),
            ("--optimizer", "foo", "'foo' is none of adam, adamw"),
            ("--dtype", "int8", "'int8' is none of float32, float64"),
            ("--task", "foo", "'foo' is none of auto, classification, regression"),
            ("--missing", "foo", "'foo' is none of error, mean, drop"),
            ("--seed", "-1", "'-1' is not a whole number of at least 0"),
            ("--delimiter", "ab", "'ab' is not one character"),
            ("--decimal", "x", "'x' is none of"),
        ],
    )
    def test_bad_option_value_is_named(self, flower_file, option, value, words):
        text = refuse("train", flower_file, "--target", "kind", option, value)
        assert option in text and words in text

    @pytest.mark.parametrize(
        ("content", "options", "words"),
        [
            ("", (), "the file is empty"),
            ("a,y\n", (), "a header and no rows"),
            ("a,y\n1,2\n3\n", (), "row 2 (line 3) has 1 cells, the header has 2"),
            ("a,y\n1,2\n3,4,5\n", (), "row 2 (line 3) has 3 cells, the header has 2"),
            ("a,a,y\n1,2,3\n", (), "columns 1 and 2 are both called 'a'"),
            ("a,y\n1,2\nx,4\n5,6\n", (), "row 2 (line 3), column 'a': 'x' is not a number"),
            ("a,y\n1,2\n,4\n5,6\n", (), "row 2 (line 3), column 'a': the value is missing"),
            ("a,y\n1,2.5\n2,\n5,6\n", (), "row 2 (line 3), column 'y': the target is missing"),
            ("a,y\n1,2\ninf,4\n5,6\n", (), "row 2 (line 3), column 'a': inf is not a finite number"),
            ("a,y\n1,2\n2,nan\n5,6\n", (), "row 2 (line 3), column 'y': the target is missing"),
            ("a,y\n1,x\n2,x\n", (), "target 'y' is 'x' in every row"),
            ("a,y\n1,2\n1,3\n", (), "every column but the target is constant"),
            ("y\n1\n2\n", (), "no column is left"),
            ("a,y\n1,2\n", ("--task", "regression"), "every row"),
            ("a,y\n1,2\n2,3\n", ("--drop", "b"), "no column 'b'"),
            ("a,y\n1,2\n2,3\n", ("--drop", "y"), "cannot be both the target and left out"),
            ("a,y\n1,2\n2,3\n", ("--categorical", "y"), "'y' cannot be both"),
            ("a,y\n1,u\n2,v\n", ("--task", "regression"), "'u' is not a number"),
            (b"a,y\n1,\xff\xfe\n", (), "line 2 is not UTF-8 text"),
            ("a;y\n1,5;2\n2,5;3\n", (), "--decimal ,"),
        ],
    )  # fmt: skip
    def test_bad_table_is_refused_with_its_place(self, file, content, options, words):
        path = file(content)
        assert words in refuse("train", path, "--target", "y", *options)

    def test_target_must_be_a_column(self, flower_file):
        text = refuse("train", flower_file, "--target", "kinds")
        assert "'kinds'; did you mean 'kind'? (columns: long, wide, same, place, kind)" in text
        assert "long, wide, same, place, kind" in refuse("train", flower_file)

    def test_frozen_layer_must_exist_and_something_must_be_left(self, flower_file):
        text = refuse("train", flower_file, *FLOWER, "--freeze", "1")
        assert "--freeze 1: no such layer; those with parameters are 0, 2, 4" in text
        everything = ("--freeze", "0", "--freeze", "2", "--freeze", "4")
        assert "nothing is left to train" in refuse("train", flower_file, *FLOWER, *everything)

    def test_unwritable_save_path_is_refused_before_the_data_are_read(self, tmp_path):
        for path in (tmp_path, tmp_path / "none" / "m.safetensors", "/dev/null/m.safetensors"):
            text = refuse("train", tmp_path / "absent.csv", "--target", "y", "--save", path)
            assert f"--save {path}" in text

    def test_path_must_be_a_file(self, tmp_path):
        assert "No such file" in refuse("train", tmp_path / "absent.csv", "--target", "y")
        assert "Is a directory" in refuse("train", tmp_path, "--target", "y")
        assert "No such file" in refuse("train", tmp_path / "absent.npz")

    def test_archive_must_hold_both_arrays(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, A=np.ones(3))
        assert "no array X (arrays: A (3,))" in refuse("train", path)
        np.savez(path, X=np.ones((3, 2)))
        assert "no target column 'y'" in refuse("train", path)
        path.write_bytes(b"not an archive")
        assert "not a .npz archive" in refuse("train", path)

    @pytest.mark.parametrize("option", [("--target", "y"), ("--test-fraction", "0.1"), ("--no-header",)])
    def test_table_options_need_a_table(self, option):
        assert "is for a data file" in refuse("train", *option)

    def test_unknown_command_and_option(self):
        assert "'fly'" in refuse("fly")
        assert "--fly" in refuse("train", "--fly")
        assert "data" in refuse("predict", "model.safetensors").lower()
