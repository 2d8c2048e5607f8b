"""Data of other libraries, by `__array__`, DLPack and Arrow's protocols, and tensors as theirs."""

import gc
import weakref

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ArrayDataset

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 2


class ByDlpack:
    """Another library's array that knows DLPack alone, and has a dtype that is none of NumPy's."""

    dtype = "float"

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **asked):
        return self.array.__dlpack__(**asked)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Elsewhere(ByDlpack):
    def __dlpack__(self, **asked):
        raise BufferError("on device 7")


class ByArrow:
    def __init__(self, array):
        self.array = array

    def __arrow_array__(self, type=None):
        return self.array


class ByStream:
    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def pandas_data():
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(X, columns=["a", "b", "c"]), pd.Series(Y)


def polars_data():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(dict(zip("abc", X.T))), pl.Series(Y)


def pyarrow_data():
    pa = pytest.importorskip("pyarrow")
    return pa.table(dict(zip("abc", X.T))), pa.array(Y)


def arrow_protocol_data():
    pa = pytest.importorskip("pyarrow")
    return ByStream(pa.table(dict(zip("abc", X.T)))), ByArrow(pa.array(Y))


def torch_data():
    torch = pytest.importorskip("torch")
    return torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())


def dlpack_data():
    return ByDlpack(X.copy()), ByDlpack(Y.copy())


LIBRARIES = [pandas_data, polars_data, pyarrow_data, arrow_protocol_data, torch_data, dlpack_data]


@pytest.mark.parametrize("library", LIBRARIES)
def test_data_of_any_library_are_taken_everywhere(library):
    x, y = library()
    np.testing.assert_array_equal(tg.tensor(x).numpy(), X)
    assert tg.tensor(y).dtype == np.int64
    w = tg.tensor(np.ones((12, 3), np.float32), requires_grad=True)
    np.testing.assert_array_equal((w * x).numpy(), X)
    np.testing.assert_array_equal(tg.exp(x).numpy(), tg.exp(X).numpy())
    np.testing.assert_array_equal(w[y].numpy(), np.ones((12, 3)))
    np.testing.assert_array_equal(w.at[y, 0].set(0.0).numpy()[:2, 0], [0.0, 0.0])
    np.testing.assert_array_equal(tg.where(tg.greater(x, 0.0), x, 0.0).numpy(), np.where(X > 0, X, 0))
    assert float(F.cross_entropy(w, y)) == float(F.cross_entropy(w, Y))
    np.testing.assert_array_equal(F.one_hot(y, 2), np.eye(2)[Y])
    np.testing.assert_array_equal(tg.grad(lambda v: (v * v).sum())(x), 2 * X)
    np.testing.assert_array_equal(tg.compile(lambda v: v + 1.0)(x), X + 1)
    tg.nn.utils.vector_to_parameters(tg.tensor(x).numpy().ravel(), [w])
    assert tg.tensor(np.zeros((12, 3))).copy_(x).numpy().sum() == pytest.approx(X.sum())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_run_over_data_of_any_library_is_the_run_over_arrays(library):
    def losses(*data):
        tg.manual_seed(0)
        model = nn.Linear(3, 2)
        step = tg.TrainStep(lambda a, b: F.cross_entropy(model(a), b), optim.SGD(model.parameters(), lr=0.1))
        return [*step.run(*data, batch_size=4, epochs=2, shuffle=False).loss, step(X, Y)]

    x, y = library()
    assert losses(x, y) == losses(X, Y) == losses(ArrayDataset(x, y))


def test_columns_of_several_kinds_are_joined_and_all_that_are_no_numbers_are_named():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    kinds = {"a": [1.5, 2.0], "b": [True, False], "c": [1, 2]}
    for table in (pd.DataFrame(kinds), pl.DataFrame(kinds)):
        assert tg.tensor(table).tolist() == [[1.5, 1.0, 1.0], [2.0, 0.0, 2.0]]
        assert table.shape == (2, 3)
    missing = pd.DataFrame({"a": pd.Series([1, None], dtype="Int64"), "b": [0.5, 1.0]})
    np.testing.assert_array_equal(tg.tensor(missing).numpy(), [[1.0, 0.5], [np.nan, 1.0]])
    for frames in (pd, pl):
        with pytest.raises(TypeError, match="'name'.*'when'"):
            tg.tensor(frames.DataFrame({"name": ["x", "y"], "n": [1.0, 2.0],
                                        "when": np.array(["2020-01-01", "2020-01-02"], "M8[us]")}))


def test_lists_of_equal_length_in_a_column_are_rows():
    pa = pytest.importorskip("pyarrow")
    assert tg.tensor(pa.array([[1.0, 2.0], [3.0, 4.0]])).shape == (2, 2)
    with pytest.raises(ValueError, match="rectangular"):
        tg.tensor(pa.array([[1.0, 2.0], [3.0]]))


def test_what_lies_on_another_device_is_refused_with_the_reason():
    with pytest.raises(TypeError, match="on device 7"):
        tg.tensor(Elsewhere(X))
    with pytest.raises(TypeError, match="on device 7"):
        tg.from_dlpack(Elsewhere(X))
    with pytest.raises(TypeError, match="list gives no array"):
        tg.from_dlpack([1.0])


# ------------------------------------------------------------------
# without a copy


@pytest.mark.parametrize("array", [X, X.T, X[::2, ::-1], np.arange(4), Y > 0, np.array(3.0)],
                         ids=["C", "F", "reversed", "int64", "bool", "scalar"])
def test_from_dlpack_looks_into_the_same_memory(array):
    array = np.array(array, order="K")
    t = tg.from_dlpack(array)
    assert t.dtype == array.dtype
    array[...] = 1 - array if array.dtype != bool else ~array
    np.testing.assert_array_equal(t.numpy(), array)
    np.testing.assert_array_equal(np.from_dlpack(t), array)
    assert np.shares_memory(np.from_dlpack(t), array)


def test_strided_memory_goes_through_ops_and_gradients():
    array = np.arange(24.0).reshape(4, 6)[::-2, ::3]
    t, w = tg.from_dlpack(array), tg.tensor(np.ones((2, 2)), requires_grad=True)
    (t * w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), array)
    leaf = tg.from_dlpack(np.arange(3.0)).requires_grad_()
    (leaf * leaf).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), [0.0, 2.0, 4.0])


@pytest.mark.parametrize("change, reason", [
    (lambda a: a.astype(np.int32), "int32"), (lambda a: a[:0], "empty"),
    (lambda a: np.frombuffer(bytearray(b"\0" + a.tobytes()), np.uint8)[1:].view(a.dtype), "aligned"),
])
def test_what_cannot_be_shared_is_copied_or_refused(change, reason):
    array = change(np.arange(3.0))
    np.testing.assert_array_equal(tg.from_dlpack(array).numpy(), array)
    with pytest.raises(ValueError, match=reason):
        tg.from_dlpack(array, copy=False)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="exports no memory that may not be written")
def test_memory_that_may_not_be_written_is_copied():
    array = np.arange(3.0)
    array.flags.writeable = False
    t = tg.from_dlpack(array)
    t[0] = 5.0
    assert array[0] == 0.0
    with pytest.raises(ValueError, match="written"):
        tg.from_dlpack(array, copy=False)


def test_a_copy_is_one():
    array = np.arange(3.0)
    t = tg.from_dlpack(array, copy=True)
    array[0] = 5.0
    assert t.tolist() == [0.0, 1.0, 2.0]


def test_each_side_keeps_the_memory_alive():
    class Watched(np.ndarray):
        pass

    array = np.arange(1000.0).view(Watched)
    gone = weakref.ref(array)
    t = tg.from_dlpack(array)
    del array
    gc.collect()
    assert gone() is not None and t[999].item() == 999.0
    del t
    gc.collect()
    assert gone() is None
    values = np.from_dlpack(tg.tensor(np.arange(5000.0)) * 2.0)
    others = [tg.tensor(np.zeros(5000)) * 1.0 for _ in range(50)]
    gc.collect()
    np.testing.assert_array_equal(values, 2 * np.arange(5000.0))
    assert len(others) == 50


def test_an_export_that_would_lose_history_is_refused():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    for t in (w, w * 2.0):
        with pytest.raises(tg.GradientError, match="detach"):
            np.from_dlpack(t)
        assert np.from_dlpack(t.detach()).shape == (2,)
    with pytest.raises(tg.TapegradError):
        tg.compile(lambda v: np.from_dlpack(v))(X)
    with pytest.raises(tg.GradientError):
        tg.grad(lambda v: np.from_dlpack(v).sum())(X)


def test_pytorch_and_a_tensor_share_memory_both_ways():
    torch = pytest.importorskip("torch")
    source = torch.arange(6.0).reshape(2, 3).T
    t = tg.from_dlpack(source)
    source[0, 1] = 9.0
    assert t.numpy()[0, 1] == 9.0
    back = torch.from_dlpack(t)
    back += 1
    np.testing.assert_array_equal(t.numpy(), source.numpy())
    del t, source
    gc.collect()
    assert back[0, 1] == 10.0
    with pytest.raises(tg.GradientError, match="detach"):
        tg.tensor(torch.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="BFloat16"):
        tg.tensor(torch.ones(2, dtype=torch.bfloat16))
