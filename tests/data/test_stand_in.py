import pytest

from jaxcnn.config import CenterCrop, DataConfig, RandomResizedCrop
from jaxcnn.data.opening import open_data
from jaxcnn.data.stand_in import stand_in
from jaxcnn.errors import UserError


def test_a_stand_in_has_the_shapes_of_what_it_stands_for():
    config = DataConfig(
        name="synthetic", residence="stream", train_crop=RandomResizedCrop(size=12), evaluation_crop=CenterCrop(size=16)
    )
    real = open_data(config)
    ours = stand_in(config, sizes=(1280, 320), classes=10)
    assert ours.class_names == real.class_names
    for split, other in ((ours.train, real.train), (ours.evaluation, real.evaluation)):
        assert (split.size, split.image_shape, split.resident) == (other.size, other.image_shape, other.resident)
    assert (stand_in(config).train.size, stand_in(config).evaluation.size) == (1_281_167, 50_000)
    with pytest.raises(UserError, match="evaluation_crop is random"):
        stand_in(DataConfig(evaluation_crop=RandomResizedCrop()))
