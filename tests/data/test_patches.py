import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv.data import load, patches, raw_patches
from jaxcv.data.patch_preprocessing import (
    clipped,
    luminosity,
    preprocess,
    rescaled,
    without_mean,
)
from jaxcv.errors import UserError

h5py = pytest.importorskip("h5py")


# --- preprocessing ------------------------------------------------------------------------------


def test_luminosity_weighs_red_green_and_blue():
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], np.uint8)
    got = luminosity(colours)
    np.testing.assert_allclose(got[0, 0], [54.213, 182.376, 18.411, 255.0])
    grey = colours[..., :1]
    np.testing.assert_array_equal(luminosity(grey), grey[..., 0])
    with pytest.raises(UserError, match="not 4"):
        luminosity(np.zeros((1, 2, 2, 4)))


def test_each_image_loses_its_own_mean(rng):
    images = rng.uniform(0, 255, (5, 4, 3))
    got = without_mean(images)
    np.testing.assert_allclose(got.mean(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(got + images.mean(axis=(1, 2), keepdims=True), images)


def test_clipping_is_at_three_deviations_of_the_whole_set(rng):
    images = rng.standard_normal((30, 8, 8)) * rng.uniform(0.1, 10, (30, 1, 1))
    limit = 3 * np.sqrt(np.mean((images - images.mean()) ** 2))
    got = clipped(images)
    assert np.abs(images).max() > limit
    assert np.abs(got).max() == pytest.approx(limit)
    inside = np.abs(images) < limit
    np.testing.assert_array_equal(got[inside], images[inside])


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e6))
def test_the_range_is_exactly_that_of_the_assignment(seed, scale):
    images = scale * np.random.default_rng(seed).standard_normal((4, 3, 3, 3))
    got = preprocess(images)
    assert got.dtype == np.float32
    assert got.shape == (4, 3, 3, 1)
    assert (got.min(), got.max()) == (np.float32(0.1), np.float32(0.9))
    level = clipped(without_mean(luminosity(images)))
    # Linear: order and proportions stay.
    np.testing.assert_allclose(
        (got[..., 0] - 0.1) / 0.8,
        (level - level.min()) / (level.max() - level.min()),
        atol=1e-6,
    )
    assert rescaled(level).min() == 0.1


@pytest.mark.parametrize("value", [0, 255, 77])
def test_patches_of_constant_colour_are_refused(value):
    colour = np.array([value, 13, 200])
    with pytest.raises(UserError, match="one colour"):
        preprocess(np.broadcast_to(colour, (5, 4, 4, 3)))


# --- drawing ------------------------------------------------------------------------------------


def test_patches_are_cut_from_the_pictures():
    # Each pixel says which picture, row and column it is.
    pictures = [
        np.stack(np.broadcast_arrays(i, np.arange(h)[:, None], np.arange(w)), axis=-1).astype(
            np.uint8
        )
        for i, (h, w) in enumerate([(20, 30), (16, 16), (40, 17)])
    ]
    got = patches.draw(pictures, seed=0, count=400, size=16)
    assert got.shape == (400, 16, 16, 3)
    for patch in got:
        which, top, left = patch[0, 0]
        expected = pictures[which][top : top + 16, left : left + 16]
        np.testing.assert_array_equal(patch, expected)
    assert set(got[:, 0, 0, 0]) == {0, 1, 2}
    # Every place of the first picture: rows 0 to 4, columns 0 to 14.
    first = got[got[:, 0, 0, 0] == 0]
    assert set(first[:, 0, 0, 1]) == set(range(5))
    assert (first[:, 0, 0, 2].min(), first[:, 0, 0, 2].max()) == (0, 14)


def test_the_seed_decides():
    picture = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)]
    one, same, other = (patches.draw(picture, seed, count=9) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_picture_smaller_than_a_patch_is_refused():
    with pytest.raises(UserError, match="15×20"):
        patches.draw([np.zeros((15, 20, 3), np.uint8)], seed=0)


def test_the_photographs_give_ten_thousand_patches():
    data = load("patches", data_seed=3).check()
    assert data.images.shape == (10_240, 16, 16, 1)
    assert (data.images.min(), data.images.max()) == (np.float32(0.1), np.float32(0.9))
    assert data.classes == ()
    np.testing.assert_array_equal(data.train, np.arange(10_240))
    np.testing.assert_array_equal(data.test, data.train)
    assert len(data.validation) == 0
    raw = raw_patches("patches", data_seed=3)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(preprocess(raw), data.images)
    held = load("patches", data_seed=3, validation=40).check()
    assert (len(held.train), len(held.validation), len(held.test)) == (10_200, 40, 10_200)
    assert not set(held.validation) & set(held.train)


def test_patches_of_another_data_set():
    data = load("patches:digits")
    assert data.images.shape == (10_240, 16, 16, 1)
    raw = raw_patches("patches:digits")
    # Enlarged fourfold and grey: so are the patches.
    assert (raw[..., 0] == raw[..., 2]).all()
    with pytest.raises(UserError, match="mnist"):
        load("patches:mnist")


def test_without_scikit_image_one_line_names_the_extra(monkeypatch):
    found = patches.importlib.util.find_spec
    monkeypatch.setattr(
        patches.importlib.util, "find_spec", lambda n: None if n == "skimage" else found(n)
    )
    with pytest.raises(UserError, match=r"jaxcv\[autoencoder\]") as caught:
        load("patches")
    assert "\n" not in str(caught.value)


# --- HDF5 ---------------------------------------------------------------------------------------


def written(path, **arrays) -> str:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return str(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("first", [True, False])
def test_either_order_of_channels_is_read(tmp_path, rng, first, dtype):
    images = rng.integers(0, 256, (7, 5, 6, 3)).astype(dtype)
    stored = np.moveaxis(images, -1, 1) if first else images
    file = written(tmp_path / "a.h5", group__patches=stored, labels=np.arange(7))
    data = load("patches", data_file=file).check()
    np.testing.assert_array_equal(data.images, preprocess(images))
    np.testing.assert_array_equal(raw_patches("patches", data_file=file), images)


def test_a_name_chooses_among_several(tmp_path, rng):
    one, two = rng.uniform(size=(2, 4, 5, 5, 3))
    file = written(tmp_path / "a.h5", one=one, two=two)
    with pytest.raises(UserError, match="--data-key must be one of one, two"):
        load("patches", data_file=file)
    data = load("patches", data_file=file, data_key="two")
    np.testing.assert_array_equal(data.images, preprocess(two))
    file = written(tmp_path / "b.h5", other=one, data=two)
    np.testing.assert_array_equal(load("patches", data_file=file).images, preprocess(two))


@pytest.mark.parametrize(
    ("arrays", "key", "said"),
    [
        ({"x": np.zeros((3, 4, 4))}, None, "no data set has the shape"),
        ({"x": np.zeros((0, 3, 4, 4))}, None, "no data set has the shape"),
        ({"x": np.zeros((2, 4, 4, 2))}, None, "no data set has the shape"),
        ({"x": np.ones((2, 3, 4, 4), bool)}, None, "no data set has the shape"),
        ({"x": np.full((2, 3, 4, 4), np.nan)}, None, "NaN"),
        ({"x": np.full((2, 3, 4, 4), np.inf)}, None, "infinite"),
        ({"x": np.full((2, 3, 4, 4), 0.1)}, None, "one colour"),
        ({"x": np.zeros((2, 3, 4, 4))}, "y", "y is not in it"),
        ({"x": np.zeros((2, 3, 4, 4)), "y": np.zeros(3)}, "y", "y has another shape"),
        ({}, None, "no data set"),
    ],
)
def test_a_file_without_fitting_images_is_one_line(tmp_path, arrays, key, said):
    file = written(tmp_path / "a.h5", **arrays)
    with pytest.raises(UserError, match=said) as caught:
        load("patches", data_file=file, data_key=key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, b"text" * 99])
def test_a_file_that_is_no_hdf5_is_one_line(tmp_path, content):
    path = tmp_path / "a.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.h5") as caught:
        load("patches", data_file=str(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path, rng):
    path = tmp_path / "a.h5"
    written(path, x=rng.uniform(size=(50, 3, 8, 8)))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match="HDF5") as caught:
        load("patches", data_file=str(path))
    assert "\n" not in str(caught.value)


def test_files_and_keys_belong_to_patches():
    with pytest.raises(UserError, match="--data must be patches"):
        load("digits", data_file="a.h5")
    with pytest.raises(UserError, match="--data-file"):
        load("patches", data_key="x")
