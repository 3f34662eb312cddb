import numpy as np
import pytest
from PIL import Image

from datamodules.pictures import PictureStore, UnreadablePictureWarning, centre_crop, random_crop


@pytest.fixture
def gradient():
    ys, xs = np.mgrid[0:60, 0:100]
    return np.stack([ys, xs, np.zeros_like(xs)], -1).astype(np.uint8)


def test_random_crop_is_a_window_of_the_picture(gradient):
    for seed in range(20):
        crop = random_crop(gradient, 32, np.random.default_rng(seed), flip=False).astype(int)
        assert crop.shape == (32, 32, 3)
        assert (np.diff(crop[:, :, 1], axis=1) == 1).all()
        assert (np.diff(crop[:, :, 0], axis=0) == 1).all()


def test_random_crop_flips_sideways_only(gradient):
    steps = set()
    for seed in range(20):
        crop = random_crop(gradient, 32, np.random.default_rng(seed)).astype(int)
        assert (np.diff(crop[:, :, 0], axis=0) == 1).all()
        steps.add(int(np.diff(crop[0, :, 1])[0]))
    assert steps == {1, -1}


def test_random_crop_reaches_every_corner():
    pixels = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    corners = {int(random_crop(pixels, 2, np.random.default_rng(seed), flip=False)[0, 0, 0]) for seed in range(60)}
    assert corners == {0, 1, 3, 4}


def test_resize_and_scale_widen_the_window(gradient):
    rng = np.random.default_rng(0)
    whole = random_crop(gradient, 30, rng, resize=30, flip=False)
    assert np.ptp(whole[:, :, 0].astype(int)) > 55  # the short side of 60 pixels fits into 30
    wide = random_crop(gradient, 20, rng, scale=(2.0, 2.0), flip=False)
    assert 36 <= np.ptp(wide[:, :, 0].astype(int)) <= 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 3)])
def test_small_pictures_are_enlarged(shape):
    pixels = np.full((*shape, 3), 99, np.uint8)
    for crop in (random_crop(pixels, 32, np.random.default_rng(0)), centre_crop(pixels, 32)):
        assert crop.shape == (32, 32, 3)
        assert (crop == 99).all()


def test_centre_crop_keeps_the_middle(gradient):
    crop = centre_crop(gradient, 60)
    assert (crop == gradient[:, 20:80]).all()
    assert centre_crop(gradient, 15).shape == (15, 15, 3)


@pytest.fixture
def files(tmp_path):
    for number in range(3):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("not a picture")
    return [tmp_path / f"{number}.png" for number in range(3)]


@pytest.mark.parametrize("keep", [False, True])
def test_store_counts_every_bad_file_once(files, keep):
    store = PictureStore(files, keep=keep)
    with pytest.warns(UnreadablePictureWarning, match="Skipped 1 unreadable of 3") as caught:
        pictures = [store.get(position) for position in (0, 1, 2, 1)]
    assert len(caught) == 1
    assert [None if pixels is None else int(pixels[0, 0, 0]) for pixels in pictures] == [0, None, 2, None]
    assert store.unreadable == 1
    assert store.first_readable() == 0


def test_store_keeps_what_it_read(files):
    store = PictureStore(files[:1], keep=True)
    store.read_all()
    files[0].unlink()
    assert store.get(0).shape == (20, 30, 3)


def test_store_shrinks_to_the_short_side(files):
    assert PictureStore(files, short_side=10).get(0).shape == (10, 15, 3)
    assert PictureStore(files, short_side=64).get(0).shape == (20, 30, 3)
