"""Makes googlenet_2014.npz beside it from PyTorch: run in an environment that has torch (made with 2.13.0).

    python tests/golden/make_googlenet_2014.py

There is no published network to compare the paper's GoogLeNet with, so here it is a second time, from the paper's text
and Caffe's prototxt, in PyTorch's layers, which have Caffe's local response normalization and pooling. The file holds
the three classifiers' logits, without dropout, for the weights and images of tests/parity/parity_weights.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.parity import parity_weights  # noqa: E402

# Table 1: input channels, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
TABLE = """
3a 192 64 96 128 16 32 32
3b 256 128 128 192 32 96 64
4a 480 192 96 208 16 48 64
4b 512 160 112 224 24 64 64
4c 512 128 128 256 24 64 64
4d 512 112 144 288 32 64 64
4e 528 256 160 320 32 128 128
5a 832 256 160 320 32 128 128
5b 832 384 192 384 48 128 128
"""


class Unit(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2)

    def forward(self, x):
        return self.conv(x).relu()


class Inception(nn.Module):
    def __init__(self, inputs, one, reduce3, three, reduce5, five, projection):
        super().__init__()
        self.branch1 = Unit(inputs, one, 1)
        self.branch2 = nn.Sequential(Unit(inputs, reduce3, 1), Unit(reduce3, three, 3))
        self.branch3 = nn.Sequential(Unit(inputs, reduce5, 1), Unit(reduce5, five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Unit(inputs, projection, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Head(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.conv, self.fc1, self.fc2 = Unit(inputs, 128, 1), nn.Linear(2048, 1024), nn.Linear(1024, 1000)

    def forward(self, x):
        x = self.conv(nn.functional.avg_pool2d(x, 5, 3))
        return self.fc2(self.fc1(x.flatten(1)).relu())


class GoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Unit(3, 64, 7, 2), Unit(64, 64, 1), Unit(64, 192, 3)
        for name, *widths in (row.split() for row in TABLE.strip().splitlines()):
            self.add_module(f"inception{name}", Inception(*map(int, widths)))
        self.aux1, self.aux2, self.fc = Head(512), Head(528), nn.Linear(1024, 1000)

    def forward(self, x):
        pool, respond = nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        x = respond(pool(self.conv1(x)))
        x = pool(respond(self.conv3(self.conv2(x))))
        x = self.inception4a(pool(self.inception3b(self.inception3a(x))))
        auxiliary1 = self.aux1(x)
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        auxiliary2 = self.aux2(x)
        x = self.inception5b(self.inception5a(pool(self.inception4e(x))))
        return self.fc(x.mean((2, 3))), auxiliary1, auxiliary2


if __name__ == "__main__":
    network = GoogLeNet()
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    # A deviation of 5 makes squares that the local response normalization feels.
    images = 5 * parity_weights.images(1, 224)
    network.load_state_dict({name: torch.tensor(parity_weights.weight(name, shape)) for name, shape in shapes.items()})
    with torch.no_grad():
        logits = [each.numpy() for each in network(torch.tensor(images))]
    names = ("logits", "auxiliary1", "auxiliary2")
    np.savez_compressed(
        HERE / "googlenet_2014.npz", state_dict=json.dumps(shapes), **dict(zip(names, logits, strict=True))
    )
