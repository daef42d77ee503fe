"""Each protocol against a reference written out by hand: a few images, one at a time, in NumPy."""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcnn.config import (
    CenterCrop,
    CenterCrops,
    ConfigError,
    DataConfig,
    Dense,
    FixedViews,
    GooglenetCrops,
    Normalization,
    SingleCrop,
    TenCrop,
    option_group,
)
from jaxcnn.config.options import PositiveInt
from jaxcnn.data.crop import CropError
from jaxcnn.data.opening import open_split
from jaxcnn.data.views import PROTOCOLS, register_protocol, view_count
from jaxcnn.devices.feed import Feed
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.evaluation.predictions import Predictions, average_networks
from jaxcnn.layers.blocks import FullyConnectedClassifier
from jaxcnn.models.registry import create_model
from jaxcnn.networks import check_views, make_evaluator

SHAPES = ((30, 41), (45, 30), (32, 32), (30, 41), (29, 70), (41, 30), (30, 41)) + ((30, 41),) * 6
"""The 13 images are a batch of 8, and 5 left over."""
IMAGES = len(SHAPES)
LETTERS = "abcdefghijklm"
NORMALIZATION = Normalization(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


class Tiny(nn.Module):
    """A network that sees where things are: a convolution, a ReLU, and a mean."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.relu(nn.Conv(6, (5, 5), strides=(3, 3), padding="VALID", name="conv")(images))
        return nn.Dense(IMAGES, name="dense")(x.mean((1, 2)))


@pytest.fixture(scope="module")
def network():
    model = Tiny()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)
    return model, jax.tree.map(lambda leaf: 4 * leaf, variables)  # far from uniform, so that softmax matters


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for letter, shape in zip(LETTERS, SHAPES, strict=True):
        (root / "val" / letter).mkdir(parents=True)
        pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "val" / letter / "photo.png")
    return root


def data(folder, **changes):
    return DataConfig(name=f"folder:{folder}", evaluation_crop=CenterCrop(size=16, resize=20), **changes)


def scaled(path, short):
    """The short side scaled by Pillow, the long one rounded down."""
    picture = Image.open(path)
    width, height = picture.size
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    return picture.resize(size, Image.Resampling.BILINEAR)


def five(picture, size):
    width, height = picture.size
    middle = (round((width - size) / 2), round((height - size) / 2))
    corners = [(0, 0), (width - size, 0), (0, height - size), (width - size, height - size), middle]
    return [picture.crop((left, top, left + size, top + size)) for left, top in corners]


def mirrored(pictures):
    return [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]


def square(picture, short, third):
    width, height = picture.size
    left, top = (round((length - short) / 2 * third) for length in (width, height))
    return picture.crop((left, top, left + short, top + short))


def ten_of_centre(path):
    crops = five(square(scaled(path, 20), 20, 1), 16)
    return crops + mirrored(crops)


def ten_of_whole(path):
    views = []
    for short in (16, 21):
        crops, flipped = five(scaled(path, short), 16), mirrored([scaled(path, short)])[0]
        views += crops + five(flipped, 16)
    return views


def googlenet(path):
    views = []
    for short in (18, 20, 22, 24):
        picture = scaled(path, short)
        for third in (0, 1, 2):
            cut = square(picture, short, third)
            views += [*five(cut, 16), cut.resize((16, 16), Image.Resampling.BILINEAR)]
    return views + mirrored(views)


def centres(path):
    views = [five(scaled(path, short), 16)[4] for short in (16, 20, 25)]
    return views + mirrored(views)


def whole(path):
    views = [scaled(path, short) for short in (16, 22)]
    return views + mirrored(views)


OURS = {
    "single": (SingleCrop(), lambda path: [five(scaled(path, 20), 16)[4]]),
    "alexnet": (TenCrop(size=16, short_sides=(20,)), ten_of_centre),
    "torchvision, two scales": (TenCrop(size=16, short_sides=(16, 21), from_center_square=False), ten_of_whole),
    "googlenet": (GooglenetCrops(size=16, short_sides=(18, 20, 22, 24)), googlenet),
    "centres": (CenterCrops(size=16, short_sides=(16, 20, 25), flip=True), centres),
    "vgg": (Dense(short_sides=(16, 22)), whole),
    "resnet": (Dense(short_sides=(16, 22), average="scores"), whole),
}


class TinyVGG(nn.Module):
    """`Tiny` with VGG's dense layers instead of the mean."""

    fully_convolutional: bool = False

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.relu(nn.Conv(6, (5, 5), strides=(3, 3), padding="VALID", name="conv")(images))
        initializers = {"kernel_init": nn.initializers.normal(0.5), "bias_init": nn.initializers.normal(0.5)}
        return FullyConnectedClassifier(
            num_classes=IMAGES,
            hidden_features=8,
            size=(3, 3),
            train=train,
            fully_convolutional=self.fully_convolutional,
            dropout_rate=0.0,
            dropped="outputs",
            initializers=lambda name, inputs: initializers,
            lowering="xla",
            name="classifier",
        )(x)


def reference_dense_logits(params, pixels):
    """`TinyVGG` in NumPy, its dense layers at every position, one after another."""
    features = reference_features(params, pixels)
    layers = params["classifier"]
    rows, columns = features.shape[0] - 2, features.shape[1] - 2
    logits = []
    for row in range(rows):
        for column in range(columns):
            x = features[row : row + 3, column : column + 3].reshape(-1)
            x = np.maximum(x @ layers["fc6"]["kernel"].reshape(-1, 8) + layers["fc6"]["bias"], 0)
            x = np.maximum(x @ layers["fc7"]["kernel"] + layers["fc7"]["bias"], 0)
            logits.append(x @ layers["fc8"]["kernel"] + layers["fc8"]["bias"])
    assert len(logits) > 1
    return np.mean(logits, 0)


def reference(network, folder, views_of, average, logits_of=None):
    """Averaged scores or probabilities, (images, classes)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network[1]["params"])
    rows = []
    for letter in LETTERS:
        logits = []
        for picture in views_of(folder / "val" / letter / "photo.png"):
            pixels = (np.asarray(picture, np.float32) / 255 - NORMALIZATION.mean) / NORMALIZATION.std
            logits.append((logits_of or reference_logits)(params, pixels))
        logits = np.array(logits)
        softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        rows.append((logits if average == "scores" else softmax).mean(0))
    return np.array(rows)


def reference_features(params, pixels):
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (5, 5), axis=(0, 1))[::3, ::3]  # row, column, channel
    return np.maximum(np.einsum("hwcij,ijcf->hwf", windows, params["conv"]["kernel"]) + params["conv"]["bias"], 0)


def reference_logits(params, pixels):
    """`Tiny` in NumPy."""
    x = reference_features(params, pixels).mean((0, 1))
    return x @ params["dense"]["kernel"] + params["dense"]["bias"]


def softmax(scores):
    return np.asarray(jax.nn.softmax(scores))


def measure(network, folder, views, *, batch_size=32, count=1):
    return predict(network, open_split(data(folder), views=views), batch_size=batch_size, count=count)


def predict(network, split, *, batch_size, count):
    model, variables = network
    parallel = DataParallel.over(jax.devices()[:count])
    feed = Feed.for_evaluation(split, parallel, batch_size)
    evaluator = make_evaluator(model, NORMALIZATION, parallel, split.views, max(batch_size, feed.batch_size))
    (found,) = evaluator.predictions(feed, jax.device_put(variables, parallel.replicated))
    return found


@pytest.mark.parametrize("protocol", OURS)
def test_a_protocol_is_its_reference(network, folder, protocol):
    views, reference_views = OURS[protocol]
    average = getattr(views, "average", "scores")
    expected = reference(network, folder, reference_views, average)
    found = measure(network, folder, views)
    np.testing.assert_array_equal(found.labels, range(IMAGES))
    assert found.known.all()
    scores = found.scores if average == "scores" else np.exp(found.scores)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    # The averages of scores and of probabilities do differ.
    other = reference(network, folder, reference_views, {"scores": "probabilities"}.get(average, "scores"))
    if protocol != "single":
        other = other if average == "scores" else softmax(other)
        assert np.abs(other - (softmax(scores) if average == "scores" else scores)).max() > 1e-3


@pytest.mark.parametrize(
    ("protocol", "batch_size"),
    [("single", 1), ("single", 25), ("alexnet", 25), pytest.param("vgg", 1, marks=pytest.mark.slow)],
)
def test_batches_and_devices_change_nothing(network, folder, protocol, batch_size):
    """There are 13 images for 8 devices, so 5 are left for the second batch."""
    views, _ = OURS[protocol]
    expected, found = (measure(network, folder, views, batch_size=batch_size, count=count) for count in (1, 8))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    assert found.known.all()


@pytest.mark.slow
def test_dense_layers_see_every_position(folder):
    """VGG's protocol averages class score maps over positions, then probabilities over mirror images and scales."""
    model = TinyVGG()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 11, 11, 3)), train=False)
    expected = reference((model, variables), folder, whole, "probabilities", reference_dense_logits)
    found = measure((model, variables), folder, Dense(short_sides=(16, 22)))
    np.testing.assert_allclose(np.exp(found.scores), expected, rtol=1e-4, atol=1e-5)


def test_views_are_taken_in_turns_that_fit(network, folder):
    taken = []
    _, variables = network

    class Watched(Tiny):
        @nn.compact
        def __call__(self, images, *, train):
            taken.append(len(images))
            return super().__call__(images, train=train)

    measure((Watched(), variables), folder, GooglenetCrops(size=16, short_sides=(18, 20, 22, 24)), batch_size=50)
    assert set(taken) == {48}  # 144 in three turns


def test_an_unreadable_image_is_not_counted(network, folder, tmp_path):
    root = tmp_path / "photos"
    for letter in LETTERS:
        (root / "val" / letter).mkdir(parents=True)
        source = (folder / "val" / letter / "photo.png").read_bytes()
        (root / "val" / letter / "photo.png").write_bytes(source[: 200 if letter == "d" else None])
    for views in (TenCrop(size=16, short_sides=(20,)), Dense(short_sides=(16, 22))):
        split = open_split(data(root, max_bad_share=0.5), views=views)
        found = predict(network, split, batch_size=16, count=8)
        assert list(found.known) == [letter != "d" for letter in LETTERS]
        np.testing.assert_allclose(
            found.scores[found.known], measure(network, folder, views).scores[found.known], rtol=1e-4, atol=1e-5
        )
        assert found.result((1,)).images == 12


def test_networks_are_averaged_in_probabilities():
    rng = np.random.default_rng(0)
    labels, known = np.arange(5, dtype=np.int32), np.arange(5) != 2
    scores = [rng.normal(0, 3, (5, 6)).astype(np.float32) for _ in range(3)]
    found = average_networks([Predictions(each, labels, known) for each in scores])
    np.testing.assert_allclose(np.exp(found.scores), np.mean([softmax(each) for each in scores], 0), rtol=1e-5)
    result = found.result((1, 5))
    assert result.images == 4
    chosen = np.exp(found.scores)[known][np.arange(4), labels[known]]
    assert result.loss == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    with pytest.raises(UserError, match="not measured on the same images"):
        average_networks([Predictions(scores[0], labels, known), Predictions(scores[1], labels + 1, known)])


def test_dense_evaluation_uses_the_dense_layers_everywhere():
    """AlexNet's, which otherwise pools; a shape that the layers do not cover is refused before anything is read."""
    model = create_model("alexnet", num_classes=3, lowering="xla")
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)), train=False))
    check = functools.partial(check_views, model, variables, NORMALIZATION, DataConfig())
    check(Dense(short_sides=(224, 256)))
    with pytest.raises(UserError, match=r"images of 128x128x3 \(views.short_sides, data.channels\) do not fit .* map"):
        check(Dense(short_sides=(128,)))
    with pytest.raises(UserError, match=r"images of 16x16x3 \(views.size, data.channels\) do not fit this network"):
        check(TenCrop(size=16))


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(ConfigError, match="short_sides must each be at least size=224"):
        TenCrop(short_sides=(256, 200))
    with pytest.raises(UserError, match="residence 'device' keeps one cut of each image, and ten_crop takes several"):
        open_split(data(folder, residence="device"), views=TenCrop())


@option_group
class Diagonal(FixedViews):
    """Windows along the diagonal of an image as it is."""

    count: PositiveInt = 3
    """The number of windows."""
    average: Literal["probabilities", "scores"] = "scores"
    kind: Literal["diagonal"] = "diagonal"


def diagonal(image, views):
    height, width, _ = image.shape
    if min(height, width) < views.size:
        raise CropError("is too small for the diagonal")
    corners = [(step * (height - views.size) // 9, step * (width - views.size) // 9) for step in range(views.count)]
    return np.stack([image[top : top + views.size, left : left + views.size] for top, left in corners])


@pytest.fixture
def registered():
    with PROTOCOLS.temporarily():
        register_protocol(Diagonal, diagonal)
        yield


def diagonal_of(path):
    picture = Image.open(path)
    width, height = picture.size
    corners = [(step * (width - 16) // 9, step * (height - 16) // 9) for step in range(4)]
    return [picture.crop((left, top, left + 16, top + 16)) for left, top in corners]


@pytest.mark.usefixtures("registered")
def test_a_protocol_that_is_not_ours_is_its_reference(network, folder):
    views = Diagonal(size=16, count=4)
    assert view_count(views) == 4
    split = open_split(data(folder), views=views)
    assert split.image_shape == (4, 16, 16, 3)
    found = measure(network, folder, views, count=8)
    np.testing.assert_allclose(found.scores, reference(network, folder, diagonal_of, "scores"), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="residence 'device' keeps one cut of each image, and diagonal takes several"):
        open_split(data(folder, residence="device"), views=views)
    too_large = open_split(data(folder), views=Diagonal(size=31, count=1))
    with pytest.raises(UserError, match=r"photo\.png is too small for the diagonal"):
        list(too_large.evaluation_batches(13))
