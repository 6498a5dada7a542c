"""Reads the files that W&B writes offline: LevelDB's log format, with W&B's own records inside.

W&B has no reader in Python any more; `wandb sync` has one in Go.
"""

import json
import zlib

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_records(path):
    """Returns the records of a run-*.wandb file, up to one that is not whole."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    records, parts, place = [], b"", 7
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK  # too short for a header
            continue
        checksum = int.from_bytes(content[place : place + 4], "little")
        size = int.from_bytes(content[place + 4 : place + 6], "little")
        kind = content[place + 6]
        part = content[place + 7 : place + 7 + size]
        if len(part) < size or kind not in (FULL, FIRST, MIDDLE, LAST):
            break
        assert zlib.crc32(content[place + 6 : place + 7] + part) == checksum
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            records.append(Record.FromString(parts))
        place += 7 + size
    return records


def history(records):
    """Returns the logged values by step: {step: {name: value}}."""
    steps = {}
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            step = items.pop("_step")
            assert step not in steps, "W&B would drop the second one"
            steps[step] = {k: v for k, v in items.items() if not k.startswith("_")}
    return steps


def last_run(records):
    """Returns the record of the run itself: name, group, project, config."""
    return [r.run for r in records if r.WhichOneof("record_type") == "run"][-1]


def summary(records):
    """Returns the summary at the end, by name."""
    values = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            for item in record.summary.update:
                values[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return values
