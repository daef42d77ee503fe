"""The names that a file of PyTorch may mention, and no others: the closed table of `jaxcnn.weights.torch_pickle`.

None of them is ever imported. A name stands for a kind of storage, or for an object that is no part of the weights and
is not read, whatever the file does with it.
"""

import jax.numpy as jnp
import numpy as np

_STORAGES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "BFloat16Storage": jnp.bfloat16,
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}
STORAGES = {
    **{f"{module}.{name}": np.dtype(d) for module in ("torch", "torch.cuda") for name, d in _STORAGES.items()},
    "torch.storage.UntypedStorage": np.dtype("u1"),  # of a tensor with a dtype that has no class of storages
}
"""The type of the elements of each class of storages."""

_TORCH = (
    "float16 float32 float64 bfloat16 bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu qint8 quint8 qint32 "
    "device Tensor Generator _C.Generator nn.parameter.Parameter nn.parameter.Buffer torch_version.TorchVersion "
    "serialization._get_layout _utils._rebuild_tensor_v3 _utils._rebuild_sparse_tensor"
)
_NUMPY = (
    "dtype ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble "
    "complex64 complex128 str_ bytes_ datetime64 timedelta64 "
    "core.multiarray.scalar core.multiarray._reconstruct _core.multiarray.scalar _core.multiarray._reconstruct "
    "random.mtrand.RandomState random._pickle.__randomstate_ctor random._pickle.__generator_ctor "
    "random._pickle.__bit_generator_ctor random._mt19937.MT19937 random._pcg64.PCG64 random._pcg64.PCG64DXSM "
    "random._philox.Philox random._sfc64.SFC64 random.bit_generator.SeedSequence "
    "random.bit_generator.__pyx_unpickle_SeedSequence random._bit_generator.SeedSequence "
    "random._bit_generator.__pyx_unpickle_SeedSequence"
)
_BUILTINS = (
    "object type bool int long float complex str unicode bytes bytearray list tuple dict set frozenset slice range "
    "xrange Ellipsis NotImplemented"
)
_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_LIBRARY = (
    "_codecs.encode argparse.Namespace types.SimpleNamespace collections.deque datetime.date "
    "datetime.datetime datetime.time datetime.timedelta "
    "datetime.timezone time.struct_time decimal.Decimal fractions.Fraction uuid.UUID random.Random typing.Any "
    "re._compile "
)
# The options that configuration libraries keep are dictionaries and lists of their own classes.
_OPTIONS = (
    "omegaconf.listconfig.ListConfig omegaconf.base.ContainerMetadata omegaconf.base.Metadata omegaconf.nodes.AnyNode "
    "omegaconf.nodes.BooleanNode omegaconf.nodes.BytesNode omegaconf.nodes.EnumNode omegaconf.nodes.FloatNode "
    "omegaconf.nodes.IntegerNode omegaconf.nodes.PathNode omegaconf.nodes.StringNode omegaconf.dictconfig.DictConfig"
)


def _names(module: str, names: str) -> frozenset[str]:
    return frozenset(f"{module}{name}" for name in names.split())


DICTIONARIES = frozenset(
    {
        "addict.addict.Dict",
        "easydict.EasyDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "munch.Munch",
        "yacs.config.CfgNode",
    }
)
"""The classes of dictionaries that are made empty and then filled."""

OPAQUE = frozenset().union(
    _names("torch.", _TORCH),
    _names("numpy.", _NUMPY),
    *(_names(module, _BUILTINS) for module in ("builtins.", "__builtin__.")),  # Python 3's name, and Python 2's
    *(_names(module, _PATHS) for module in ("pathlib.", "pathlib._local.")),
    _names("", _LIBRARY),
    _names("", _OPTIONS),
)
"""The names of what is harmless and no part of weights: numbers of NumPy, dates, paths, devices, random states, options
of training scripts."""
