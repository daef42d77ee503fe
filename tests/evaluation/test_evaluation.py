import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluate import Interrupted, Result, evaluate, make_evaluation_step
from jaxcnn.evaluation.metrics import check_top_k, rank_of_label
from jaxcnn.training.parallel import DataParallel


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


def test_a_k_that_says_nothing_is_refused():
    check_top_k((1, 5), 6)
    with pytest.raises(UserError, match=r"^top-5 error of 3 classes is always 0: set evaluation.top_k to \(1,\)"):
        check_top_k((1, 5), 3)


def batches_of(labels, batch_size):
    """The contract of evaluation batches: padded, masked."""
    for start in range(0, len(labels), batch_size):
        index = np.arange(start, start + batch_size)
        mask = index < len(labels)
        yield {"index": np.where(mask, index, 0).astype(np.int32), "mask": mask}


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("batch_size", [8, 16, 24, 64])
@pytest.mark.parametrize("images", [8, 37, 53])
def test_every_image_counts_once(devices, batch_size, images):
    """The same result whatever the batch size and the number of devices: 53 leaves 5 over 8 devices."""
    rng = np.random.default_rng(images)
    logits = rng.standard_normal((images, 7)).astype(np.float32)
    labels = rng.integers(0, 7, images).astype(np.int32)
    parallel = DataParallel.over(jax.devices()[:devices])
    step = make_evaluation_step(
        lambda variables, images, train: images * variables,
        lambda batch, arrays: (arrays["image"][batch["index"]], arrays["label"][batch["index"]]),
        (1, 3),
    )
    arrays, scale = jax.device_put(({"image": logits, "label": labels}, jnp.ones((1, 1))), parallel.replicated)
    result = evaluate(step, scale, batches_of(labels, batch_size), arrays, top_k=(1, 3), put=parallel.put_batch)
    order = np.argsort(-logits, axis=1, kind="stable")
    top1, top3 = ((order[:, :k] != labels[:, None]).all(1).mean() * 100 for k in (1, 3))
    assert result.images == images
    assert result.errors == {1: pytest.approx(top1), 3: pytest.approx(top3)}
    log_sum = np.log(np.exp(logits).sum(1))
    assert result.loss == pytest.approx((log_sum - logits[np.arange(images), labels]).mean(), rel=1e-5)


def test_result_in_words_and_back():
    result = Result(360, 0.5, {1: 100 * 5 / 360, 5: 0.0})
    assert str(result) == "top-1 error 1.39 %  top-5 error 0.00 %  (360 images)"
    assert Result.from_metrics(result.metrics()) == result


def test_a_pass_can_be_interrupted():
    with pytest.raises(Interrupted):
        evaluate(None, None, batches_of(np.zeros(3), 2), None, top_k=(1,), stop=lambda: True)
