"""The sliding window: one pass equals every crop, and what it refuses."""

import functools
import re

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params

import jaxcnn
from jaxcnn.augment.compose import normalize
from jaxcnn.config import DataConfig, Normalization, Resize
from jaxcnn.data.decode import with_channels
from jaxcnn.data.resize import resize
from jaxcnn.detection.sliding import Sliding
from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import SqueezeExcite
from jaxcnn.models.network import Network
from jaxcnn.models.registry import get_variant
from jaxcnn.trained import Trained

NORMALIZATION = Normalization(mean=(0.4,), std=(0.3,))


def filled(model, size, channels):
    """Variables that keep activations of one size; made without the initializers, which take long to compile."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, channels)))
    random = np.random.default_rng(0)

    def values(path, leaf):
        noise = random.standard_normal(leaf.shape, np.float32)
        if path[-1] == "kernel":
            return noise * (2 / np.prod(leaf.shape[:-1])) ** 0.5
        return 1 + 0.2 * abs(noise) if path[-1] in ("scale", "var") else 0.1 * noise

    flat = flax.traverse_util.flatten_dict(shapes)
    return flax.traverse_util.unflatten_dict({path: values(path, leaf) for path, leaf in flat.items()})


def trained(model, size, channels=3):
    data = DataConfig(channels=channels, evaluation_crop=Resize(size=size))
    return Trained(model, filled(model, size, channels), model.num_classes, None, data, NORMALIZATION)


@functools.cache
def small(name):
    """A network of few features."""
    match name:
        case "lenet":
            return trained(jaxcnn.create_model("lenet"), 32, 1)
        case "alexnet":
            model = jaxcnn.create_model("alexnet", num_classes=10)
            thin = (convolution._replace(features=8) for convolution in model.convolutions)
            return trained(model.clone(convolutions=tuple(thin), hidden_features=16), 224)
        case "vgg11":
            return trained(jaxcnn.create_model("vgg11", num_classes=10).clone(width=2), 224)
        case "resnet":
            model = jaxcnn.create_model("resnet20_cifar")
            return trained(model.clone(stage_sizes=(1, 1, 1), width=8), 32)
    raise KeyError(name)


def noise(height, width, channels=3):
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


def answer(network, pictures):
    """The network's own logits."""

    def run(variables, pictures):
        return network.model.apply(variables, normalize(pictures, NORMALIZATION))

    return jax.jit(run)(network.variables, pictures)


def answer_in_surroundings(sliding, picture, row, column, context):
    """The logits of the crop around a window, read at the window's own positions of the last map."""
    (cells, total), window = sliding.grid, sliding.window
    top, left = (index * sliding.stride for index in (row, column))
    above, before = max(0, top - context), max(0, left - context)
    crop = picture[above : top + window + context, before : left + window + context]
    own = tuple(
        slice((start - edge) // total, (start - edge) // total + cells)
        for start, edge in ((top, above), (left, before))
    )

    def read(call, arguments, options, context):
        if context.method_name == "last_map":
            return arguments[0][:, own[0], own[1]]
        return call(*arguments, **options)

    with nn.intercept_methods(read):
        return answer(sliding.trained, crop[None])[0]


@functools.cache
def sliding_small(name):
    return Sliding(small(name), scales=(1,))


def check_windows(sliding, height, width, where):
    """Compares the pass with the crops of some windows, (row, column); -1 is the last, None is the middle."""
    network = sliding.trained
    (level,) = sliding.levels(height, width)
    image = noise(height, width)
    picture = resize(with_channels(image, network.data.channels), level.height, level.width, "bilinear")
    found = np.asarray(sliding.scores(image).scores).reshape(level.rows, level.columns, -1)
    worst = 0.0
    for place in where:
        row, column = (
            count // 2 if index is None else index % count
            for index, count in zip(place, (level.rows, level.columns), strict=True)
        )
        expected = answer_in_surroundings(sliding, picture, row, column, sliding.context)
        largest = np.abs(expected).max()
        worst = max(worst, np.abs(found[row, column] - expected).max() / largest)
    print(type(network.model).__name__, sliding.grid, sliding.context, level, f"{worst:.1e}")
    assert worst < 1e-5  # so scores of up to 10, which trained networks have, agree to 1e-4


def test_windows_of_a_network_without_padding_have_the_scores_of_their_crops():
    network = small("lenet")
    sliding = Sliding(network, stride=8, scales=(1, 0.6))
    assert sliding.context == 0
    image = noise(58, 93)
    boxes, scores = sliding.scores(image)
    crops = []
    for level in sliding.levels(58, 93):
        picture = resize(with_channels(image, 1), level.height, level.width, "bilinear")
        scale = np.array([level.width / 93, level.height / 58] * 2)
        for left, top, right, bottom in np.rint(boxes[len(crops) :][: level.rows * level.columns] * scale).astype(int):
            crops.append(picture[top:bottom, left:right])
    assert len(crops) == len(boxes) == len(scores) == 4 * 9 + 1 * 4
    expected = np.asarray(answer(network, np.stack(crops)))
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "width", "places"),
    [
        pytest.param("alexnet", 224 + 7 * 32, ((1, None),), marks=pytest.mark.slow),
        pytest.param("vgg11", 224 + 5 * 32, ((1, None),), marks=pytest.mark.slow),
        ("resnet", 32 + 8 * 8, ((0, None), (-1, -1))),
    ],
)
def test_windows_have_the_scores_of_their_crops_with_surroundings(name, width, places):
    sliding = sliding_small(name)
    check_windows(sliding, sliding.window + 32, width, places)


def test_a_window_sees_as_far_as_is_said_and_no_less():
    sliding, image = sliding_small("resnet"), noise(32, 96)
    middle = sliding.levels(32, 96)[0].columns // 2
    found = sliding.scores(image).scores[middle]
    near, far = (answer_in_surroundings(sliding, image, 0, middle, sliding.context - less) for less in (4, 0))
    # Pixels to each side: 1 and 2 of the stem and the first stage, 1 and 2 of the second, 2 and 4 of the third.
    assert sliding.context == 12
    assert np.abs(found - near).max() > 1e-3 > 1e-4 > np.abs(found - far).max()


def test_a_picture_of_one_window_has_the_networks_own_scores():
    check_one_window(sliding_small("resnet"))


def check_one_window(sliding):
    size = sliding.window
    image = noise(size, size, sliding.trained.data.channels)
    boxes, scores = sliding.scores(image)
    assert boxes.tolist() == [[0, 0, size, size]]
    expected = np.asarray(answer(sliding.trained, image[None]))
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("kind", "stride"), [("padded", None), ("with gates", 5)])
def test_windows_by_themselves_have_the_scores_of_their_crops_with_any_network(kind, stride):
    network = small("resnet") if kind == "padded" else trained(Gated(num_classes=3), 16)
    sliding = Sliding(network, stride=stride, scales=(1,), shared=False)
    assert sliding.context == 0
    (level,) = sliding.levels(41, 58)
    assert level.rows * level.columns > 3 * 4
    image, window = noise(level.height, level.width), sliding.window
    boxes, scores = sliding.scores(image)
    crops = [image[top : top + window, left : left + window] for left, top in np.rint(boxes[:, :2]).astype(int)]
    expected = np.asarray(answer(network, np.stack(crops)))
    assert len(boxes) == len(scores) == level.rows * level.columns
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()


def convolved(jaxpr):
    """The shapes of the images of all convolutions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation.invars[0].aval.shape
        for inner in jaxprs_in_params(equation.params):
            yield from convolved(inner)


def test_all_windows_share_one_pass():
    network = small("lenet")
    network = Trained(network.model.clone(lowering="xla"), network.variables, 10, None, network.data, NORMALIZATION)
    sliding = Sliding(network)
    level = sliding.levels(192, 192)[2]
    windows = level.rows * level.columns
    picture = jax.ShapeDtypeStruct((1, level.height, level.width, 1), jnp.uint8)
    shapes = list(convolved(jax.make_jaxpr(sliding.window_logits)(network.variables, picture).jaxpr))
    assert shapes == [(1, 192, 192, 1), (1, 94, 94, 6)]  # each convolution sees the picture once

    crops = jax.ShapeDtypeStruct((windows, 32, 32, 1), jnp.uint8)
    one_pass, every_crop = (
        jax.jit(function).lower(network.variables, images).cost_analysis()["flops"]
        for function, images in (
            (sliding.window_logits, picture),
            (lambda variables, images: network.model.apply(variables, normalize(images, NORMALIZATION)), crops),
        )
    )
    assert windows == 41 * 41
    assert every_crop / one_pass > 5  # a crop takes 7 times what its dense layers do, which share nothing


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 900), st.integers(20, 900), st.sampled_from([(4, 1.0), (8, 0.5), (16, 2.0), (4, 0.71)]))
def test_windows_cover_the_image_and_nothing_else(height, width, steps):
    stride, scale = steps
    sliding = sliding_lenet(stride, scale)
    if round(min(height, width) * scale) < 32:
        with pytest.raises(UserError, match=f"{height}x{width} pixels is smaller than the window of 32x32 at all"):
            sliding.levels(height, width)
        return
    (level,) = sliding.levels(height, width)
    for side, count, length in ((level.height, level.rows, height), (level.width, level.columns, width)):
        assert side == 32 + (count - 1) * stride
        steps = (scale * length - 32) / stride
        assert abs(side - scale * length) <= stride * max(1, steps / 8) / 2 + 0.5


@functools.cache
def sliding_lenet(stride, scale):
    return Sliding(small("lenet"), stride=stride, scales=(scale,))


def test_boxes_reach_the_borders_of_the_image():
    boxes, scores = sliding_lenet(16, 2.0).scores(noise(41, 67))
    assert boxes.dtype == scores.dtype == np.float32
    np.testing.assert_allclose([*boxes.min(0)[:2], *boxes.max(0)[2:]], [0, 0, 67, 41], atol=1e-4)


def test_images_of_all_sizes_have_few_shapes():
    sliding = sliding_lenet(4, 1.0)
    assert len({sliding.levels(height, 500)[0].height for height in range(32, 1000)}) < 60


class Bright(Network):
    """A network that tells bright windows from dark ones, and knows a third class that it never sees."""

    mixing: bool = False
    told: bool = True

    @nn.compact
    def __call__(self, images, *, train=False):
        x = self.conv(kernel_init=nn.initializers.constant(1 / 16))(1, (4, 4), strides=(4, 4), name="mean")(images)
        if self.mixing:
            x = x - x.mean((1, 2), keepdims=True)
        x = self.last_map(x) if self.told else x
        light = 10 * x.mean((1, 2))
        return jnp.concatenate([-light, light, 0 * light - 20], -1)


class Gated(Network):
    """A network with squeeze and excitation."""

    @nn.compact
    def __call__(self, images, *, train=False):
        x = SqueezeExcite(2, name="gate")(self.conv()(3, (3, 3), name="conv")(images))
        return self.last_map(x).mean((1, 2))


def bright(**options):
    model = Bright(num_classes=3, **options)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    data = DataConfig(channels=1, evaluation_crop=Resize(size=16))
    return Trained(model, variables, 3, None, data, Normalization(mean=(0.5,), std=(0.5,)))


def test_what_is_probable_is_detected_once():
    image = np.zeros((64, 80, 3), np.uint8)
    image[20:36, 40:56] = 255
    sliding = Sliding(bright(), scales=(1,))
    found = sliding.detect(image, background=0, threshold=0.9)
    assert found.boxes.tolist() == [[40, 20, 56, 36]]
    assert found.labels.tolist() == [0]  # the labels are counted without the background
    assert found.scores[0] > 0.99
    assert len(sliding.detect(np.zeros_like(image), background=0, threshold=0.9)) == 0
    everything = sliding.detect(image, threshold=0.9, overlap=0.0)
    assert {0, 1} == set(everything.labels.tolist())
    dark = everything.boxes[everything.labels == 0]
    assert len(dark) > 5
    assert len(sliding.detect(image, threshold=0.9, overlap=0.0, limit=2)) == 3


REFUSED = {
    "stride": (
        lambda: Sliding(small("lenet"), stride=6),
        "a stride of 6 pixels is not a positive multiple of 4, .* take 8, or .*shared=False",
    ),
    "no stride": (lambda: Sliding(small("lenet"), stride=0), "a stride of 0 pixels .* take 4"),
    "scales": (lambda: Sliding(small("lenet"), scales=()), "scales .* are not positive"),
    "a negative scale": (lambda: Sliding(small("lenet"), scales=(1, -2)), r"\(1, -2\) .* are not positive"),
    "window": (lambda: Sliding(small("lenet"), window=8), "images of 8x8.*the window.*at least 16x16"),
    "another window": (lambda: Sliding(small("lenet"), window=48), r"images of 48x48x1 \(the window\) do not fit"),
    "no last map": (lambda: Sliding(bright(told=False)), "Bright does not say which map is its last, .*last_map"),
    "a mixing layer": (lambda: Sliding(bright(mixing=True)).context, "Bright has layers .* see the whole image"),
    "gates": (lambda: Sliding(trained(Gated(num_classes=3), 16)), "Gated has layers .* without squeeze and excitation"),
    "one size": (lambda: Sliding(trained(jaxcnn.create_model("lenet5"), 32, 1)), "LeNet5 takes images of one size"),
    "small image": (
        lambda: Sliding(small("lenet"), scales=(0.5, 1)).scores(noise(20, 90)),
        "20x90 pixels is smaller than the window of 32x32 at all scales, .* largest is 1: add a scale of 1.6",
    ),
    "large image": (lambda: sliding_lenet(16, 2.0).levels(10**5, 10**5), "too large at the scale 2: leave out"),
    "no pixels": (lambda: sliding_lenet(4, 1.0).scores(np.zeros((40, 40, 3))), "float64 and shape .*: give uint8"),
    "background": (
        lambda: sliding_lenet(4, 1.0).detect(noise(40, 40), background=10),
        "class 10 cannot be the background of a network with the classes 0 to 9",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_gets_a_sentence(mistake):
    run, message = REFUSED[mistake]
    with pytest.raises(UserError) as raised:
        run()
    assert re.search(message, str(raised.value))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("lenet", "alexnet", "alexnet_2012", "vgg16", "resnet18", "resnet50"),
        *("densenet121", "regnet_x_200mf", "convnext_tiny", "efficientnet_lite0"),
        *("bn_inception", "googlenet"),
    ],
)
def test_windows_of_a_network_of_its_real_size_have_the_scores_of_their_crops(name):
    variant, model = get_variant(name), jaxcnn.create_model(name)
    if name == "convnext_tiny":
        model = model.clone(stage_sizes=(1, 1, 1, 1))  # of all its blocks, a window would see 900 pixels to each side
    network = trained(model, variant.input_size, variant.channels)
    size, sliding = variant.input_size, Sliding(network, scales=(1,))
    width = size + 2 * min(sliding.context, 640) + 2 * sliding.stride
    check_windows(sliding, size + sliding.stride, width, ((1, None), (-1, -1)))
    check_one_window(sliding)
