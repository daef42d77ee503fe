"""Writes state_dicts.json.xz: the names and shapes of networks in timm and in the EfficientNet packages for PyTorch.

    python tests/parity/make_state_dicts.py

It holds every network of timm of which jaxcnn/weights/published.json names weights, EfficientNet B0 to B7 of
``efficientnet_pytorch`` and Lite0 to Lite4 of ``efficientnet_lite_pytorch``. Made with timm 1.0.31 and the packages'
0.7.1 and 0.1.0. Nothing is computed, and no memory is taken for the parameters.
"""

import json
import lzma
from pathlib import Path

import torch

from tests.parity import torchvision_operators  # noqa: F401

import efficientnet_lite_pytorch  # isort: skip
import efficientnet_pytorch  # isort: skip
import timm  # isort: skip

FILE = Path(__file__).parent / "state_dicts.json.xz"
PUBLISHED = Path(__file__).resolve().parents[2] / "jaxcnn" / "weights" / "published.json"


def main() -> None:
    published = json.loads(PUBLISHED.read_text())["timm"]
    architectures = sorted({row["architecture"] for rows in published.values() for row in rows})
    makers = {f"timm/{name}": lambda name=name: timm.create_model(name) for name in architectures}
    for number in range(8):
        name = f"efficientnet-b{number}"
        makers[f"efficientnet_pytorch/{name}"] = lambda name=name: efficientnet_pytorch.EfficientNet.from_name(name)
    for number in range(5):
        name = f"efficientnet-lite{number}"
        lite = efficientnet_lite_pytorch.EfficientNet
        makers[f"efficientnet_lite_pytorch/{name}"] = lambda name=name, lite=lite: lite.from_name(name)
    shapes = {}
    for name, make in makers.items():
        with torch.device("meta"):
            state = make().state_dict()
        shapes[name] = {key: list(value.shape) for key, value in state.items()}
        print(name, len(shapes[name]), flush=True)
    FILE.write_bytes(lzma.compress(json.dumps(shapes, separators=(",", ":")).encode(), preset=9))
    print(FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
