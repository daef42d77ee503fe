"""A data set's sizes and shapes without its images: enough to assemble a run and to compile its steps."""

from jaxcnn.config import Crop, DataConfig
from jaxcnn.data.pipeline import Data, Split, check_evaluation_crop

ILSVRC2012_SIZES = (1_281_167, 50_000)
"""Training and validation images of ILSVRC-2012's classification task."""
ILSVRC2012_CLASSES = 1000


def stand_in(config: DataConfig, sizes: tuple[int, int] = ILSVRC2012_SIZES, classes: int = ILSVRC2012_CLASSES) -> Data:
    """Returns a streamed data set of these sizes, of which no image can be asked for.

    Args:
        config: what its images would be cut to.
        sizes: images to train on, and to be measured on.
        classes: how many; they are called by their numbers.

    Raises:
        UserError: a random ``evaluation_crop``.
    """
    check_evaluation_crop(config)
    class_names = tuple(map(str, range(classes)))

    def split(name: str, size: int, crop: Crop) -> Split:
        shape = (crop.size, crop.size, config.channels)
        return Split(f"a stand-in for {config.name}, {name}", class_names, size, shape, None, None, _loader=None)

    train, evaluation = sizes
    return Data(
        train=split("train", train, config.train_crop),
        evaluation=split("evaluation", evaluation, config.evaluation_crop),
        class_names=class_names,
    )
