"""PyTorch's pickles, run by a machine that makes containers and describes tensors, and calls nothing else.

A pickle is a program, and Python's own interpreter of it imports and calls whatever the program names. This one knows
the instructions that ``torch.save`` writes (pickle protocol 2) and a closed table of names, all of which stand for
functions of this file. It refuses every other instruction and every other name, and its message says which.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, TypeVar

import jax.numpy as jnp
import numpy as np

from jaxcnn.weights.errors import FileError

MAX_INSTRUCTIONS = 1 << 20
"""The number of instructions that a pickle may have. A state dict takes about 35 for each tensor, a whole training
checkpoint of NASNet-A large about 200,000."""

Key = str | int | float | bool | None
"""What a dictionary or a set may hold as a key."""
Container = TypeVar("Container", list, dict)

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
_DTYPES = ("float16", "float32", "float64", "bfloat16", "bool", "uint8", "int8", "int16", "int32", "int64")


@dataclasses.dataclass(frozen=True)
class Storage:
    """A sequence of elements somewhere in the file, or (in files of PyTorch before 1.0) a part of one."""

    dtype: np.dtype
    key: str
    """The storage's name in the file."""
    size: int
    """The number of elements in the file."""
    start: int
    """The first element of the part."""
    length: int
    """The number of elements of the part."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage, counted in elements. `jaxcnn.weights.torch_file` checks that it lies in the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Unread:
    """An object of a training checkpoint that is no part of its weights. Its content is dropped."""


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name that the program mentions. The machine decides what it may be used for."""

    text: str


_INERT = frozenset(f"torch.{name}" for name in _DTYPES)
_STORAGE_NAMES = {
    f"{module}.{name}": np.dtype(d) for module in ("torch", "torch.cuda") for name, d in _STORAGES.items()
}


def _are_counts(values: Iterable[object]) -> bool:
    """Whether all values are integers from 0 on; True and False are not."""
    return all(type(value) is int and value >= 0 for value in values)


def _tensor(
    storage: object = None, offset: object = None, shape: object = None, strides: object = None, *_: object
) -> Tensor:
    match storage, offset, shape, strides:
        case Storage(), int(), tuple(), tuple() if _are_counts([offset, *shape, *strides]):
            if len(shape) == len(strides):
                return Tensor(storage, offset, shape, strides)
    raise FileError("holds a tensor whose offset, shape or strides are not those of a tensor: fetch it again")


def _parameter(tensor: object = None, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise FileError("holds a parameter that is not a tensor: fetch it again")
    return tensor


def _mapping(items: object = (), *_: object) -> dict[Key, object]:
    pairs = items.items() if isinstance(items, dict) else items if isinstance(items, list | tuple) else [None]
    mapping = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise FileError("holds a dictionary that is not made of pairs: fetch it again")
        mapping[_key(pair[0])] = pair[1]
    return mapping


def _sequence(make: type) -> Callable[..., object]:
    def sequence(items: object = (), *_: object) -> object:
        if not isinstance(items, list | tuple):
            raise FileError(f"holds a {make.__name__} that is not made of a list: fetch it again")
        return make(map(_key, items))

    return sequence


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,  # learning rate schedules have one
    "torch.Size": _sequence(tuple),
    "builtins.set": _sequence(set),
    "__builtin__.set": _sequence(set),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
_UNREAD = frozenset({"argparse.Namespace"})  # the options of torchvision's and timm's training scripts


def _key(value: object) -> Key:
    # Tuples are refused: the hash of one that is nested a million deep would overflow the interpreter's stack.
    if value is None or isinstance(value, str | int | float):
        return value
    raise FileError("holds a dictionary or set of other things than names and numbers: fetch it again")


def shown(name: str) -> str:
    """Returns a name from a file in a form that is safe to print: quoted, escaped, and not endless."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")


def run(program: BinaryIO) -> tuple[object, dict[str, Storage]]:
    """Runs one pickle, and leaves the stream positioned behind it.

    Args:
        program: a stream positioned at the pickle. It must be in memory, because an instruction may ask for any number
            of bytes.

    Returns:
        The object that the pickle describes, made of dicts, lists, tuples, sets, names, numbers, `Tensor`, `Storage`
        and `Unread`; and all the storages that it mentions, by their names in the file.

    Raises:
        FileError: the program does something that no file of weights needs.
        ValueError: the program is damaged or ends too early.
    """
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
        if count == MAX_INSTRUCTIONS:
            raise FileError(f"takes over {MAX_INSTRUCTIONS:,} instructions to read, more than weights do")
        if opcode.name == "STOP":
            break
        machine.step(opcode.name, argument)
    return machine.pop(), machine.storages


class _Machine:
    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}

    def pop(self) -> object:
        if not self.stack:
            raise ValueError("an instruction finds its operand missing")
        return self.stack.pop()

    def pop_to_mark(self) -> list[object]:
        if not self.marks:
            raise ValueError("an instruction finds its mark missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type[Container]) -> Container:
        """Returns the container that is to be filled, which stays on the stack."""
        container = self.stack[-1] if self.stack else None
        if not isinstance(container, kind):
            raise ValueError(f"an instruction fills a {kind.__name__} where there is none")
        return container

    def step(self, instruction: str, argument: Any) -> None:
        match instruction:
            case "PROTO":
                if argument != 2:
                    raise FileError(f"is of pickle protocol {argument}, not 2: save it with torch.save's default")
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(instruction == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":  # the last two from Python 2
                self.stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                self.stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[instruction]())
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(instruction[-1]))]
                self.stack.append(tuple(reversed(items)))
            case "APPEND":
                item = self.pop()
                self.top(list).append(item)
            case "APPENDS":
                items = self.pop_to_mark()
                self.top(list).extend(items)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.top(dict)[_key(key)] = value
            case "SETITEMS":
                items = self.pop_to_mark()
                self.top(dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                item = self.pop()
                self.memo[argument] = item
                self.stack.append(item)
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError("an instruction recalls what was never kept")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_allowed(argument.replace(" ", ".")))
            case "REDUCE" | "NEWOBJ":
                arguments, name = self.pop(), self.pop()
                self.stack.append(_call(instruction, name, arguments))
            case "BUILD":
                # These are attributes: a state dict's versions of its modules, a Namespace's options. They are dropped.
                state = self.pop()
                if not self.stack or type(state) is not dict or type(self.stack[-1]) not in (dict, Unread):
                    raise FileError("sets attributes of what has none in a file of weights: do not trust it")
            case "BINPERSID":
                storage = _storage(self.pop())
                known = self.storages.setdefault(storage.key, storage)
                if (known.dtype, known.size) != (storage.dtype, storage.size):
                    raise FileError(f"describes its storage {shown(storage.key)} in two ways: fetch it again")
                self.stack.append(storage)
            case _:
                raise FileError(f"uses the pickle instruction {instruction}, which no weights need: do not trust it")


def _allowed(name: str) -> _Name:
    if name not in _FUNCTIONS and name not in _STORAGE_NAMES and name not in _UNREAD | _INERT:
        raise FileError(
            f"names {shown(name)}, which is no part of weights, and was not called: if you trust the file, load it in "
            "PyTorch and save model.state_dict() alone"
        )
    return _Name(name)


def _call(instruction: str, name: object, arguments: object) -> object:
    """Makes what PyTorch would make by calling a name."""
    if type(name) is _Name and type(arguments) is tuple:
        if instruction == "REDUCE" and name.text in _FUNCTIONS:
            return _FUNCTIONS[name.text](*arguments)
        if instruction == "NEWOBJ" and name.text in _UNREAD:
            return Unread()
    raise FileError("calls what cannot be called in a file of weights: do not trust it")


def _storage(identity: object) -> Storage:
    """Reads ``("storage", class, key, device, elements)``, which in the legacy format ends with one item more.

    That is None, or ``(key, start, elements)`` of a part of the storage.
    """
    match identity:
        case ("storage", _Name(text=name), str(key), str(), int(size), *view) if (
            name in _STORAGE_NAMES and _are_counts([size]) and len(view) <= 1
        ):
            match view:
                case [] | [None]:
                    return Storage(_STORAGE_NAMES[name], key, size, 0, size)
                case [(str(), int(start), int(length))] if _are_counts([start, length]) and start + length <= size:
                    return Storage(_STORAGE_NAMES[name], key, size, start, length)
    raise FileError("refers to something outside itself that is not a tensor's storage: fetch it again")
