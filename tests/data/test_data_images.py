"""Folders of images."""

import sys

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ImageFolder, batches

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    """Six colour images of 7 x 9 pixels in classes cat and dog, one in a folder of its own."""
    (tmp_path / "dog" / "more").mkdir(parents=True)
    (tmp_path / "cat").mkdir()
    for k, name in enumerate(["cat/a.png", "cat/b.png", "cat/c.png", "dog/a.png", "dog/b.bmp", "dog/more/c.PNG"]):
        Image.fromarray(np.full((7, 9, 3), (10 * k, 20, 30), np.uint8)).save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "list.csv").write_text("x")
    return tmp_path


def test_a_row_is_an_image_and_the_number_of_its_folder(root):
    images = ImageFolder(root)
    assert images.classes == ["cat", "dog"] and len(images) == 6
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [str(p.relative_to(root)) for p in images.paths[3:]] == ["dog/a.png", "dog/b.bmp", "dog/more/c.PNG"]
    image, label = images[4]
    assert image.shape == (3, 7, 9) and image.dtype == np.float32 and label == 1
    np.testing.assert_allclose(image[:, 2, 3], np.array([40, 20, 30]) / 255, rtol=1e-6)


def test_sizes_and_grey(root):
    image, _ = ImageFolder(root, size=(4, 6), grayscale=True)[2]
    assert image.shape == (1, 4, 6)
    np.testing.assert_allclose(image, round(0.299 * 20 + 0.587 * 20 + 0.114 * 30) / 255, atol=0.003)
    assert ImageFolder(root, 5)[0][0].shape == (3, 5, 5)
    with pytest.raises(tg.ArgumentError, match="size"):
        ImageFolder(root, size=0)


def test_an_image_in_other_modes_becomes_what_it_shows(root):
    folder = root / "cat"
    values = np.array([[0, 128], [255, 64]], np.uint8)
    Image.fromarray(values).save(folder / "z-grey.png")
    Image.fromarray(values.astype(np.uint16) * 257).save(folder / "z-deep.png")
    Image.fromarray(values).convert("P").save(folder / "z-palette.png")
    Image.fromarray(np.stack([values] * 3 + [np.full_like(values, 255)], axis=2)).save(folder / "z-alpha.png")
    for grayscale in (True, False):
        images = ImageFolder(root, size=2, grayscale=grayscale)
        for k, path in enumerate(images.paths):
            if path.name.startswith("z-"):
                expected = np.broadcast_to(values / 255, images[k][0].shape)
                np.testing.assert_allclose(images[k][0], expected, atol=1e-6, err_msg=path.name)


def test_a_photo_is_turned_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the left
    Image.new("RGB", (9, 7)).save(root / "cat" / "0.jpg", exif=exif)
    assert ImageFolder(root)[0][0].shape == (3, 9, 7)


def test_files_are_decoded_only_when_their_row_is_asked_for(root):
    (root / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    whole = Image.fromarray(RNG.integers(0, 255, (64, 64, 3), np.uint8))
    whole.save(root / "dog" / "cut.png")
    content = (root / "dog" / "cut.png").read_bytes()
    (root / "dog" / "cut.png").write_bytes(content[: len(content) // 2])
    images = ImageFolder(root, size=4)
    assert images[[0, 3]][1].tolist() == [0, 1]
    for name in ("broken.png", "cut.png"):
        with pytest.raises(tg.DataError, match=f"{name}: not an image that Pillow can read"):
            images[[path.name for path in images.paths].index(name)]


def test_images_of_different_sizes_need_a_size(root):
    Image.new("RGB", (3, 2)).save(root / "dog" / "small.png")
    images = ImageFolder(root)
    assert images[0][0].shape == (3, 7, 9)
    with pytest.raises(tg.DataError, match=r"small.png: 2 x 3 pixels, a.png has 7 x 9; .*size=\(7, 9\)"):
        images[:]


def test_folders_without_images_are_named(tmp_path):
    for name, said in (("none", "no such folder"), ("flat", "no sub-folders"), ("empty", "owls: no image files")):
        if name != "none":
            (tmp_path / name).mkdir()
        if name == "empty":
            (tmp_path / name / "owls").mkdir()
        with pytest.raises(tg.DataError, match=said):
            ImageFolder(tmp_path / name)


def test_without_pillow_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(tg.TapegradError, match=r"tapegrad\[images\]"):
        ImageFolder(root)


def test_a_step_runs_over_a_folder_as_over_its_images(root):
    images = ImageFolder(root, size=4)

    def losses(*data):
        tg.manual_seed(0)
        layer = nn.Linear(48, 2)
        step = tg.TrainStep(lambda x, y: F.cross_entropy(layer(x.reshape(x.shape[0], 48)), y),
                            optim.SGD(layer.parameters(), lr=0.5))
        return step.run(*data, batch_size=2, epochs=3, seed=0).loss

    np.testing.assert_array_equal(losses(images), losses(*images[:]))
    assert [len(y) for _, y in batches(images, 4)] == [4, 2]
