"""Reads TensorBoard's event files without TensorFlow."""

from tensorboardX.proto.event_pb2 import Event


def read_events(folder):
    """Returns the events of a folder's files: records of length, checksum, content, checksum."""
    events = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            events.append(Event.FromString(content[12 : 12 + size]))
            content = content[12 + size + 4 :]
    return events
