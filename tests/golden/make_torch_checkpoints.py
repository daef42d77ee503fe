"""Makes the weight files in torch_checkpoints.zip with PyTorch: run where torch is installed (made with 2.13.0).

    python tests/golden/make_torch_checkpoints.py

Each file holds one tiny network as some training script or library saves it: under another key, inside wrappers, beside
other things. Its name says after the dash which weights are to be taken: `plain` or `averaged`, which are the files
`plain.pth` and `averaged.pth`, or half of them: `half`, `bfloat16`. The file is `WHAT-WHICH.pth` or `.safetensors`.
"""

import argparse
import collections
import copy
import datetime
import decimal
import fractions
import io
import pathlib
import random
import types
import uuid
import warnings
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

HERE = Path(__file__).parent


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        return x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


class Tiny(nn.Module):
    """A network of one block, under the names of torchvision's ResNet."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block())
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        return self.fc(self.layer1(self.bn1(self.conv1(x)).relu()).mean((2, 3)))


def tiny(seed):
    model, generator = Tiny(), torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


PLAIN, AVERAGED = tiny(0), tiny(1)
SD, EMA = PLAIN.state_dict(), AVERAGED.state_dict()


def fresh():
    return copy.deepcopy(PLAIN)


class Holder(nn.Module):
    """A module that keeps a network in an attribute, as Lightning's modules do."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def averaged_model():
    wrapper = torch.optim.swa_utils.AveragedModel(fresh())
    wrapper.module.load_state_dict(EMA)
    return wrapper


def with_part(part, wrap):
    model = fresh()
    setattr(model, part, wrap(getattr(model, part)))
    return model.state_dict()


def counted():
    """What thop leaves behind: two buffers in every module."""
    model = fresh()
    for module in model.modules():
        module.register_buffer("total_ops", torch.zeros(1, dtype=torch.float64))
        module.register_buffer("total_params", torch.zeros(1, dtype=torch.float64))
    return model.state_dict()


def optimizer():
    model = fresh()
    made = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(2, 3, 5, 5)).sum().backward()
    made.step()
    return made


def with_attributes():
    state = collections.OrderedDict()
    for name, tensor in SD.items():
        state[name] = nn.Parameter(tensor.clone()) if tensor.is_floating_point() else tensor
        state[name].tag = "x"
    return state


def buffers():
    return {name: nn.Buffer(tensor) if "running" in name else tensor for name, tensor in SD.items()}


def prefixed(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def lightning():
    return {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": Holder(model=fresh(), criterion=nn.CrossEntropyLoss()).state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'loss'}": {
                "best_model_score": torch.tensor(0.5),
                "best_k_models": {"/tmp/a.ckpt": torch.tensor(0.5), "/tmp/b.ckpt": torch.tensor(0.6)},
                "kth_value": torch.tensor(0.6),
            }
        },
        "optimizer_states": [optimizer().state_dict()],
        "lr_schedulers": [torch.optim.lr_scheduler.MultiStepLR(optimizer(), [2, 2]).state_dict()],
        "hyper_parameters": {"root": pathlib.Path("/data"), "lr": 0.1},
    }


def options():
    return argparse.Namespace(
        data=pathlib.Path("/data/x"),
        device=torch.device("cuda:0"),
        dtype=torch.bfloat16,
        started=datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        day=datetime.date(2020, 1, 2),
        took=datetime.timedelta(seconds=3),
        nested=argparse.Namespace(a=1),
        simple=types.SimpleNamespace(a=[1]),
        version=torch.__version__,
        betas=(0.9, 0.99),
        names={"a", "b"},
        frozen=frozenset({1}),
        id=uuid.UUID(int=5),
        price=decimal.Decimal("1.5"),
        part=fractions.Fraction(1, 3),
        raw=b"abc",
        none=b"",
        span=range(3),
        cut=slice(1, None),
        z=1j,
        size=torch.Size([1, 2]),
        layout=torch.strided,
    )


def random_states():
    return {
        "torch": torch.get_rng_state(),
        "generator": torch.Generator(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "numpy_state": np.random.RandomState(0),
        "numpy_generator": np.random.default_rng(0),
        "numpy_philox": np.random.Generator(np.random.Philox(0)),
        "python": random.getstate(),
        "python_random": random.Random(0),
    }


def defaults():
    held = collections.defaultdict(dict)
    held["model"] = collections.OrderedDict(SD)
    held["history"] = collections.defaultdict(list, loss=[1.0, 2.0])
    held["count"] = collections.Counter("aab")
    held["last"] = collections.deque([1, 2, 3], maxlen=3)
    held["by_place"] = {(1, 2): 3, np.int64(4): 5, pathlib.Path("a"): 6}
    return held


def numbers():
    return {
        "best_acc": np.float64(77.1),
        "epoch": np.int64(3),
        "flag": np.bool_(True),
        "curve": np.arange(5.0),
        "name": np.str_("x"),
        "kind": np.float32,
        "dtype": np.dtype("f4"),
        "when": np.datetime64("2020-01-02"),
        "last_loss": torch.tensor(0.5),
    }


def cases():
    parallel, compiled = nn.DataParallel, torch.compile
    yield "plain", SD
    yield "averaged", EMA
    yield "parallel-plain", parallel(fresh()).state_dict()
    yield "parallel_twice-plain", parallel(parallel(fresh())).state_dict()
    yield "compiled-plain", compiled(fresh()).state_dict()
    yield "parallel_compiled-plain", parallel(compiled(fresh())).state_dict()
    yield "compiled_parallel-plain", compiled(parallel(fresh())).state_dict()
    yield "compiled_part-plain", with_part("layer1", compiled)
    yield "parallel_part-plain", with_part("layer1", parallel)
    yield "parallel_block-plain", with_part("layer1", lambda layer: nn.Sequential(parallel(layer[0])))
    yield "averaged_model-averaged", averaged_model().state_dict()
    yield "ema_none-plain", {"model": SD, "model_ema": None, "epoch": 3}
    yield "ema_empty-plain", {"model": SD, "model_ema": {}, "optimizer": optimizer().state_dict()}
    yield "ema_of_torchvision-averaged", {"model": SD, "model_ema": averaged_model().state_dict(), "args": options()}
    yield "ema_of_timm-averaged", {"epoch": 3, "arch": "x", "state_dict": SD, "state_dict_ema": EMA, "version": 2}
    yield "ema_of_basicsr-averaged", {"params": SD, "params_ema": EMA}
    parameters = {name: tensor for name, tensor in EMA.items() if "running" not in name}
    yield "ema_without_statistics-plain", {"net": SD, "ema": {"decay": 0.99, "shadow": parameters}}
    yield (
        "model_state_dict-plain",
        {"model_state_dict": SD, "optimizer_state_dict": optimizer().state_dict(), "epoch": 3},
    )
    yield "own_key-plain", {"the_weights_of_monday": prefixed("module.", SD), "acc": 93.2, "epoch": 200}
    yield "nested-plain", {"checkpoint": {"weights": compiled(fresh()).state_dict()}, "log": ["a", 1]}
    yield "tuple-plain", (SD, optimizer().state_dict(), 7)
    yield "imagenet_example-plain", {
        "epoch": 3, "arch": "x", "state_dict": parallel(fresh()).state_dict(), "best_acc1": torch.tensor(77.1),
        "optimizer": optimizer().state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer(), 3).state_dict(),
    }  # fmt: skip
    yield "numbers-plain", {"state_dict": SD, **numbers()}
    yield "options-plain", {"state_dict": SD, "args": options(), "options": vars(options())}
    yield "random_states-plain", {"state_dict": SD, "rng": random_states()}
    yield "defaults-plain", defaults()
    yield "lightning-plain", lightning()
    yield "lightning_compiled-plain", {"state_dict": Holder(model=compiled(fresh())).state_dict()}
    yield "lightning_ema-averaged", {"state_dict": Holder(net=fresh(), ema_net=averaged_model()).state_dict()}
    yield "backbone-plain", {"state_dict": parallel(Holder(backbone=fresh())).state_dict()}
    yield "flat_with_number-plain", {**SD, "epoch": 3, "note": "x"}
    yield "attributes-plain", with_attributes()
    yield "buffers-plain", {"model": buffers()}
    yield "counted-plain", counted()
    yield "half-half", {"state_dict": {name: tensor.half() for name, tensor in SD.items()}}
    yield "bfloat16-bfloat16", parallel(fresh().bfloat16()).state_dict()


def tensors_only():
    yield "parallel-plain", prefixed("module.", SD)
    yield "compiled-plain", prefixed("_orig_mod.", SD)
    yield "lightning-plain", prefixed("model._orig_mod.", SD)
    yield "two-averaged", {**prefixed("model.", SD), **prefixed("ema_model.module.", EMA)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with zipfile.ZipFile(HERE / "torch_checkpoints.zip", "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name, content):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)

        for index, (name, value) in enumerate(cases()):
            file = io.BytesIO()
            torch.save(value, file)
            write(f"{name}.pth", file.getvalue())
            if index % 5 == 2:
                file = io.BytesIO()
                torch.save(value, file, _use_new_zipfile_serialization=False)
                write(f"legacy_{name}.pth", file.getvalue())
        for name, state in tensors_only():
            content = safetensors.torch.save({key: tensor.clone() for key, tensor in state.items()})
            write(f"{name}.safetensors", content)
        print(f"{len(archive.namelist())} files, {sum(each.compress_size for each in archive.infolist()):,} bytes")
