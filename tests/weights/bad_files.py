"""Files that are no weights, or worse: each by name, with the sentence that must refuse it."""

import functools
import io
import json
import pickle
import struct
import zipfile
from typing import NamedTuple

import numpy as np


class Bad(NamedTuple):
    content: bytes
    sentence: str
    """A regular expression, of what follows the file's name."""
    program: bytes | None = None
    """A pickle that Python itself would obey, and so make the sentinel."""


def text(string):
    encoded = string.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value):
    return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key="0", stored=6, offset=0, shape=(2, 3), strides=(3, 1), kind=("torch", "FloatStorage"), extra=b""):
    identity = b"(" + text("storage") + name(*kind) + text(key) + text("cpu") + number(stored) + extra + b"tQ"
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = b"(" + identity + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"t"
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def state(**tensors):
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in tensors.items()) + b"u."


VALUES = np.arange(6, dtype="<f4").tobytes()


def zipped(program, storages=None, more=(), folder="archive", method=zipfile.ZIP_STORED):
    """A file of the zip format; `more` holds further (name, content)."""
    buffer = io.BytesIO()
    entries = [("data.pkl", program)] if program is not None else []
    entries += [(f"data/{key}", content) for key, content in ({"0": VALUES} if storages is None else storages).items()]
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for entry, content in [*((f"{folder}/{each}", content) for each, content in entries), *more]:
            # A ZipInfo has a fixed date: the time of the test must not be in the bytes.
            archive.writestr(zipfile.ZipInfo(entry), content, method)
    return buffer.getvalue()


SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def legacy(
    program, *, magic=0x1950A86A20F9469CFC6C, protocol=1001, system=SYSTEM, keys=("0",), length=6, values=VALUES
):
    parts = [pickle.dumps(each, 2) for each in (magic, protocol, system)]
    return b"".join([*parts, program, pickle.dumps(list(keys), 2), struct.pack("<q", length), values])


def altered(content, old, new):
    assert old in content
    return content.replace(old, new)


def executing(sentinel):
    """Programs that make the sentinel when Python's own pickle runs them: name to (program, sentence)."""
    command, code = f"touch {sentinel}", f"open({str(sentinel)!r}, 'w').close()"
    system, untouched = name("posix", "system"), r"names 'posix\.system', which is no part of weights"
    call = system + b"(" + text(command) + b"tR"
    get_module = name("builtins", "__import__") + b"(" + text("os") + b"tR"
    get_system = name("builtins", "getattr") + b"(" + get_module + text("system") + b"tR"
    return {
        "os_system": (b"\x80\x02" + call + b".", untouched),
        "eval": (b"\x80\x02" + name("builtins", "eval") + b"(" + text(code) + b"tR.", r"names 'builtins\.eval'"),
        "exec": (b"\x80\x02" + name("builtins", "exec") + b"(" + text(code) + b"tR.", r"names 'builtins\.exec'"),
        "getattr": (b"\x80\x02" + get_system + b"(" + text(command) + b"tR.", r"names 'builtins\.getattr'"),
        "inside_a_tensor": (
            altered(state(weight=tensor()), number(6), call + b"0" + number(6)),
            untouched,
        ),
        "inside_what_is_not_read": (
            b"\x80\x02" + name("decimal", "Decimal") + b"(" + call + b"tR.",
            untouched,
        ),
        "attributes_of_what_is_not_read": (
            b"\x80\x02" + name("argparse", "Namespace") + b")\x81}" + text("x") + call + b"sb.",
            untouched,
        ),
        "items_of_what_is_not_read": (
            b"\x80\x02" + name("collections", "deque") + b"]\x85R(" + call + b"e.",
            untouched,
        ),
        "key_of_a_dictionary": (b"\x80\x02}" + call + b"Ns.", untouched),
        "missing_value": (
            b"\x80\x02" + name("collections", "defaultdict") + system + b"\x85R0" + call + b".",
            untouched,
        ),
        "inside_an_ordered_dict": (
            b"\x80\x02" + name("collections", "OrderedDict") + b"(](" + call + b"etR.",
            untouched,
        ),
        "after_the_weights": (b"\x80\x02}(" + text("a") + b"}" + text("z") + call + b"u.", untouched),
        "partial": (
            b"\x80\x02" + name("functools", "partial") + b"(" + system + text(command) + b"tR)R.",
            r"names 'functools\.partial'",
        ),
        "newobj": (
            b"\x80\x02" + name("subprocess", "Popen") + b"(](" + text("touch") + text(str(sentinel)) + b"et\x81.",
            r"names 'subprocess\.Popen'",
        ),
        "newobj_ex": (
            b"\x80\x04" + name("subprocess", "Popen") + b"(](" + text("touch") + text(str(sentinel)) + b"et}\x92.",
            r"is of pickle protocol 4, not 2",
        ),
        "stack_global": (
            b"\x80\x04" + text("posix") + text("system") + b"\x93(" + text(command) + b"tR.",
            r"is of pickle protocol 4, not 2",
        ),
        "stack_global_in_protocol_2": (
            b"\x80\x02" + text("posix") + text("system") + b"\x93(" + text(command) + b"tR.",
            r"uses the pickle instruction STACK_GLOBAL",
        ),
        "inst": (b"(" + text(command) + b"iposix\nsystem\n.", r"uses the pickle instruction INST"),
        "obj": (b"(" + system + text(command) + b"o.", untouched),
        "obj_of_a_parameter": (
            b"(" + name("torch._utils", "_rebuild_parameter") + text(command) + b"o0" + call + b".",
            r"uses the pickle instruction OBJ",
        ),
        "build_a_setstate": (
            b"\x80\x02"
            + name("argparse", "Namespace")
            + b")\x81}"
            + text("__setstate__")
            + system
            + b"sb"
            + text(command)
            + b"b.",
            untouched,
        ),
        "dotted_name": (
            b"\x80\x04" + text("collections") + text("_sys.modules.get") + b"\x93(" + text("os") + b"tR0" + call + b".",
            r"is of pickle protocol 4",
        ),
        "no_protocol": (call + b".", untouched),
        "extension": (b"\x80\x02\x82\xf0(" + text(command) + b"tR.", r"uses the pickle instruction EXT1"),
        "text_instructions": (f"cposix\nsystem\n(S'{command}'\ntR.".encode(), untouched),
    }


@functools.cache
def machine():
    """Programs that run nothing and are refused all the same: name to (program, sentence)."""
    ordered, storage = name("collections", "OrderedDict"), name("torch", "FloatStorage")
    deep = b"\x80\x02)" + b"\x85" * 20_000  # Python refuses a recursion of 1,000
    no_call = "calls what cannot be called"
    unlike, no_set = "whose offset, shape or strides", "sets attributes of what has none"
    rebuild, namespace = name("torch._utils", "_rebuild_tensor_v2"), name("argparse", "Namespace")
    parameter, make_set = name("torch._utils", "_rebuild_parameter"), name("builtins", "set")
    return {
        "build_on_a_list": (b"\x80\x02]}b.", no_set),
        "build_with_a_string": (b"\x80\x02" + namespace + b")\x81" + text("x") + b"b.", no_set),
        "build_on_a_tensor": (altered(state(weight=tensor()), b"Ru.", b"R}bu."), no_set),
        "call_a_storage_class": (b"\x80\x02" + storage + b"(" + number(1 << 40) + b"tR.", no_call),
        "call_a_number": (b"\x80\x02" + number(1) + b")R.", no_call),
        "call_an_ordered_dict_anew": (b"\x80\x02" + ordered + b")\x81.", no_call),
        "names_beside_the_table": (
            b"\x80\x02" + name("numpy", "load") + b"(" + text("x.npy") + b"tR.", r"names 'numpy\.load'",
        ),
        "bytes_of_another_file": (
            b"\x80\x02" + name("torch.storage", "_load_from_bytes") + b"(Nt.",
            r"names 'torch\.storage\._load_from_bytes'",
        ),
        "attribute_of_a_name": (b"\x80\x02" + name("datetime", "date.max") + b")R.", r"names 'datetime\.date\.max'"),
        "a_state_dict_anew": (b"\x80\x02" + name("collections", "defaultdict") + b")\x81.", no_call),
        "attributes_of_a_name": (b"\x80\x02" + name("datetime", "date") + b"}b.", no_set),
        "wide_key": (b"\x80\x02}(" + b"N" * 17 + b"tNs.", "other things than names and numbers"),
        "keys_of_keys": (
            b"\x80\x02](" + b"N" * 16 + b"tq\x00a(" + b"h\x00" * 16 + b"tq\x01a}(" + b"h\x01" * 16 + b"tNs.",
            "other things than names and numbers",
        ),
        "to_be_negated": (
            state(weight=altered(tensor(), b")Rt", b")R}" + text("neg") + b"\x88st")), "yet to be negated",
        ),
        "a_tensor_of_its_own_class": (
            b"\x80\x02" + name("torch._tensor", "_rebuild_from_type_v2") + b"("
            + name("decimal", "Decimal") + name("torch", "Tensor") + b")Nt" + b"R.", "is made in an unknown way",
        ),
        "persistent_module": (
            b"\x80\x02(" + text("module") + ordered + text("x.py") + text("import os") + b"tQ.",
            "refers to something outside itself",
        ),
        "persistent_text": (b"\x80\x02P../../x\n.", "uses the pickle instruction PERSID"),
        "storage_of_another_kind": (
            state(weight=tensor(kind=("torch", "ComplexFloatStorage"))), r"names 'torch\.ComplexFloatStorage'",
        ),
        "wrong_dtype": (state(weight=tensor(kind=("torch", "DoubleStorage"))), "too few bytes for the storage"),
        "a_dtype_for_a_storage": (state(weight=tensor(kind=("torch", "float32"))), "refers to something outside"),
        "two_kinds_of_one_storage": (
            state(a=tensor(), b=tensor(kind=("torch", "IntStorage"))), "describes its storage '0' in two ways",
        ),
        "missing_storage": (state(weight=tensor(key="1")), r"lacks its part 'data/1'"),
        "storage_path": (state(weight=tensor(key="../../../etc/passwd")), "lacks its part 'data/../../../etc/passwd'"),
        "short_storage": (state(weight=tensor(stored=7)), "too few bytes for the storage of 'weight'"),
        "long_storage": (state(weight=tensor(stored=5, shape=(5,), strides=(1,))), "of 24 bytes, not of 20 at most"),
        "negative_stride": (state(weight=tensor(offset=5, strides=(-3, -1))), unlike),
        "negative_offset": (state(weight=tensor(offset=-1)), unlike),
        "negative_size": (state(weight=tensor(shape=(-2, -3))), unlike),
        "offset_out_of_range": (state(weight=tensor(offset=1)), "shape and strides do not fit its 6 stored elements"),
        "stride_out_of_range": (state(weight=tensor(strides=(4, 1))), "do not fit its 6 stored elements"),
        "wrong_shape": (state(weight=tensor(shape=(3, 3))), "do not fit its 6 stored elements"),
        "fewer_strides_than_sizes": (state(weight=tensor(strides=(1,))), unlike),
        "expanded_bomb": (
            state(weight=tensor(shape=(1 << 20, 1 << 20), strides=(0, 0))), "do not fit its 6 stored elements",
        ),
        "overflowing_shape": (
            state(weight=tensor(shape=(1 << 62, 4), strides=(0, 0))), "do not fit its 6 stored elements",
        ),
        "overflowing_empty_shape": (state(weight=tensor(shape=(0, 1 << 62, 4), strides=(0, 0, 0))), "not a whole file"),
        "too_many_dimensions": (
            state(weight=tensor(shape=(1,) * 100_000, strides=(1,) * 100_000)), "do not fit its 6 stored elements",
        ),
        "huge_integers": (state(weight=tensor(stored=1 << 2000)), "too few bytes for the storage"),
        "sizes_of_true": (state(weight=altered(tensor(), numbers((2, 3)), b"(\x88\x88t")), unlike),
        "nothing_for_a_tensor": (b"\x80\x02" + rebuild + b")R.", unlike),
        "parameter_of_a_list": (
            b"\x80\x02" + parameter + b"(]tR.", "a parameter that is not a tensor",
        ),
        "not_a_dictionary": (b"\x80\x02].", "holds no state dict"),
        "no_tensors": (b"\x80\x02}" + text("epoch") + number(3) + b"s.", "holds no state dict"),
        "state_dict_of_numbers": (b"\x80\x02}" + text("model") + b"}" + text("a") + number(3) + b"ss.", "no state"),
        "itself_for_a_model": (b"\x80\x02}q\x00" + text("model") + b"h\x00s.", "holds no state dict"),
        "a_tensor_and_a_number": (
            b"\x80\x02}(" + text("weight") + tensor() + text("epoch") + number(3) + b"u.", "holds no state dict",
        ),
        "tensors_by_number": (b"\x80\x02}(" + number(1) + tensor() + b"u.", "holds tensors without names"),
        "name_with_an_escape": (state(**{"\x1b[2Jweight": tensor()}), r"of the name '\\x1b\[2Jweight'"),
        "name_with_a_surrogate": (state(**{"\ud800": tensor()}), r"of the name '\\ud800'"),
        "endless_name": (state(**{"x" * 100_000: tensor()}), r"of the name 'x{77}\.\.\.'"),
        "global_with_an_escape": (b"\x80\x02cos\x1b\nx\n.", r"names 'os\\x1b.x'"),
        "deep_tuple": (deep + b".", "holds no state dict"),
        "deep_key": (b"\x80\x02}" + deep[2:] + b"Ns.", "a dictionary or set of other things than names and numbers"),
        "deep_set": (
            b"\x80\x02" + make_set + b"(](" + deep[2:] + b"etR.",
            "a dictionary or set of other things than names and numbers",
        ),
        "set_of_a_string": (b"\x80\x02" + make_set + text("x") + b"\x85R.", "not made of a list"),
        "ordered_dict_of_singles": (b"\x80\x02" + ordered + b"(](NetR.", "a dictionary that is not made of pairs"),
        "laughs": (b"\x80\x02]q\x00" + b"](h\x00h\x00eq\x00" * 20_000 + b".", "no state dict"),
        "endless_program": (b"\x80\x02" + b"N" * ((1 << 20) + 1) + b".", "takes over 1,048,576 instructions"),
        "memo_bomb": (b"\x80\x02Nr\xff\xff\xff\xff.", "holds no state dict"),
        "string_longer_than_the_file": (b"\x80\x02X\xff\xff\xff\xffabc.", "not a whole file of weights"),
        "long_of_gigabytes": (b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", "not a whole file of weights"),
        "frame_of_exabytes": (b"\x80\x02\x95" + b"\x7f" * 8 + b"N.", "uses the pickle instruction FRAME"),
        "bytearray_of_exabytes": (b"\x80\x02\x96" + b"\x7f" * 8 + b"N.", "not a whole file of weights"),
        "no_operand": (b"\x80\x02R.", "an instruction finds its operand missing"),
        "no_mark": (b"\x80\x02t.", "an instruction finds its mark missing"),
        "no_list": (b"\x80\x02}Na.", "an instruction fills a list where there is none"),
        "no_memory": (b"\x80\x02h\x07.", "an instruction recalls what was never kept"),
        "odd_items": (b"\x80\x02}(NNNu.", "not a whole file of weights"),
        "nothing_at_the_end": (b"\x80\x02.", "an instruction finds its operand missing"),
        "no_end": (b"\x80\x02N", "not a whole file of weights"),
        "no_instruction": (b"\x80\x02\xff.", "not a whole file of weights"),
    }  # fmt: skip


@functools.cache
def containers():
    """Whole files: name to (content, sentence)."""
    good = state(weight=tensor())
    whole, old = zipped(good), legacy(good)
    header = json.dumps({"w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}).encode()
    tensors = struct.pack("<Q", len(header)) + header + VALUES
    one_more = lambda entry, content: zipped(good, more=[(entry, content)])  # noqa: E731
    lying = bytearray(zipped(good, {"0": bytes(5_000_000)}, method=zipfile.ZIP_DEFLATED))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the claimed size of the last entry
        at = lying.rindex(signature)
        lying[at + place : at + place + 4] = struct.pack("<I", 24)
    files = {
        "empty": (b"", "is empty: fetch it again"),
        "text": (b"these are not weights\n" * 9, "is neither a PyTorch nor a safetensors file"),
        "html": (b"<!DOCTYPE html><html><h1>404</h1></html>", "is a web page and not weights"),
        "html_with_space": (b"\n\n  <html>", "is a web page and not weights"),
        "git_lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer to a file in Git LFS"),
        "zeros": (bytes(1000), "is neither a PyTorch nor a safetensors file"),
        "other_pickle": (pickle.dumps({"weight": 1}), "is a pickle, but not one of PyTorch's files"),
        "wrong_magic": (legacy(good, magic=0x1950A86A20F9469CFC6D), "is a pickle, but not one of PyTorch's files"),
        "wrong_protocol": (legacy(good, protocol=1002), "is of an unknown version of PyTorch's legacy format"),
        "legacy_big_endian": (legacy(good, system=SYSTEM | {"little_endian": False}), "on a big-endian machine"),
        "legacy_no_system": (legacy(good, system=None), "on a big-endian machine"),
        "legacy_key_missing": (legacy(good, keys=()), "does not list the storages that its tensors are in"),
        "legacy_key_unknown": (legacy(good, keys=("1",)), "does not list the storages"),
        "legacy_key_twice": (legacy(good, keys=("0", "0")), "does not list the storages"),
        "legacy_key_not_text": (legacy(good, keys=([],)), "does not list the storages"),
        "legacy_length": (legacy(good, length=7), "has a storage '0' of another length"),
        "legacy_negative_length": (legacy(good, length=-6), "has a storage '0' of another length"),
        "legacy_short": (old[:-1], "is shorter or longer than its tensors"),
        "legacy_long": (old + b"\0", "is shorter or longer than its tensors"),
        "legacy_claims_exabytes": (
            legacy(state(weight=tensor(stored=1 << 60)), length=1 << 60), "is shorter or longer than its tensors",
        ),
        "legacy_view_out_of_range": (
            legacy(state(weight=tensor(extra=b"(" + text("v") + number(1) + number(6) + b"t"))), "outside itself",
        ),
        "legacy_view_too_small": (
            legacy(state(weight=tensor(extra=b"(" + text("v") + number(1) + number(5) + b"t"))), "its 5 stored",
        ),
        "zip_big_endian": (one_more("archive/byteorder", "big"), "on a big-endian machine"),
        "zip_byteorder_bomb": (one_more("archive/byteorder", b"x" * 100), "of 100 bytes, not of 6 at most"),
        "torchscript": (one_more("archive/constants.pkl", b""), "is a TorchScript program, not weights"),
        "other_zip": (zipped(None, {}, [("a.txt", b"x"), ("b.txt", b"x")]), "is a zip file, but not PyTorch's"),
        "empty_zip": (zipped(None, {}), "is neither a PyTorch nor a safetensors file"),
        "nested_zip": (zipped(None, {}, [("model.pth", whole)]), "is a zip file, but not PyTorch's"),
        "nested_zip_for_a_pickle": (zipped(whole), "not a whole file of weights"),
        "zip_bomb": (
            zipped(good, {"0": bytes(5_000_000)}, method=zipfile.ZIP_DEFLATED), "claims to hold over 10 times its own",
        ),
        "zip_bomb_that_lies": (bytes(lying), "not a whole file of weights"),
        "pickle_of_a_bomb": (zipped(b"\x80\x02" + b"N" * (1 << 24) + b"."), "of 16,777,219 bytes, not of 16,777,216"),
        "path_traversal": (one_more("../../evil", b""), r"has a part named '../../evil', outside itself"),
        "path_traversal_inside": (one_more("archive/data/../../evil", b""), "outside itself"),
        "absolute_path": (one_more("/etc/passwd", b""), r"has a part named '/etc/passwd', outside itself"),
        "windows_path": (one_more("archive\\evil", b""), "outside itself"),
        "second_pickle": (one_more("other/data.pkl", good), "has two parts named 'data.pkl'"),
        "bzip2": (zipped(good, method=zipfile.ZIP_BZIP2), "is compressed or encrypted in a way"),
        "lzma": (zipped(good, method=zipfile.ZIP_LZMA), "is compressed or encrypted in a way"),
        "encrypted": (altered(whole, b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"), "or encrypted"),
        "flipped_bit": (altered(whole, VALUES, VALUES[:-1] + b"\x41"), "not a whole file of weights"),
        "safetensors_cut": (tensors[:-1], "not a whole file of weights"),
        "safetensors_huge_header": (struct.pack("<Q", 1 << 60) + header + VALUES, "not a whole file of weights"),
        "safetensors_offsets": (altered(tensors, b"[0, 24]", b"[0, 96]"), "not a whole file of weights"),
        "safetensors_dtype": (altered(tensors, b"F32", b"F99"), "not a whole file of weights"),
        "safetensors_name": (altered(tensors, b'"w"', b'"\x1b"'), "not a whole file of weights"),
    }  # fmt: skip
    files |= {f"zip_cut_at_{n}": (whole[:n], "not a whole|neither a PyTorch") for n in range(3, len(whole), 97)}
    files |= {f"legacy_cut_at_{n}": (old[:n], "is ") for n in range(1, len(old), 41)}
    files["zip_cut_by_a_byte"] = (whole[:-1], "not a whole file of weights")
    return files


def corpus(sentinel):
    """All bad files: name to `Bad`."""
    files = {}
    for case, (program, sentence) in executing(sentinel).items():
        # Python would need the extension registered, and would make the other two without starting them.
        obeyed = None if case in ("extension", "newobj", "newobj_ex") else program
        files[f"{case}_in_zip"] = Bad(zipped(program), sentence, obeyed)
        files[f"{case}_in_legacy"] = Bad(legacy(program), sentence, obeyed)
    files |= {case: Bad(zipped(program), sentence) for case, (program, sentence) in machine().items()}
    files |= {case: Bad(content, sentence) for case, (content, sentence) in containers().items()}
    return files
