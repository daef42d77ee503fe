"""PyTorch's pickles, run by a machine that makes containers and describes tensors, and calls nothing else.

A pickle is a program, and Python's own interpreter of it imports and calls whatever the program names. This one knows
the instructions that ``torch.save`` writes (pickle protocol 2) and a closed table of names. A few of these stand for
functions of this file; the others (`jaxcnn.weights.torch_names`) for objects that are not read, whatever the program
does with them. It refuses every other instruction and every other name, and its message says which.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, TypeAlias, TypeVar

import numpy as np

from jaxcnn.weights.errors import FileError, shown
from jaxcnn.weights.torch_names import DICTIONARIES, OPAQUE, STORAGES

MAX_INSTRUCTIONS = 1 << 20
"""The number of instructions that a pickle may have. A state dict takes about 35 for each tensor, a whole training
checkpoint of NASNet-A large about 200,000."""

_LONGEST_KEY = 16
"""The number of items that a tuple may have as a key."""
Container = TypeVar("Container", list, dict)


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


Key: TypeAlias = "str | int | float | Unread | _Name | tuple[Key, ...] | None"
"""What a dictionary or a set may hold as a key."""


def _are_counts(values: Iterable[object]) -> bool:
    """Whether all values are integers from 0 on; True and False are not."""
    return all(type(value) is int and value >= 0 for value in values)


def _tensor(
    storage: object = None, offset: object = None, shape: object = None, strides: object = None, *more: object
) -> Tensor:
    match more:
        # PyTorch negates and conjugates some views only when they are read, and notes that in the last argument.
        case [_, _, dict(notes), *_] if any(notes.values()):
            raise FileError("holds a tensor that is yet to be negated or conjugated: save tensor.resolve_neg()")
    match storage, offset, shape, strides:
        case Storage(), int(), tuple(), tuple() if _are_counts([offset, *shape, *strides]):
            if len(shape) == len(strides):
                return Tensor(storage, offset, shape, strides)
    raise FileError("holds a tensor whose offset, shape or strides are not those of a tensor: fetch it again")


def _parameter(tensor: object = None, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise FileError("holds a parameter that is not a tensor: fetch it again")
    return tensor


def _of_type(function: object = None, kind: object = None, arguments: object = None, *_: object) -> Tensor:
    """Makes a tensor of a class of its own, or with attributes: ``(function, class, arguments, attributes)``."""
    match function, arguments:
        case _Name(text=("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_parameter") as name), tuple():
            made = _FUNCTIONS[name](*arguments)
            assert isinstance(made, Tensor)
            return made
    raise FileError("holds a tensor of a class of its own that is made in an unknown way: save a plain state dict")


def _empty(*_: object) -> dict[Key, object]:
    return {}


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
    "collections.defaultdict": _empty,  # the argument is what makes a missing value
    "torch.Size": _sequence(tuple),
    "builtins.set": _sequence(set),
    "__builtin__.set": _sequence(set),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
}


def _key(value: object, depth: int = 2) -> Key:
    if value is None or isinstance(value, str | int | float | Unread | _Name):
        return value
    # Longer and deeper tuples are refused: hashing them may take for ever, or overflow the interpreter's stack.
    if isinstance(value, tuple) and len(value) <= _LONGEST_KEY and depth:
        return tuple(_key(item, depth - 1) for item in value)
    raise FileError("holds a dictionary or set of other things than names and numbers: fetch it again")


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
        """Returns the container that is to be filled, which stays on the stack; one to drop for what is not read."""
        container = self.stack[-1] if self.stack else None
        if isinstance(container, Unread):
            return kind()
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
                state, target = self.pop(), self.stack[-1] if self.stack else None
                attributes = (dict,) if type(target) is dict else (dict, tuple) if isinstance(target, Unread) else ()
                if type(state) not in attributes:
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
    if name not in _FUNCTIONS and name not in STORAGES and name not in OPAQUE | DICTIONARIES:
        raise FileError(
            f"names {shown(name)}, which is no part of weights, and was not called: if you trust the file, load it in "
            "PyTorch and save model.state_dict() alone"
        )
    return _Name(name)


def _call(instruction: str, name: object, arguments: object) -> object:
    """Makes what PyTorch would make by calling a name."""
    if type(name) is _Name and type(arguments) is tuple:
        if name.text in _FUNCTIONS:
            if instruction == "REDUCE":
                return _FUNCTIONS[name.text](*arguments)
        elif name.text in DICTIONARIES:
            return {}
        elif name.text in OPAQUE:
            return Unread()
    raise FileError("calls what cannot be called in a file of weights: do not trust it")


def _storage(identity: object) -> Storage:
    """Reads ``("storage", class, key, device, elements)``, which in the legacy format ends with one item more.

    That is None, or ``(key, start, elements)`` of a part of the storage.
    """
    match identity:
        case ("storage", _Name(text=name), str(key), str(), int(size), *view) if (
            name in STORAGES and _are_counts([size]) and len(view) <= 1
        ):
            match view:
                case [] | [None]:
                    return Storage(STORAGES[name], key, size, 0, size)
                case [(str(), int(start), int(length))] if _are_counts([start, length]) and start + length <= size:
                    return Storage(STORAGES[name], key, size, start, length)
    raise FileError("refers to something outside itself that is not a tensor's storage: fetch it again")
