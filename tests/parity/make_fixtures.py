"""Makes fixtures for test_parity.py from an installed torchvision, timm, or EfficientNet package for PyTorch.

    python tests/parity/make_fixtures.py torchvision resnet34 --size 161 --double
    python tests/parity/make_fixtures.py timm tf_efficientnet_lite1
    python tests/parity/make_fixtures.py efficientnet_pytorch efficientnet-b0

A fixture holds the reference's logits in evaluation mode, with every parameter and buffer set by
`parity_weights.weight` and the input by `parity_weights.images`, and the names and shapes of its state dict. With
--double the reference computes in double precision, and so does the test: for networks whose depth and random weights
multiply float32's rounding beyond any use, PyTorch's own as well.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from tests.parity import parity_weights, torchvision_operators  # noqa: F401

HERE = Path(__file__).parent


def build(library: str, name: str) -> torch.nn.Module:
    """The reference, without weights."""
    if library == "timm":
        import timm

        return timm.create_model(name)
    if library == "efficientnet_pytorch":
        import efficientnet_pytorch

        return efficientnet_pytorch.EfficientNet.from_name(name)
    import torchvision

    # These two would spend minutes on an initialization that is thrown away.
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, **quick)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["torchvision", "timm", "efficientnet_pytorch"])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--double", action="store_true")
    chosen = parser.parse_args()
    for name in chosen.names:
        model = build(chosen.library, name).eval()
        shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(parity_weights.weight(key, s)) for key, s in shapes.items()})
        precision = torch.float64 if chosen.double else torch.float32
        images = torch.from_numpy(parity_weights.images(chosen.batch, chosen.size))
        with torch.no_grad():
            logits = model.to(precision)(images.to(precision)).numpy()
        # torchvision and timm give some networks the same name, and their modules others.
        prefix = "" if chosen.library == "torchvision" else f"{chosen.library}_"
        path = HERE / f"{prefix}{name}_{chosen.size}{'_double' if chosen.double else ''}.npz"
        np.savez_compressed(
            path,
            network=name if chosen.library == "torchvision" else f"{chosen.library}/{name}",
            logits=logits,
            state_dict=json.dumps(shapes),
            parameters=sum(value.numel() for value in model.parameters()),
            batch=chosen.batch,
            size=chosen.size,
        )
        print(path.name, np.linalg.norm(logits))


if __name__ == "__main__":
    main()
