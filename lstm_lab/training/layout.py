"""How a cohort lies on the devices: members spread over them, batches split, or one device alone.

In: the number of members, the batch size, the devices. Out: a `Layout`, which `parallel.py` turns
into a program and run.json records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import backends_for_training
from lstm_lab.recurrence import Backend, DeviceType
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say

Kind = Literal["single", "members", "batch"]


@dataclass(frozen=True)
class Layout:
    """How a cohort lies on the devices; fixed at the start, since the bits of results depend on it.

    Attributes:
      kind: `single`: one device trains all lanes; `members`: each device trains its share of the
        lanes; `batch`: every device trains all lanes on its share of each batch.
      devices: number of devices, of all hosts together.
      lanes: members that train at the same time; a multiple of `devices` for `members`.
      width: hidden units of the program's arrays, to which narrower members are padded; None if all
        members have the same size.
      hosts: processes that train together, each on its own devices.
    """

    kind: Kind
    devices: int
    lanes: int
    width: int | None = None
    hosts: int = 1

    def widen(self, spec: RunSpec) -> RunSpec:
        """Returns a member's spec with the hidden size of the program's arrays."""
        if self.width is None:
            return spec
        return replace(spec, model=replace(spec.model, hidden=self.width))

    def backends(self, spec: RunSpec, device: DeviceType) -> list[Backend]:
        """Returns the backends of one member's training; see `backends_for_training`."""
        rows = spec.train.batch_size // (self.devices if self.kind == "batch" else 1)
        lanes = self.lanes // (self.devices if self.kind == "members" else 1)
        # On CPU lanes run one after another: see `parallel.lane_map`.
        members = 1 if device.platform == "cpu" else lanes
        return backends_for_training(self.widen(spec), rows, members, device)


def choose_layout(members: int, batch_size: int, devices: int, hosts: int = 1) -> Layout:
    """Spreads members if there are enough, else splits the batch if it divides, else does neither.

    Members come first: they need no communication at all.

    Args:
      members: runs of the cohort.
      batch_size: sequences per step.
      devices: available devices, of all hosts together.
      hosts: processes that train together; they always split the batch.

    Raises:
      UserError: for a batch that several hosts cannot split.
    """
    if hosts > 1:
        if batch_size % devices:
            raise UserError(
                f"train.batch_size: got {batch_size}, expected a multiple of {devices}, the number "
                f"of devices of {hosts} hosts"
            )
        return Layout("batch", devices, members, hosts=hosts)
    if devices > 1 and members >= devices:
        # Rounded up: lanes without a run are idle.
        return Layout("members", devices, -(-members // devices) * devices)
    if devices > 1 and batch_size % devices == 0:
        return Layout("batch", devices, members)
    return Layout("single", 1, members)


def run_layout(spec: RunSpec, available: int, hosts: int = 1) -> Layout:
    """Returns the layout with which a single run begins.

    Args:
      spec: the run.
      available: devices, of all hosts together.
      hosts: processes that train together.

    Raises:
      UserError: for a batch that several hosts, or `compute.devices`, cannot split.

    Example:
      run_layout(spec, 4)  # Layout("batch", 4, 1) if 4 divides the batch
    """
    devices, batch_size = usable_devices(spec, available, hosts), spec.train.batch_size
    layout = choose_layout(1, batch_size, devices, hosts)
    # Without the setting, nobody asked for the devices, and a note is enough.
    if spec.compute.devices is not None and layout.devices < devices:
        raise UserError(
            f"compute.devices: got {spec.compute.devices}, expected a number that divides "
            f"train.batch_size, {batch_size}, such as {_largest_divisor(batch_size, devices)}"
        )
    return layout


def idle_devices(layout: Layout, batch_size: int, devices: int) -> str:
    """Returns a note that all devices but one are idle, with the reason, or "".

    Args:
      layout: a layout that `choose_layout` returned.
      batch_size: sequences per step.
      devices: the devices that could train.

    Example:
      idle_devices(Layout("single", 1, 1), 50, 8)
      # "note: 1 of 8 devices trains: train.batch_size 50 is no multiple of 8; compute.devices=..."
    """
    if layout.devices > 1 or devices == 1:
        return ""
    few = f"there are {layout.lanes} runs at a time, and " if layout.lanes > 1 else ""
    # The lanes are fewer than the devices here: each could have one of its own.
    most = max(layout.lanes, _largest_divisor(batch_size, devices))
    hint = f"; compute.devices={most} uses {most}" if most > 1 else ""
    return (
        f"note: 1 of {devices} devices trains: {few}train.batch_size {batch_size} is no multiple "
        f"of {devices}{hint}"
    )


def _largest_divisor(count: int, limit: int) -> int:
    """Returns the largest number up to a limit that divides a count without a rest."""
    return max(n for n in range(1, limit + 1) if count % n == 0)


def usable_devices(spec: RunSpec, available: int, hosts: int = 1) -> int:
    """Returns how many devices train a run, or a cohort of such runs: all, or `compute.devices`.

    Args:
      spec: the run.
      available: devices, of all hosts together.
      hosts: processes that train together.

    Raises:
      UserError: if `compute.devices` is set for several hosts.

    Example:
      usable_devices(spec, 4)  # 2 if compute.devices is 2
    """
    if hosts > 1 and spec.compute.devices is not None:
        raise UserError(
            f"compute.devices: got {spec.compute.devices}, expected none: a run over several hosts "
            "uses all their devices"
        )
    return min(spec.compute.devices or available, available)


def fit_layout(layout: Layout, batch_size: int, devices: int, hosts: int = 1) -> Layout:
    """Returns a recorded layout, or the nearest one if its devices are missing.

    Args:
      layout: the layout that a run or a cohort began with.
      batch_size: sequences per step.
      devices: available devices, of all hosts together.
      hosts: processes that train together.

    Returns:
      A layout with the same lanes. If it is another one, a note says so: its bits differ.
    """
    fits = layout.devices <= devices if hosts == 1 else layout.devices == devices
    if layout.hosts == hosts and fits:
        return layout
    if hosts > 1 or layout.hosts > 1:
        adapted = choose_layout(layout.lanes, batch_size, devices, hosts)
        say(
            f"note: began on {layout.devices} devices of {layout.hosts} hosts and continues on "
            f"{adapted.devices} of {hosts}: results will differ in the last bits"
        )
        return adapted
    divided = layout.lanes if layout.kind == "members" else batch_size
    shared = _largest_divisor(divided, devices)
    say(
        f"note: began on {layout.devices} devices and continues on {shared}: results will differ "
        "in the last bits"
    )
    return replace(layout, kind=layout.kind if shared > 1 else "single", devices=shared)
