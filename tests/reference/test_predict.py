import numpy as np
import pytest

from jaxcv.reference import predict_cnn


def network(size=8, channels=3, features=(4, 5), classes=10):
    rng = np.random.default_rng(0)
    shapes = {
        "Conv_0": (3, 3, channels, features[0]),
        "Conv_1": (3, 3, *features),
        "Dense_0": ((size // 4) ** 2 * features[1], classes),
    }
    return {
        name: {"kernel": rng.normal(size=shape), "bias": rng.normal(size=shape[-1])}
        for name, shape in shapes.items()
    }


def images(batch=3, size=8, channels=3):
    return np.random.default_rng(1).uniform(0, 1, (batch, size, size, channels))


def by_pixels(params, image):
    """The network written as loops over pixels."""
    for name in ("Conv_0", "Conv_1"):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        height, width, _ = image.shape
        conv = np.zeros((height, width, kernel.shape[3]))
        for i, j, a, b in np.ndindex(height, width, 3, 3):
            if 0 <= i + a - 1 < height and 0 <= j + b - 1 < width:
                conv[i, j] += np.einsum("c,co->o", image[i + a - 1, j + b - 1], kernel[a, b])
        conv = np.clip(conv + bias, 0, None)
        image = np.zeros((height // 2, width // 2, kernel.shape[3]))
        for i, j in np.ndindex(height // 2, width // 2):
            image[i, j] = conv[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(0, 1))
    logits = image.ravel() @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


@pytest.mark.parametrize("size", [8, 9, 4])
def test_equals_loops_over_pixels(size):
    params, batch = network(size), images(size=size)
    probabilities = predict_cnn(params, batch)
    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-14)
    for image, row in zip(batch, probabilities, strict=True):
        np.testing.assert_allclose(row, by_pixels(params, image), rtol=1e-10, atol=1e-14)


def test_one_image_gives_one_row():
    params, batch = network(), images()
    np.testing.assert_allclose(predict_cnn(params, batch[1]), predict_cnn(params, batch)[1])


def test_mean_and_scale_prepare_the_pixels():
    params = network()
    pixels = np.random.default_rng(2).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    mean = np.array([120.0, 110.0, 100.0])
    np.testing.assert_allclose(
        predict_cnn(params, pixels, mean=mean, scale=255.0),
        predict_cnn(params, (pixels - mean) / 255.0),
    )
    whole = np.full((8, 8, 3), 0.5)
    np.testing.assert_allclose(
        predict_cnn(params, images()[0], mean=whole), predict_cnn(params, images()[0] - 0.5)
    )


def test_wrapped_shuffled_and_other_names():
    params, batch = network(), images()
    expected = predict_cnn(params, batch)
    np.testing.assert_array_equal(predict_cnn({"params": params}, batch), expected)
    np.testing.assert_array_equal(predict_cnn(dict(reversed(params.items())), batch), expected)
    renamed = {
        "layer_10": params["Conv_1"],
        "layer_2": params["Conv_0"],
        "head": params["Dense_0"],
    }
    np.testing.assert_array_equal(predict_cnn(renamed, batch), expected)


def without(params, name, part=None):
    copy = {key: dict(layer) for key, layer in params.items()}
    if part is None:
        del copy[name]
    else:
        del copy[name][part]
    return copy


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (without(network(), "Conv_1"), "expected 2 convolutions and 1 dense layers, got 1 and 1"),
        (without(network(), "Dense_0"), "got 2 and 0"),
        (without(network(), "Conv_0", "bias"), "layer 'Conv_0' must hold a kernel and a bias"),
        (network() | {"Conv_1": np.ones(3)}, "layer 'Conv_1' must hold a kernel and a bias"),
        (
            network() | {"Conv_1": {"kernel": np.ones((3, 4, 5)), "bias": np.ones(5)}},
            "the kernel of 'Conv_1' must have 4 or 2 axes, got 3",
        ),
        (network(size=12), "x has 20 features, kernel takes 45"),
        (network(channels=1), "x has 3 channels, kernel takes 1"),
    ],
)
def test_refuses_other_networks(params, message):
    with pytest.raises(ValueError, match=message):
        predict_cnn(params, images())


def test_refuses_other_images():
    with pytest.raises(ValueError, match=r"image must have axes \(..., height, width, channels\)"):
        predict_cnn(network(), np.ones((8, 8)))
    with pytest.raises(ValueError, match="image must not be empty"):
        predict_cnn(network(), images()[:0])
    with pytest.raises(ValueError, match="mean and scale must fit an image of shape"):
        predict_cnn(network(), images()[0], mean=np.ones((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="x must have axes"):
        predict_cnn(network(), images()[None])
