"""PyTorch's networks by our names."""

from typing import TYPE_CHECKING

from jaxcnn.benchmarks.pytorch import torchvision_part
from jaxcnn.errors import UserError

if TYPE_CHECKING:  # a contender without PyTorch does not import it
    import torch


def pytorch_network(name: str) -> "torch.nn.Module":
    """Returns PyTorch's network of one of our names, with initial weights.

    It is torchvision's; NASNet-A is timm's. timm has the large one alone, of which the mobile one is made: it is as
    wide as the mobile one is, and the last two normal cells of each stage hand on what came before them. Where a cell
    then takes another cell's output than ours, the shapes are the same, and so are the operations.

    Raises:
        UserError: neither has the network, or one of the packages is not installed.
    """
    from torch import nn

    if not name.startswith("nasnet_a_"):
        models = torchvision_part("torchvision.models")
        if name not in models.list_models():
            raise UserError(f"torchvision has no network {name}: compare one of `jaxcnn models` that it has")
        return models.get_model(name)
    timm = torchvision_part("timm")
    if name == "nasnet_a_large":
        return timm.create_model("nasnetalarge", num_classes=1000)
    if name != "nasnet_a_mobile":
        raise UserError(f"timm has no network {name}: compare nasnet_a_mobile or nasnet_a_large")

    class Before(nn.Module):
        def forward(self, _: "torch.Tensor", before: "torch.Tensor") -> "torch.Tensor":
            return before

    network = timm.create_model("nasnetalarge", num_classes=1000, num_features=1056, stem_size=32)
    for stage in range(3):
        for cell in (4, 5):
            setattr(network, f"cell_{6 * stage + cell}", Before())
    return network
