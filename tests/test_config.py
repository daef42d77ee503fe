import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn import config
from jaxcnn.augment import AUGMENTATIONS
from jaxcnn.config import (
    LAMB,
    SGD,
    AdamW,
    CenterCrop,
    ConfigError,
    Cutout,
    DataConfig,
    HorizontalFlip,
    LossConfig,
    ModelConfig,
    Normalization,
    Optimizer,
    PublishedConfig,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RMSProp,
    ScaleJitter,
    ScheduleConfig,
    TrainConfig,
    differences,
    flatten,
    from_json,
    to_json,
)
from jaxcnn.data.views import PROTOCOLS
from jaxcnn.training.optimizer import OPTIMIZERS


def test_json_round_trip_keeps_everything():
    config = TrainConfig(
        epochs=0.1 + 0.2,
        model=ModelConfig(name="resnet50", options={"a": True, "b": 2, "c": 0.5, "d": "x"}),
        data=DataConfig(train_crop=RandomResizedCrop(scale=(0.1, 0.9)), evaluation_crop=CenterCrop()),
        augmentations=(
            RandomCrop(padding=2),
            HorizontalFlip(),
            RandomResizedCrop(),
            RandomRotation(degrees=(-3.0, 5.0), fill=(1, 2, 3)),
            RandomAffine(translate=(0.1, 0.2)),
            RandomErasing(value="color"),
            RandomErasing(value=1.5),
            Cutout(),
        ),
    )
    assert from_json(to_json(config)) == config
    jittered = TrainConfig(data=DataConfig(train_crop=ScaleJitter(short_side=(256, 480), from_center_square=True)))
    assert from_json(to_json(jittered)) == jittered
    for optimizer in (SGD(), RMSProp(momentum=0.0), AdamW(beta2=0.95), LAMB(clip_norm=1.0)):
        assert from_json(to_json(TrainConfig(optimizer=optimizer))).optimizer == optimizer
    assert type(from_json(to_json(config)).model.options["a"]) is bool


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DataConfig(batch_size=-3), r"^batch_size must be greater than 0, not -3$"),
        (lambda: DataConfig(batch_size="64"), r"^batch_size must be a valid integer, not '64'$"),
        (lambda: Normalization(mean=(float("nan"),)), r"^mean.0 must be a finite number, not nan$"),
        (lambda: DataConfig(batch_sise=64), r"^batch_sise is not an option: did you mean 'batch_size'\?$"),
        (
            lambda: ScheduleConfig(kind="cosin"),
            r"^kind must be 'constant', 'step', 'exponential' or 'cosine', not 'cosin'$",
        ),
        (lambda: SGD(momentum=1.0), r"^momentum must be less than 1"),
        (lambda: SGD(learning_rate=float("nan")), r"^learning_rate must be"),
        (
            lambda: from_json('{"optimizer": {"kind": "adam"}}'),
            r"^optimizer has the kind 'adam', which neither jaxcnn nor a recipe registers: did you mean 'adamw'\?$",
        ),
        (
            lambda: from_json('{"optimizer": {"kind": "newton"}}'),
            r"^optimizer has the kind 'newton', .*: choose from 'adamw', 'lamb', 'rmsprop', 'sgd'",  # and others'
        ),
        (lambda: from_json('{"optimizer": {"kind": ["sgd"]}}'), r"^optimizer has the kind \['sgd'\], which neither"),
        (lambda: from_json('{"augmentations": [{}]}'), r"^augmentations.0 has no kind: choose from 'aug_mix', "),
        (lambda: from_json('{"optimizer": "sgd"}'), r"^optimizer must be a registered optimizer, not 'sgd'$"),
        (
            lambda: from_json('{"optimizer": {"kind": "sgd", "schedule": {"warmup": 2.0}}}'),
            r"^optimizer.sgd.schedule.warmup is not an option: did you mean 'warmup_",
        ),
        (
            lambda: from_json('{"augmentations": [{"kind": "random_affine", "translate": [0.1, 2.0]}]}'),
            r"^augmentations.0.random_affine.translate.1 must be less than or equal to 1, not 2.0$",
        ),
        (
            lambda: TrainConfig(augmentations=(HorizontalFlip(), SGD())),
            r"^augmentations.1 must be a registered augmentation, not SGD\(",
        ),
        (
            lambda: TrainConfig(optimizer=Optimizer()),
            r"^optimizer is of the class Optimizer, which is not registered: call register_optimizer\(Optimizer, ...\)",
        ),
        (
            lambda: from_json('{"optimizer": {"kind": "adamw", "beta3": 0.9}}'),
            r"^optimizer.adamw.beta3 is not an option: did you mean 'beta[12]'",
        ),
        (
            lambda: from_json('{"augmentations": [{"kind": "random_crop", "paddin": 3}]}'),
            r"^augmentations.0.random_crop.paddin is not an option: did you mean 'padding'",
        ),
        (lambda: LossConfig(target_threshold=0.2), r"^target_threshold is for kind='binary' alone; the targets"),
        (lambda: TrainConfig(name="a/b"), r"^name "),
        (lambda: TrainConfig(model=DataConfig()), r"^model "),
        (lambda: DataConfig(train_crop=RandomCrop()), r"train_crop .*'random_resized_crop'"),
        (
            lambda: from_json('{"data": {"batchsize": 3}}'),
            r"^data.batchsize is not an option: did you mean 'batch_size'",
        ),
        (lambda: RandomResizedCrop(scale=(1.0, 0.1)), r"^scale must be the smaller bound, then the larger, not \(1"),
        (lambda: from_json("{"), r"Invalid JSON"),
        (lambda: RandomRotation(degrees=(5.0, -5.0)), r"^degrees must be the smaller bound, then the larger, not \(5"),
        (lambda: RandomPerspective(fill=(0, 256)), r"^fill.1 must be less than or equal to 255, not 256$"),
        (lambda: RandomAffine(translate=(0.1, 2.0)), r"^translate.1 must be less than or equal to 1, not 2.0$"),
        (lambda: RandomErasing(scale=(0.1, 1.5)), r"^scale.1 must be less than or equal to 1, not 1.5$"),
        (lambda: PublishedConfig(top1_error=3.0), r"^source must be given beside a published figure, not None$"),
        (lambda: RandomErasing(value="colour"), r"value.*must be 'color' or 'pixels', not 'colour'"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


def test_everything_that_is_exported_can_be_had():
    assert {"RandAugment", "MixUp", "SGD", "TrainConfig"} <= set(config.__all__)
    assert [name for name in config.__all__ if not hasattr(config, name)] == []
    assert set(config.__all__) <= set(dir(config))
    exported = {getattr(config, name) for name in config.__all__}
    kinds = {*AUGMENTATIONS.groups.values(), *OPTIMIZERS.groups.values(), *PROTOCOLS.groups.values()}
    ours = {kind for kind in kinds if kind.__module__.startswith("jaxcnn.")}  # and not what recipes bring
    assert ours <= exported
    assert len(ours) == 26 + 4 + 5
    with pytest.raises(AttributeError, match=r"module 'jaxcnn.config' has no attribute 'RandomFlip'"):
        config.RandomFlip  # noqa: B018


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 3


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(1e-6, 1e6))
def test_differences_name_full_paths(seed, rate):
    old = TrainConfig(augmentations=(RandomCrop(),))
    new = dataclasses.replace(old, seed=seed, optimizer=SGD(learning_rate=rate), augmentations=())
    found = differences(old, new)
    assert found.pop("augmentations.0.padding") == (4, None)
    assert found.get("seed", (0, 0)) == (0, seed)
    assert found.get("optimizer.learning_rate", (0.1, 0.1)) == (0.1, rate)
    assert differences(new, new) == {}
    assert flatten(old)["augmentations.0.kind"] == "random_crop"
