"""State dicts on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DataError, MissingExtraError
from tapegrad.io import files as io

safetensors_numpy = pytest.importorskip("safetensors.numpy")

ARRAYS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "float64": np.array([np.pi, -0.0, np.inf, np.nan]),
    "float16": np.array([0.1, 65504.0], np.float16),
    "transposed": np.arange(12.0).reshape(3, 4).T,
    "strided": np.arange(20.0)[::3],
    "reversed": np.arange(5)[::-1],
    "broadcast": np.broadcast_to(np.float32(2), (3, 2)),
    "big endian": np.arange(4, dtype=">i4"),
    "zero axes": np.array(3.5, np.float32),
    "empty": np.zeros((0, 3)),
    "bool": np.array([[True], [False]]),
    "uint8": np.arange(256, dtype=np.uint8),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "naïve.weight": np.ones(1),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", ARRAYS)
def test_array_comes_back_as_it_was(path, name):
    array = ARRAYS[name]
    io.save({name: array}, path)
    (back,) = io.load(path).values()
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


def test_arrays_come_back_under_their_names_and_own_their_memory(path):
    io.save(ARRAYS, path)
    back = io.load(path)
    assert set(back) == set(ARRAYS)
    assert all(array.flags.writeable and array.flags.owndata for array in back.values())


@pytest.mark.parametrize("metadata", [None, {"made": "today", "a\n\"é": "\u0001ü"}])
def test_arrays_come_back_in_the_order_in_which_they_were_saved(path, metadata):
    names = ["z", "naïve\t\"x\"", "m.weight", "a", "b\u007f\u2028", "m.bias", "0", *map(str, range(50, 0, -1))]
    dtypes = ["f4", "f8", "?", "i8", "u1", "f2", "i2"]
    saved = {name: np.full(k % 3, k, dtypes[k % len(dtypes)]) for k, name in enumerate(names)}
    io.save(saved, path, metadata=metadata)
    assert list(io.load(path)) == names
    assert io.load_metadata(path) == (metadata or {})
    for back in (io.load(path), safetensors_numpy.load_file(path)):
        for name, array in saved.items():
            np.testing.assert_array_equal(back[name], array)
    starts = [place["data_offsets"][0] % 8 for place in _places(path).values() if place["dtype"] in ("F64", "I64")]
    assert not any(starts), "other libraries map the arrays where they lie"


def _places(path):
    """The header of the format: 8 bytes with the length of the JSON that follows."""
    content = path.read_bytes()
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    header.pop("__metadata__", None)
    return header


def test_another_librarys_file_is_read_in_the_order_that_it_lists_bfloat16_too(path):
    places = {"z": ("F32", 0, 4), "b": ("BF16", 8, 10), "m": ("F32", 4, 8), "a": ("BF16", 10, 12)}
    header = json.dumps({name: {"dtype": code, "shape": [1], "data_offsets": [first, last]}
                         for name, (code, first, last) in places.items()}).encode()
    header += b" " * (-len(header) % 8)
    # bfloat16 is the upper half of a float32: 1.0 is 0x3f80, -2.0 is 0xc000
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array([3.0, 4.0], "<f4").tobytes()
                     + b"\x80\x3f\x00\xc0")
    for _ in range(5):
        back = {name: array.item() for name, array in io.load(path).items()}
        assert back == {"z": 3.0, "b": 1.0, "m": 4.0, "a": -2.0}
        assert list(back) == ["z", "b", "m", "a"]


def test_the_formats_own_name_is_refused_and_no_file_is_left(path):
    with pytest.raises(DataError, match="__metadata__.*rename"):
        io.save({"a": np.ones(1), "__metadata__": np.ones(2)}, path)
    assert not list(path.parent.iterdir())


def test_the_state_of_a_model_comes_back_in_its_order(path):
    model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.BatchNorm1d(3), tg.nn.Linear(3, 1))
    tg.save(model.state_dict(), path)
    assert list(tg.load(path)) == list(model.state_dict())


def test_empty_state_dict(path):
    io.save({}, path)
    assert io.load(path) == {}


def test_lists_and_scalars_are_accepted(path):
    io.save({"list": [[1.0, 2.0]], "scalar": 3}, path)
    back = io.load(path)
    assert back["list"].tolist() == [[1.0, 2.0]] and back["scalar"].shape == ()


def test_what_has_a_numpy_method_is_accepted(path):
    class Held:
        def numpy(self):
            return np.array([1.0, 2.0])

    io.save({"a": Held()}, path)
    assert io.load(path)["a"].tolist() == [1.0, 2.0]


def test_tensors_and_parameters_are_accepted(path):
    io.save({"tensor": tg.tensor([[1.0, 2.0]]), "parameter": tg.nn.Parameter(np.ones(3, np.float32))}, path)
    back = io.load(path)
    assert back["tensor"].tolist() == [[1.0, 2.0]] and back["parameter"].dtype == np.float32


def test_model_comes_back_into_the_same_architecture(path):
    model, other = (tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.ReLU(), tg.nn.Linear(4, 2)) for _ in range(2))
    io.save(model.state_dict(), path)
    other.load_state_dict(io.load(path))
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(
        other(tg.tensor(x, dtype=np.float32)).numpy(), model(tg.tensor(x, dtype=np.float32)).numpy()
    )


def test_metadata_is_kept(path):
    io.save({"a": np.ones(1)}, path, metadata={"tapegrad": '{"x": "é"}'})
    assert io.load_metadata(path) == {"tapegrad": '{"x": "é"}'}
    io.save({"a": np.ones(1)}, path)
    assert io.load_metadata(path) == {}


def test_the_library_reads_what_is_written_and_the_other_way_round(path):
    arrays = {"0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}
    io.save(arrays, path)
    theirs = safetensors_numpy.load_file(path)
    safetensors_numpy.save_file(arrays, path)
    ours = io.load(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


def hand_written(path, dtype, shape, data):
    """A file of one array, made from the format's description: header length, JSON header, bytes."""
    header = f'{{"a":{{"dtype":"{dtype}","shape":{list(shape)},"data_offsets":[0,{len(data)}]}}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16_is_read_exactly_as_float32(path):
    # upper halves of the float32 1.0, -2.5, infinity and 2**-133
    hand_written(path, "BF16", (2, 2), np.array([0x3F80, 0xC020, 0x7F80, 0x0001], "<u2").tobytes())
    back = io.load(path)["a"]
    assert back.dtype == np.float32 and back.tolist() == [[1.0, -2.5], [np.inf, 2.0**-133]]


def test_type_that_numpy_lacks_is_refused_by_name(path):
    hand_written(path, "F8_E4M3", (2,), b"\0\0")
    with pytest.raises(DataError, match="'a' is of type F8_E4M3"):
        io.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"a,b\n1,2\n", bytes(100), b"\x08\0\0\0\0\0\0\0not json", b"\xff" * 50],
)
def test_file_of_another_kind_is_refused_by_path(path, content):
    path.write_bytes(content)
    for read in (io.load, io.load_metadata):
        with pytest.raises(DataError, match="not a safetensors file") as caught:
            read(path)
        assert str(path) in str(caught.value) and isinstance(caught.value, ValueError)


def test_cut_file_is_refused(path):
    io.save({"a": np.arange(1000.0)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="not a safetensors file"):
        io.load(path)


def test_missing_file_and_folder_raise_the_system_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "none")
    with pytest.raises((IsADirectoryError, PermissionError)):
        io.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        io.save({}, tmp_path / "none" / "model.safetensors")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"a": np.array([1j])}, "cannot save 'a': type complex128"),
        ({"a": np.array(["x"])}, "cannot save 'a'"),
        ({"a": np.array([None])}, "cannot save 'a': type object"),
        ({3: np.ones(1)}, "must be text; got 3"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(path, state, words):
    with pytest.raises(DataError, match=words):
        io.save(state, path)
    assert not path.exists()


def test_metadata_that_is_not_text_is_refused(path):
    with pytest.raises(DataError, match="metadata must map text to text"):
        io.save({}, path, metadata={"a": 1})


def test_failed_save_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    io.save({"a": np.ones(1)}, path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        io.save({"a": np.zeros(1)}, path)
    assert io.load(path)["a"].tolist() == [1.0] and os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_those_of_an_ordinary_file_or_of_the_one_replaced(path):
    plain = path.with_name("plain")
    plain.touch()
    io.save({}, path)
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    io.save({}, path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_missing_library_names_the_extra(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: io.save({}, path), lambda: io.load(path)):
        with pytest.raises(MissingExtraError, match=r"pip install 'tapegrad\[io\]'"):
            call()


def test_importing_does_not_import_the_library():
    code = "import sys, tapegrad.io; sys.exit('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
