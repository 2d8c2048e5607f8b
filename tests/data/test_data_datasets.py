"""Datasets, their batches, and augmentation."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.data import (
    ArrayDataset,
    Compose,
    Dataset,
    GaussianNoise,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    batches,
)

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


def rng(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------
# ArrayDataset


def test_rows_are_those_of_the_arrays_and_slices_are_views():
    dataset = ArrayDataset(X, Y)
    assert len(dataset) == 10
    x, y = dataset[3]
    assert x.tolist() == [6.0, 7.0] and y == 3
    assert dataset[-1][1] == 9
    x, y = dataset[2:5]
    assert np.shares_memory(x, X) and y.tolist() == [2, 3, 4]
    assert dataset[[7, 1]][1].tolist() == [7, 1]
    assert dataset[Y > 7][1].tolist() == [8, 9]
    assert dataset.arrays[0] is X


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert ArrayDataset(mapped).arrays[0] is mapped


@pytest.mark.parametrize("number", [10, -11])
def test_a_row_that_is_not_there_is_named_with_the_length(number):
    with pytest.raises(IndexError, match=f"ArrayDataset: row {number} of 10"):
        ArrayDataset(X, Y)[number]


def test_arrays_that_do_not_go_together_are_errors():
    with pytest.raises(tg.ShapeError, match=r"\[10, 2\], \[9\]"):
        ArrayDataset(X, Y[:9])
    with pytest.raises(tg.ShapeError, match=r"\[\]"):
        ArrayDataset(3.0)
    with pytest.raises(tg.ArgumentError, match="at least one"):
        ArrayDataset()


@pytest.fixture
def files(tmp_path):
    """Three files whose rows are those of X, in order."""
    for k, part in enumerate(np.split(X, [1, 6])):
        np.save(tmp_path / f"{k}.npy", part)
    return [tmp_path / f"{k}.npy" for k in range(3)]


def test_a_list_of_files_is_the_rows_of_one_after_the_other(files):
    dataset = ArrayDataset(files, Y)
    for key in (0, 5, -1, slice(None), slice(8, 2, -3), [9, 0, 0, 6, 1], Y % 2 == 0, []):
        for got, expected in zip(dataset[key], (X[key], Y[key])):
            np.testing.assert_array_equal(got, expected)
    assert dataset[[]][0].shape == (0, 2)


def test_files_that_cannot_be_read_or_do_not_fit_are_named(tmp_path, files):
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    np.savez(tmp_path / "several.npz", a=X, b=Y)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([{}, "a"], object))
    for name, said in (("wide.npy", r"rows are float64\[5\], those of"), ("several.npz", "archive"),
                       ("text.npy", "not an .npy file"), ("empty.npy", "not an .npy file"),
                       ("objects.npy", "not an .npy file"), ("none.npy", "No such file")):
        with pytest.raises(tg.DataError, match=f"{name}.*{said}"):
            ArrayDataset([files[0], tmp_path / name])
    with pytest.raises(tg.DataError, match=r"is a path.*read_csv"):
        ArrayDataset(str(files[0]))


# ------------------------------------------------------------------
# batches


def test_batches_come_in_order_or_shuffled_with_a_smaller_last_one_or_without():
    dataset = ArrayDataset(X, Y)
    assert [y.tolist() for _, y in batches(dataset, 4, shuffle=False)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(y) for _, y in batches(dataset, 4, drop_last=True)] == [4, 4]
    for x, y in batches(dataset, 4, seed=0):
        np.testing.assert_array_equal(x, X[y])
    orders = [np.concatenate([y for _, y in batches(dataset, 4, seed=seed)]).tolist() for seed in (0, 0, 1)]
    assert sorted(orders[0]) == Y.tolist() and orders[0] == orders[1] != orders[2]


def test_without_a_seed_batches_follow_manual_seed():
    orders = []
    for seed in (0, 0, 1):
        tg.manual_seed(seed)
        orders.append([y.tolist() for _ in range(2) for _, y in batches(ArrayDataset(X, Y), 10)])
    assert orders[0] == orders[1] != orders[2] and orders[0][0] != orders[0][1]


def test_only_the_rows_of_a_batch_are_fetched():
    class Counting(Dataset):
        asked = 0

        def __len__(self):
            return 1_000_000_000

        def fetch(self, index):
            self.asked += len(index)
            return (index,)

    dataset = Counting()  # without Dataset.__init__, as users' classes often are
    with pytest.raises(tg.ArgumentError, match="batch_size"):
        batches(dataset, 0, shuffle=False)
    assert dataset[-1] == (999_999_999,)
    assert dataset.asked == 1


def test_batches_of_arrays_say_how_to_make_a_dataset():
    with pytest.raises(tg.ArgumentError, match="ArrayDataset"):
        batches(X, 2)


# ------------------------------------------------------------------
# augmentation

IMAGES = rng(1).random((50, 3, 6, 5)).astype(np.float32)
EACH = [RandomCrop((4, 3)), RandomCrop((6, 5), padding=2), RandomHorizontalFlip(), GaussianNoise(0.1),
        RandomAffine(10, (0.1, 0.1), (0.9, 1.1)), Normalize(0.5, 0.2)]


@pytest.mark.parametrize("transform", EACH, ids=lambda t: type(t).__name__)
def test_each_repeats_with_its_generator_and_leaves_what_it_was_given(transform):
    given = IMAGES.copy()
    one, two, other = transform(given, rng(0)), transform(given, rng(0)), transform(given, rng(1))
    np.testing.assert_array_equal(given, IMAGES)
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32
    assert isinstance(transform, Normalize) or (one != other).any()
    assert transform(given[:0], rng(0)).shape == (0, *one.shape[1:])


def test_crops_are_windows_at_all_places():
    columns = np.broadcast_to(np.arange(5.0), (400, 2, 6, 5)) + 10 * np.arange(6.0)[:, None]
    crops = RandomCrop((4, 3))(columns, rng())
    first = crops[:, 0, 0, 0]
    assert set(first) == {10 * i + j for i in range(3) for j in range(3)}
    for crop, at in zip(crops, first):
        i, j = divmod(int(at), 10)
        np.testing.assert_array_equal(crop, columns[0, :, i:i + 4, j:j + 3])


def test_padding_is_filled():
    crops = RandomCrop(4, padding=2, fill=7.0)(np.zeros((200, 1, 4, 4)), rng())
    assert set(np.unique(crops)) == {0.0, 7.0}
    assert (crops[:, 0] == 7.0).all(axis=2).any()


def test_flips_mirror_about_as_many_as_they_should():
    flipped = RandomHorizontalFlip(0.3)(IMAGES.repeat(20, axis=0), rng())
    kept = (flipped == IMAGES.repeat(20, axis=0)).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(flipped[~kept], IMAGES.repeat(20, axis=0)[~kept][..., ::-1])
    assert 0.25 < (~kept).mean() < 0.35


def test_noise_has_its_deviation():
    noise = GaussianNoise(0.3)(np.zeros((100, 1, 20, 20)), rng())
    assert abs(noise.std() - 0.3) < 0.01 and abs(noise.mean()) < 0.01 and noise.dtype == np.float64


def test_an_affine_map_of_nothing_is_the_image_and_a_quarter_turn_turns():
    np.testing.assert_allclose(RandomAffine(0)(IMAGES, rng()), IMAGES, atol=1e-6)

    class Quarter:
        """A generator whose angle is always the largest."""

        def uniform(self, low, high, size):
            return np.full(size, high if low == -90 else (low + high) / 2)

    square = IMAGES[:, :, :5]
    turned = RandomAffine(90)(square, Quarter())
    np.testing.assert_allclose(turned, np.rot90(square, axes=(2, 3)), atol=1e-5)


def test_an_affine_map_shifts_by_fractions_of_the_extent():
    spot = np.zeros((300, 1, 21, 11), np.float32)
    spot[:, :, 10, 5] = 1.0
    moved = RandomAffine(0, translate=(0.2, 0.3))(spot, rng())[:, 0]
    rows, columns = (moved * np.arange(21)[:, None]).sum((1, 2)), (moved * np.arange(11)).sum((1, 2))
    assert 5.5 < abs(rows - 10).max() <= 6.31 and 1.8 < abs(columns - 5).max() <= 2.21


def test_normalize_is_by_channel_and_makes_floats_of_bytes():
    x = np.full((2, 3, 4, 4), 255, np.uint8)
    np.testing.assert_array_equal(Normalize(0, 255)(x, rng()), np.ones(x.shape, np.float32))
    by_channel = Normalize([1, 2, 3], [1, 2, 4])(np.ones((2, 3, 4, 4)), None)
    np.testing.assert_array_equal(by_channel[:, :, 0, 0], [[0.0, -0.5, -0.5]] * 2)
    with pytest.raises(tg.ShapeError, match=r"3 channels given.*\[2, 1, 4, 4\]"):
        Normalize([1, 2, 3], 1.0)(np.ones((2, 1, 4, 4)), None)
    with pytest.raises(tg.ArgumentError, match="std"):
        Normalize(0.0, 0.0)


def test_compose_applies_one_after_the_other():
    transform = Compose([lambda x, r: x + 1, lambda x, r: x * 2])
    assert transform(np.zeros(3), rng()).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(tg.ArgumentError, match="callable"):
        Compose([3])


def test_bad_arguments_of_augmentations_are_named():
    with pytest.raises(tg.ShapeError, match="window of 9 x 9 in images of 6 x 5"):
        RandomCrop(9)(IMAGES, rng())
    with pytest.raises(tg.ShapeError, match="RandomHorizontalFlip.*images"):
        RandomHorizontalFlip()(X, rng())
    with pytest.raises(tg.ArgumentError, match="p must"):
        RandomHorizontalFlip(1.5)
