"""What explains an answer, held against the formulas of the papers, written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import DataConfig
from jaxcnn.errors import UserError
from jaxcnn.explanations.gradients import grad_cam, integrated_gradients
from jaxcnn.explanations.image import class_of, map_layers, seen_pixels, stage_layers
from jaxcnn.explanations.maps import feature_maps, strongest
from jaxcnn.explanations.maximization import preferred_images
from jaxcnn.explanations.neighbours import nearest_images
from jaxcnn.explanations.occlusion import occlusion
from tests.explanations.small import NAMES, SIZE, Two, network, square


def silu(x):
    return x / (1 + np.exp(-x))


def silu_slope(x):
    sigmoid = 1 / (1 + np.exp(-x))
    return sigmoid * (1 + x * (1 - sigmoid))


def test_grad_cam_is_the_papers_formula_on_stored_activations_and_gradients():
    """The gradients behind the last map are derived by hand, and everything is summed by loops in float64."""
    ours, label = network(), 1
    found = grad_cam(ours, square(), label, "stage1_conv")
    activations = feature_maps(ours, square(), ["stage1_conv"])["stage1_conv"].astype(np.float64)
    height, width, channels = activations.shape
    head = np.float64(ours.variables["params"]["head"]["kernel"])
    # Behind the map silu comes twice, and then the mean over all positions, of which the dense layer makes logits.
    slope = silu_slope(activations) * silu_slope(silu(activations))
    gradients = head[:, label] / (height * width) * slope
    expected = np.zeros((height, width))
    for k in range(channels):
        alpha = gradients[..., k].sum() / (height * width)  # equation 1
        expected += alpha * activations[..., k]
    expected = np.maximum(expected, 0)  # equation 2
    assert expected.max() > 1e-3
    np.testing.assert_allclose(found.map, expected, atol=1e-5 * expected.max())


def test_grad_cam_of_an_earlier_layer_is_the_papers_formula():
    """Behind the first layer comes the second, whose part of the network is written out as a function of the map."""
    ours, label = network(), 2
    params = ours.variables["params"]
    activations = jnp.asarray(feature_maps(ours, square(), ["stem_conv"])["stem_conv"])

    def logit(activations):
        kernel, bias = params["stage1_conv"]["kernel"], params["stage1_conv"].get("bias", 0)
        x = jax.lax.conv_general_dilated(
            jax.nn.silu(activations)[None], kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )  # fmt: skip
        x = jax.nn.silu(jax.nn.silu(x + bias)).mean((1, 2))
        return (x[0] @ params["head"]["kernel"] + params["head"]["bias"])[label]

    gradients = np.asarray(jax.grad(logit)(activations))
    expected = np.maximum((gradients.mean((0, 1)) * np.asarray(activations)).sum(-1), 0)
    assert expected.max() > 0
    found = grad_cam(ours, square(), label, "stem_conv").map
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_integrated_gradients_sum_to_the_difference_of_the_logits(baseline):
    """To a thousandth of it, as asked; where points run out, the gap is told."""
    ours = network()
    found = integrated_gradients(ours, square(), 1, tolerance=1e-3, baseline=baseline)
    mean = np.array(ours.normalization.mean if baseline == "mean" else [0, 0, 0])
    logits = [
        ours.model.apply(ours.variables, jnp.asarray((levels / 255 - ours.normalization.mean) / 0.2)[None])[0, 1]
        for levels in (np.broadcast_to(255 * mean, (SIZE, SIZE, 3)), square())
    ]
    difference = float(logits[1] - logits[0])
    assert abs(difference) > 0.01
    assert found.difference == pytest.approx(difference, abs=1e-5)
    assert float(found.attributions.sum(dtype=np.float64)) == pytest.approx(difference, rel=1e-3)
    assert found.gap == pytest.approx(0, abs=1e-3 * abs(difference))


def test_integrated_gradients_take_more_points_where_the_logit_bends():
    """The activations of this network bend sharply, which four pieces of the line do not follow."""
    ours = network(Two(num_classes=len(NAMES), sharpness=200.0))
    rough, fine = (integrated_gradients(ours, square(), 0, tolerance=1e-4, most_points=most) for most in (1, 512))
    assert rough.points == 32
    assert 32 < fine.points <= 512
    assert abs(rough.gap) > 1e-3 * abs(rough.difference)
    assert abs(fine.gap) <= 1.01e-4 * abs(fine.difference)


def test_occlusion_is_the_mean_drop_of_the_patches_over_a_pixel():
    ours, image = network(), square()
    found = occlusion(ours, image, 1, patch=5, stride=3)
    fill = 255 * np.array(ours.normalization.mean, np.float32)

    def probability(levels):
        normalized = (levels / 255 - np.array(ours.normalization.mean)) / 0.2
        return float(jax.nn.softmax(ours.model.apply(ours.variables, jnp.asarray(normalized)[None]))[0, 1])

    drops = [[[] for _ in range(SIZE)] for _ in range(SIZE)]
    for top in (0, 3, 6, 7):
        for left in (0, 3, 6, 7):
            covered = image.astype(np.float32)
            covered[top : top + 5, left : left + 5] = fill
            drop = probability(image) - probability(covered)
            for y in range(top, top + 5):
                for x in range(left, left + 5):
                    drops[y][x].append(drop)
    expected = np.array([[np.mean(each) for each in row] for row in drops])
    np.testing.assert_allclose(found.drop, expected, atol=1e-5)
    assert (found.patch, found.stride) == (5, 3)
    assert np.ptp(found.drop) > 1e-4


def test_layers_that_put_out_maps_and_the_stages_that_they_end():
    ours = network()
    assert [layer.name for layer in map_layers(ours)] == ["stem_conv", "stage1_conv", "last_map"]
    assert {stage: layer.name for stage, layer in stage_layers(ours).items()} == {
        "stem": "stem_conv", "stage 1": "stage1_conv", "last": "last_map",
    }  # fmt: skip
    assert grad_cam(ours, square(), 1).layer == "last_map"
    last = list(stage_layers(ours).values())[-1].name
    maps = feature_maps(ours, square(), [last])[last]
    assert strongest(maps, 3).tolist() == sorted(range(maps.shape[-1]), key=lambda k: -maps[..., k].mean())[:3]


def test_the_nearest_training_image_of_one_of_them_is_itself(tmp_path):
    """Also where the features are there already; they are cropped and converted as the network's own images are."""
    ours = network()
    data = DataConfig(name="digits")
    split = ours.with_images_of(data).data
    assert split.evaluation_crop == ours.data.evaluation_crop
    found = nearest_images(ours, square(), data, workdir=tmp_path / "features", count=3)
    similar = [each.similarity for each in found]
    assert similar == sorted(similar, reverse=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert before
    again = nearest_images(ours, found[1].pixels, data, workdir=tmp_path / "features", count=5)
    assert again[0].similarity == pytest.approx(1, abs=1e-6)
    itself = [each for each in again if each.name == found[1].name]
    assert [each.class_name for each in itself] == [found[1].class_name]
    assert itself[0].similarity == pytest.approx(1, abs=1e-6)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before


def test_what_a_network_sees_of_an_image():
    image = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)
    assert seen_pixels(network(), image).shape == (SIZE, SIZE, 3)


def test_classes_by_name_and_by_number():
    ours = network()
    assert [class_of(ours, each) for each in ("bright", "2")] == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ours: grad_cam(ours, square(), 3), "there is no class 3: give a number from 0 to 2"),
        (lambda ours: grad_cam(ours, square(), 0, "stage1_con"), "no layer 'stage1_con' .* did you mean 'stage1_conv'"),
        (lambda ours: grad_cam(ours, square(), 0, "head"), "no layer 'head' of this network puts out a map"),
        (lambda ours: integrated_gradients(ours, square(), 0, tolerance=0), "a tolerance of 0 is never reached"),
        (lambda ours: occlusion(ours, square(), 0, patch=13), "a patch of 13 does not fit an image of 12x12"),
        (lambda ours: occlusion(ours, square(), 0, patch=2, stride=3), "a stride of 3 leaves out pixels"),
        (lambda ours: nearest_images(ours, square(), DataConfig(name="digits"), count=0), "ask for at least 1"),
        (
            lambda ours: class_of(ours, "brigt"),
            "did you mean 'bright'?, or give a number from 0 to 2".replace("?", "."),
        ),
        (lambda ours: seen_pixels(ours, "no_such_file.jpg"), "no_such_file.jpg"),
    ],
)
def test_what_cannot_be_explained_is_told_in_one_sentence(call, message):
    with pytest.raises(UserError, match=message) as error:
        call(network())
    assert "\n" not in str(error.value)


def test_a_unit_answers_more_to_the_image_that_was_made_for_it():
    """More than to noise, and more than to the image that was made for another unit."""
    ours = network()
    images, answers = preferred_images(ours, "stage1_conv", [0, 3], steps=40, jitter=2)
    assert images.shape == (2, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    means = [feature_maps(ours, image, ["stage1_conv"])["stage1_conv"].mean((0, 1)) for image in (*images, square())]
    assert answers == pytest.approx([means[0][0], means[1][3]], abs=1e-5)
    assert answers[0] > max(means[1][0], means[2][0])
    assert answers[1] > max(means[0][3], means[2][3])
    again, _ = preferred_images(ours, "stage1_conv", [0, 3], steps=40, jitter=2)
    np.testing.assert_array_equal(images, again)
    other, _ = preferred_images(ours, "stage1_conv", [0, 3], steps=40, jitter=2, seed=1)
    assert (images != other).any()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("stage1_con", [0]), "did you mean 'stage1_conv'"),
        (("stage1_conv", [5]), "stage1_conv has no unit 5: give a number from 0 to 4"),
        (("stage1_conv", []), "no unit of stage1_conv is named"),
    ],
)
def test_units_that_are_not_there_are_refused(asked, message):
    with pytest.raises(UserError, match=message):
        preferred_images(network(), *asked)


def test_gradients_do_not_go_through_a_program():
    """As `load` makes one of a file: a network without variables."""
    program = dataclasses.replace(network(), variables={})
    for call in (grad_cam, integrated_gradients):
        with pytest.raises(UserError, match="this network is a program"):
            call(program, square(), 0)
    with pytest.raises(UserError, match="this network is a program"):
        preferred_images(program, "logits", [0])
