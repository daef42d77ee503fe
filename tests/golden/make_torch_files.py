"""Makes the golden .pth files beside it with PyTorch: run in an environment that has torch (made with 2.13.0).

    python tests/golden/make_torch_files.py

torch_zip.pth, torch_legacy.pth: one state dict of many dtypes, strides and shared storages, in PyTorch's two formats.
torch_checkpoint.pth: what a training script saves, with an optimizer, options, and an averaged network in it.
torch_python2.pth: the legacy format with the instructions of Python 2's pickles, and a view of a storage.
torch_files.npz: what is in the first two; `checkpoint/NAME`: in the third's averaged network, `python2/NAME`: the last.
"""

import argparse
import collections
import pickle
import struct
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def tensors():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 3, 2, 2, generator=generator)
    shared = torch.arange(24.0)
    return collections.OrderedDict(
        float32=base,
        float64=base.double() / 3,
        float16=base.half(),
        bfloat16=base.bfloat16(),
        int64=torch.tensor(7),
        int32=torch.arange(-3, 3, dtype=torch.int32),
        int16=torch.arange(-3, 3, dtype=torch.int16),
        int8=torch.arange(-3, 3, dtype=torch.int8),
        uint8=torch.arange(250, 256, dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        transposed=base.permute(2, 3, 0, 1),
        channels_last=base.to(memory_format=torch.channels_last),
        part=shared[5:17].reshape(3, 4)[:, 1:3],
        whole=shared,
        every_third=shared[1::3],
        empty=torch.zeros(0, 5),
        parameter=torch.nn.Parameter(base[0].clone()),
    )


def checkpoint():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(model[0].bias)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 3])
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, milestones=[2, 3], name="x"),
        "model_ema": averaged.state_dict(),
    }
    torch.save(saved, HERE / "torch_checkpoint.pth")
    return averaged.module.state_dict()


def python2():
    """The pickle of {"weight": a 2x3 view, "bias": 1} as Python 2 wrote it; PyTorch itself reads it below."""
    values = np.arange(10, dtype="<f4")

    def text(string):
        return b"U" + bytes([len(string)]) + string.encode()

    def tensor(shape, strides, offset):
        view = b"(" + text("part") + b"K\x02K\x08t"
        kind = b"ctorch\nFloatStorage\n"
        storage = b"(" + text("storage") + kind + text("root") + text("cpu") + b"K\x0a" + view + b"tQ"
        numbers = [b"(" + b"".join(b"K" + bytes([n]) for n in each) + b"t" for each in (shape, strides)]
        return b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K" + bytes([offset]) + b"".join(numbers) + b"tR"

    weight, bias = tensor((2, 3), (1, 2), 2), tensor((1,), (1,), 0)
    pairs = b"](](" + text("weight") + weight + b"e](" + text("bias") + bias + b"ee"
    program = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [program, pickle.dumps(["root"], 2), struct.pack("<q", 10), values.tobytes()]
    (HERE / "torch_python2.pth").write_bytes(b"".join(parts))
    return torch.load(HERE / "torch_python2.pth", weights_only=False)


def as_array(tensor):
    tensor = tensor.detach()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


if __name__ == "__main__":
    state = tensors()
    torch.save(state, HERE / "torch_zip.pth")
    torch.save(state, HERE / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    arrays = {name: as_array(tensor) for name, tensor in state.items()}
    arrays |= {f"checkpoint/{name}": as_array(tensor) for name, tensor in checkpoint().items()}
    arrays |= {f"python2/{name}": as_array(tensor) for name, tensor in python2().items()}
    np.savez_compressed(HERE / "torch_files.npz", **arrays)
