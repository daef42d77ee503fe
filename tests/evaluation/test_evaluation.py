import contextlib
import dataclasses
import functools
import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.config import SingleCrop
from jaxcnn.devices.feed import Feed
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Evaluator, Interrupted
from jaxcnn.evaluation.metrics import rank_of_label, telling_top_k
from jaxcnn.evaluation.result import Result


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_rank_is_the_place_in_a_stable_descending_sort(classes, seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-2, 3, (5, classes)).astype(np.float32)  # small integers make ties
    labels = rng.integers(0, classes, 5).astype(np.int32)
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = [list(row).index(label) for row, label in zip(order, labels, strict=True)]
    np.testing.assert_array_equal(rank_of_label(jnp.asarray(logits), jnp.asarray(labels)), expected)


def test_nan_is_never_a_hit():
    logits = jnp.full((1, 4), jnp.nan)
    assert rank_of_label(logits, jnp.array([0]))[0] == 3
    assert rank_of_label(jnp.array([[jnp.nan, 1.0, 0.0, 0.0]]), jnp.array([1]))[0] == 1


def test_a_k_that_says_nothing_is_left_out(caplog):
    caplog.set_level(logging.INFO)
    assert telling_top_k((1, 5), 6) == (1, 5)
    assert not caplog.messages
    assert telling_top_k((1, 5), 3) == (1,)
    assert telling_top_k((10, 3, 5), 5) == (3,)
    assert caplog.messages == [
        "the top-5 error of 3 classes is always 0, and is left out",
        "the top-10 and top-5 error of 5 classes is always 0, and is left out",
    ]
    with pytest.raises(UserError, match=r"^the top-5 error of 3 classes is always 0: ask for k = 1$"):
        telling_top_k((5,), 3)
    with pytest.raises(UserError, match=r"^the top-1 and top-5 error of 1 class is always 0: give a data set of at"):
        telling_top_k((1, 5), 1)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """A resident split of images of one pixel, whose channels are the scores that a network of one number scales."""

    images: np.ndarray
    labels: np.ndarray
    name: str = "made pixels"
    views: SingleCrop = SingleCrop()  # noqa: RUF009
    appearances: int = 1
    views_per_image: int = 1
    unreadable: tuple[int, ...] = ()
    resident: bool = True

    @property
    def size(self):
        return len(self.labels)

    def evaluation_batches(self, batch_size, rows, first=0):
        """The contract of evaluation batches: padded, masked, in order."""
        for start in range(first, self.size, batch_size):
            index = start + rows
            mask = (index < self.size) & ~np.isin(index, self.unreadable)
            yield {"index": np.where(index < self.size, index, 0).astype(np.int32), "mask": mask}


def pixels(images, classes=7, unreadable=()):
    rng = np.random.default_rng(images)
    scores = rng.integers(0, 256, (images, 1, 1, classes)).astype(np.uint8)
    return Pixels(scores, rng.integers(0, classes, images).astype(np.int32), unreadable=unreadable)


def scaled(variables, images):
    return variables["scale"] * images[:, 0, 0].astype(jnp.float32)


def by(scale):
    """The network's variables."""
    return {"scale": jnp.float32(scale)}


def expected(split, scale, ks=(1, 3)):
    """Errors and mean cross-entropy in NumPy."""
    known = ~np.isin(np.arange(split.size), split.unreadable)
    logits, labels = scale * split.images[known, 0, 0].astype(np.float64), split.labels[known]
    order = np.argsort(-logits, axis=1, kind="stable")
    errors = {k: (order[:, :k] != labels[:, None]).all(1).mean() * 100 for k in ks}
    log_sum = np.log(np.exp(logits).sum(1))
    return errors, (log_sum - logits[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("batch_size", [8, 24, 64])
@pytest.mark.parametrize("images", [8, 37, 53])
def test_every_image_counts_once(devices, batch_size, images):
    """The same result whatever the batch size and the number of devices: 53 leaves 5 over 8 devices."""
    split, parallel = pixels(images), DataParallel.over(jax.devices()[:devices])
    feed, evaluator = Feed(split, parallel, batch_size), Evaluator(scaled, parallel)
    scales = jax.device_put((by(0.01), by(-0.01)), parallel.replicated)
    for scale, result in zip((0.01, -0.01), evaluator.results(feed, *scales, top_k=(1, 3)), strict=True):
        errors, loss = expected(split, scale)
        assert result.images == images
        assert result.errors == pytest.approx(errors)
        assert result.loss == pytest.approx(loss, rel=1e-5)
    for result, predictions in zip(
        evaluator.results(feed, *scales, top_k=(1, 3)), evaluator.predictions(feed, *scales), strict=True
    ):
        np.testing.assert_array_equal(predictions.labels, split.labels)
        assert predictions.result((1, 3)).errors == result.errors


def test_calling_it_again_compiles_nothing(one_device):
    """Neither a second pass, nor other variables, nor the sums of one batch that go into the next."""
    traced = []

    def logits(variables, images):
        traced.append(images.shape)
        return scaled(variables, images)

    evaluator = Evaluator(logits, one_device)
    feed = Feed(pixels(53), one_device, 8)
    for number, variables in enumerate(jax.device_put((by(1), by(2)), one_device.replicated)):
        with count_compilations() as compiled:
            evaluator.results(feed, variables, variables, top_k=(1,))
            evaluator.predictions(feed, variables)
        if number == 0:
            assert len(traced) == 2  # for sums and for predictions
            assert compiled.count("jit(_sums_added)") == compiled.count("jit(_answers_of)") == 1
        else:
            assert len(traced) == 2
            assert not compiled


@contextlib.contextmanager
def count_compilations():
    """The names of the functions that XLA compiles meanwhile."""
    compiled = []

    class Handler(logging.Handler):
        def emit(self, record):
            found = re.search(r"Finished XLA compilation of (\S+)", record.getMessage())
            if found:
                compiled.append(found[1])

    log, handler = logging.getLogger("jax._src.dispatch"), Handler(logging.DEBUG)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield compiled
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def test_what_cannot_be_read_does_not_count(one_device):
    split = pixels(20, unreadable=(3, 4, 17))
    feed, evaluator = Feed(split, one_device, 8), Evaluator(scaled, one_device)
    (result,) = evaluator.results(feed, by(0.01), top_k=(1, 3))
    assert (result.images, result.errors) == (17, pytest.approx(expected(split, 0.01)[0]))
    (predictions,) = evaluator.predictions(feed, by(0.01))
    assert list(np.flatnonzero(~predictions.known)) == [3, 4, 17]
    nothing = Feed(pixels(8, unreadable=tuple(range(8))), one_device, 8)
    for measure in (evaluator.predictions, functools.partial(evaluator.results, top_k=(1,))):
        with pytest.raises(UserError, match="no image of made pixels can be read, so there is nothing to measure"):
            measure(nothing, by(1))


def test_an_image_that_is_lost_is_noticed(one_device):
    split = dataclasses.replace(pixels(20, unreadable=(3,)), unreadable=())

    class Losing(Pixels):
        def evaluation_batches(self, batch_size, rows, first=0):
            for batch in super().evaluation_batches(batch_size, rows, first):
                yield batch | {"mask": batch["mask"] & (batch["index"] != 5)}

    losing = Losing(split.images, split.labels)
    feed, evaluator = Feed(losing, one_device, 8), Evaluator(scaled, one_device)
    for measure in (evaluator.predictions, functools.partial(evaluator.results, top_k=(1,))):
        with pytest.raises(RuntimeError, match="19 images were counted of the 20 of made pixels that can be read"):
            measure(feed, by(1))


def test_result_in_words_and_back():
    result = Result(360, 0.5, {1: 100 * 5 / 360, 5: 0.0})
    assert str(result) == "top-1 error 1.39 %  top-5 error 0.00 %  (360 images)"
    assert Result.from_metrics(result.metrics()) == result


def test_a_pass_can_be_interrupted(one_device):
    feed, evaluator = Feed(pixels(20), one_device, 8), Evaluator(scaled, one_device)
    for measure in (evaluator.predictions, functools.partial(evaluator.results, top_k=(1,))):
        with pytest.raises(Interrupted):
            measure(feed, by(1), stop=lambda: True)
