"""The file of events is one that TensorBoard reads: its frames, and what they say."""

import math
import struct

from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from jaxcnn.training.tensorboard import ScalarLog


def masked(data):
    """The checksum of TensorFlow's record files."""
    found = crc32c(data)
    return ((found >> 15) | (found << 17)) + 0xA282EAD8 & 0xFFFFFFFF


def events(folder):
    (file,) = folder.iterdir()
    content = file.read_bytes()
    while content:
        head, rest = content[:12], content[12:]
        length, checksum = struct.unpack("<QI", head)
        assert checksum == masked(head[:8])
        record, (checksum,), content = rest[:length], struct.unpack("<I", rest[length:][:4]), rest[length + 4 :]
        assert checksum == masked(record)
        yield event_pb2.Event.FromString(record)


def test_scalars_after_a_start_that_hides_what_was_undone(tmp_path):
    log = ScalarLog(tmp_path / "tensorboard", 7)
    log.write("train", 9, {"loss": 0.5, "images": 12})
    log.write("evaluation", 10, {"loss": math.nan})
    version, start, *rest = events(tmp_path / "tensorboard")  # everything is there before the file is closed
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (8, event_pb2.SessionLog.START)
    found = [(each.step, value.tag, value.simple_value) for each in rest for value in each.summary.value]
    assert found[:2] == [(9, "train/loss", 0.5), (9, "train/images", 12.0)]
    assert found[2][:2] == (10, "evaluation/loss")
    assert math.isnan(found[2][2])
    assert all(each.wall_time > 1e9 for each in rest)
    log.close()
