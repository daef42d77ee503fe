"""Writes state_dicts.json.xz: the names and shapes of networks in torchvision, timm and the EfficientNet packages.

    python tests/parity/make_state_dicts.py

It holds every network of torchvision and of timm of which jaxcnn/weights/published.json names weights, EfficientNet B0
to B7 of ``efficientnet_pytorch`` and Lite0 to Lite4 of ``efficientnet_lite_pytorch``. Made with torchvision 0.28.0,
timm 1.0.31 and the packages' 0.7.1 and 0.1.0. No memory is taken for the parameters, but for those of torchvision's
RegNets, whose widths are computed as tensors. Of networks that have auxiliary heads, those without them are taken.
"""

import json
import lzma
from pathlib import Path

import torch

from tests.parity import torchvision_operators  # noqa: F401

import efficientnet_lite_pytorch  # isort: skip
import efficientnet_pytorch  # isort: skip
import timm  # isort: skip
import torchvision  # isort: skip

FILE = Path(__file__).parent / "state_dicts.json.xz"
PUBLISHED = Path(__file__).resolve().parents[2] / "jaxcnn" / "weights" / "published.json"


def main() -> None:
    published = json.loads(PUBLISHED.read_text())
    architectures = sorted({row["architecture"] for rows in published["timm"].values() for row in rows})
    makers = {f"timm/{name}": lambda name=name: timm.create_model(name) for name in architectures}
    for number in range(8):
        name = f"efficientnet-b{number}"
        makers[f"efficientnet_pytorch/{name}"] = lambda name=name: efficientnet_pytorch.EfficientNet.from_name(name)
    for number in range(5):
        name = f"efficientnet-lite{number}"
        lite = efficientnet_lite_pytorch.EfficientNet
        makers[f"efficientnet_lite_pytorch/{name}"] = lambda name=name, lite=lite: lite.from_name(name)
    for name in published["torchvision"]:
        heads = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        makers[f"torchvision/{name}"] = lambda name=name, heads=heads: torchvision.models.get_model(name, **heads)
    shapes = {}
    for name, make in makers.items():
        with torch.device("cpu" if name.startswith("torchvision/regnet") else "meta"):
            state = make().state_dict()
        shapes[name] = {key: list(value.shape) for key, value in state.items()}
        print(name, len(shapes[name]), flush=True)
    FILE.write_bytes(lzma.compress(json.dumps(shapes, separators=(",", ":")).encode(), preset=9))
    print(FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
