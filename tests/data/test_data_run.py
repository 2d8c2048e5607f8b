"""`TrainStep.run` over datasets and over memory-mapped files."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ArrayDataset, Compose, Dataset, GaussianNoise, RandomCrop, batches
from tapegrad.program.running import source

RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 90)


def train(*data, accumulate=1, **options):
    """Losses and parameters after a run over data, from the same start each time."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1),
                        accumulate=accumulate)
    history = step.run(*data, **{"batch_size": 16, "epochs": 3, "seed": 1, **options})
    return history, [p.numpy() for p in model.parameters()]


def assert_same_run(one, other):
    np.testing.assert_array_equal(one[0].loss, other[0].loss)
    np.testing.assert_array_equal(one[0].epoch, other[0].epoch)
    assert one[0].samples == other[0].samples
    for a, b in zip(one[1], other[1]):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def mapped(tmp_path):
    """A function that gives an array as a memory map."""

    def write(array, mode="r"):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode=mode)

    return write


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of two batches at most, so that small arrays come in many."""
    monkeypatch.setattr(source, "_CHUNKS", 3)


# ------------------------------------------------------------------
# memory-mapped arrays


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": True}, {"seed": None}, {"batch_size": 90},
                                     {"batch_size": 1, "epochs": 1}, {"accumulate": 2, "drop_last": True}],
                         ids=str)
def test_memory_maps_of_any_dtype_and_layout_train_to_the_bit_as_arrays_in_memory(mapped, small_chunks, options):
    expected = train(X, Y, **options)
    for x, y in [(mapped(X), mapped(Y)), (mapped(X.astype(np.float64)), mapped(Y.astype(np.int16))),
                 (mapped(np.asfortranarray(X)), Y), (mapped(X.astype(">f4")), mapped(Y)),
                 (mapped(np.repeat(X, 2, axis=0))[::2], mapped(Y.astype(np.uint8))), (X, mapped(Y.astype(np.int32)))]:
        assert_same_run(train(x, y, **options), expected)


def test_a_memory_map_of_the_right_dtype_is_read_where_it_lies_and_others_by_chunks(mapped):
    float32 = np.dtype(np.float32)
    direct = source.source_of([mapped(X), Y], float32, 0)
    assert source.mapped_by(direct.data[0]) is not None
    assert isinstance(source.source_of([mapped(X.astype(np.float64)), Y], float32, 0), source.Chunks)


def test_changes_in_a_private_copy_of_a_file_are_kept_when_pages_are_given_back(mapped, monkeypatch):
    monkeypatch.setattr(source, "mapped_limit", lambda: 1)
    private = mapped(np.zeros_like(X), mode="c")
    private[...] = X
    shared = mapped(X)
    assert_same_run(train(private, Y), train(shared, Y))
    np.testing.assert_array_equal(private, X)
    np.testing.assert_array_equal(shared, X)


MEASURED = """
import sys
import numpy as np
import tapegrad as tg
from tapegrad import optim
from tapegrad.program.running import source

path, limit = sys.argv[1], int(sys.argv[2])
if limit:
    source.mapped_limit = lambda: limit << 20
mapped = np.load(path, mmap_mode="r")
w = tg.tensor(np.zeros(512, np.float32), requires_grad=True)
step = tg.TrainStep(lambda x: ((x * 1.0) @ w).sum(), optim.SGD([w], lr=0.0))
step.run(mapped[:64], batch_size=32)

def resident():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) << 10, int(fields["VmRSS"].split()[0]) << 10

before = resident()
step.run(mapped, batch_size=32, seed=0)
after = resident()
print(mapped.nbytes, after[0] - before[0], after[1] - before[1])
"""


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of the process's memory")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memory_map_is_several_times_larger_than_what_a_run_over_it_allocates(tmp_path, dtype):
    path = tmp_path / "large.npy"
    size = np.dtype(dtype).itemsize
    shape = ((256 << 20) // (512 * size), 512)
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()  # zeros: holes in the file
    for limit in (0, 32):  # the second: a file that is larger than what may be mapped of it
        done = subprocess.run([sys.executable, "-c", MEASURED, str(path), str(limit)], capture_output=True, text=True)
        nbytes, allocated, grown = map(int, done.stdout.split())
        assert nbytes == 256 << 20
        assert allocated < (64 << 20), allocated  # a few chunks of 8 MiB, which the C library may keep
        if limit:
            assert grown < (96 << 20), grown


# ------------------------------------------------------------------
# datasets


def test_an_array_dataset_runs_as_its_arrays():
    assert_same_run(train(ArrayDataset(X, Y)), train(X, Y))


def test_files_one_after_the_other_run_as_one_array(tmp_path, small_chunks):
    for k, rows in enumerate(np.split(np.arange(90), [7, 40, 41])):
        np.save(tmp_path / f"x{k}.npy", X[rows])
        np.save(tmp_path / f"y{k}.npy", Y[rows])
    dataset = ArrayDataset([tmp_path / f"x{k}.npy" for k in range(4)], [tmp_path / f"y{k}.npy" for k in range(4)])
    assert_same_run(train(dataset), train(X, Y))


class Rows(Dataset):
    """Rows that are made when they are asked for; keeps what it was asked."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked, self.threads = [], set()

    def __len__(self):
        return 90

    def fetch(self, index):
        self.asked.append(len(index))
        self.threads.add(threading.current_thread() is threading.main_thread())
        return X[index].astype(np.float64), Y[index].astype(np.int8)


def test_a_dataset_of_ones_own_runs_as_arrays_batch_by_batch_on_a_thread(small_chunks):
    rows = Rows()
    assert_same_run(train(rows), train(X, Y))
    assert rows.asked == 3 * ([16] * 5 + [10]) and rows.threads == {False}


@pytest.mark.parametrize("chunks", [1, 3, 100])
def test_a_transform_draws_the_same_whatever_the_chunks_and_as_the_batches_do(monkeypatch, chunks):
    monkeypatch.setattr(source, "_CHUNKS", chunks)
    dataset = ArrayDataset(X, Y, transform=GaussianNoise(0.5))
    steps = list(batches(dataset, 16, seed=1))
    x, y = (np.concatenate(a) for a in zip(*steps))
    assert_same_run(train(dataset, epochs=1), train(x, y, epochs=1, shuffle=False))
    assert_same_run(train(dataset), train(dataset))
    differs = train(dataset, seed=2)[0].loss != train(dataset)[0].loss
    assert differs.all()


def test_a_transform_draws_anew_each_epoch_and_without_a_seed_follows_manual_seed():
    seen = []

    def keep(x, rng):
        seen.append(rng.random())
        return x

    w = tg.tensor(np.float32(0.0), requires_grad=True)
    step = tg.TrainStep(lambda x: (x * w).sum(), optim.SGD([w], lr=0.1))
    for seed in (3, 3, 4):
        tg.manual_seed(seed)
        step.run(ArrayDataset(X, transform=keep), batch_size=30, epochs=2)
    first, second, other = np.array(seen).reshape(3, 6)
    assert len(set(first)) == 6
    assert (first == second).all() and (first != other).all()


def test_a_run_stopped_by_its_callback_or_an_error_ends_its_thread(small_chunks):
    step = tg.TrainStep(lambda x, y: (x * w).sum() + 0.0 * y.sum(), optim.SGD(
        [w := tg.tensor(np.float32(1.0), requires_grad=True)], lr=0.1))
    step.run(Rows(), batch_size=8, epochs=5, callback=lambda epoch, history: True)

    def fail(x, rng):
        if rng.random() < 0.2:
            raise RuntimeError("no such weather")
        return x

    with pytest.raises(RuntimeError, match="no such weather"):
        step.run(Rows(transform=fail), batch_size=8, epochs=50)
    assert len(step.history) < 600
    assert not [t for t in threading.enumerate() if t.name.startswith("tapegrad-chunks")]


def test_the_next_chunk_is_fetched_before_it_is_asked_for():
    rows = Rows()
    stretches = source.Chunks(rows, np.dtype(np.float32)).stretches([source.Batches(np.arange(80), 8, 10)])
    next(stretches)
    end = time.monotonic() + 30
    while len(rows.asked) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(rows.asked) == 2  # and no more than one chunk ahead
    stretches.close()


def test_rows_that_change_their_shape_or_number_are_named():
    def of_any_size(x, rng):
        return x[:, : rng.integers(1, 5)]

    def fewer(x, rng):
        return x[:3]

    w = tg.tensor(np.float32(1.0), requires_grad=True)
    step = tg.TrainStep(lambda x: (x * w).sum(), optim.SGD([w], lr=0.0))
    for transform, said in ((of_any_size, "one shape"), (fewer, "3, 6.* for 16 rows")):
        with pytest.raises(tg.ShapeError, match=said):
            step.run(ArrayDataset(X, transform=transform), batch_size=16, epochs=20, seed=0)


def test_an_empty_dataset_and_arrays_beside_a_dataset_are_errors():
    with pytest.raises(tg.ArgumentError, match="ArrayDataset is empty"):
        train(ArrayDataset(X[:0], Y[:0], transform=GaussianNoise()))
    with pytest.raises(tg.ArgumentError, match="dataset.* alone|one dataset"):
        train(ArrayDataset(X), Y)


def test_images_are_cropped_in_a_run():
    images = RNG.random((40, 1, 8, 8)).astype(np.float32)
    tg.manual_seed(0)
    layer = nn.Linear(36, 3)
    step = tg.TrainStep(lambda x, y: F.cross_entropy(layer(x.reshape(x.shape[0], 36)), y),
                        optim.SGD(layer.parameters(), lr=0.1))
    dataset = ArrayDataset(images, Y[:40], transform=Compose([RandomCrop(6), GaussianNoise(0.01)]))
    assert np.isfinite(step.run(dataset, batch_size=10, epochs=2, seed=0).loss).all()
