"""The options of `--kubernetes`: what a user says about the cluster, and how it is checked.

In: the text of the flag. Out: `KubernetesOptions`, names and paths that Kubernetes accepts. What is
wrong is an error here, and not of the cluster or of a pod that does not start. Read `kubernetes.py`
next.
"""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, dataclass, fields
from pathlib import PurePosixPath

from lstm_lab.studies.slurm import named_values
from lstm_lab.utils.errors import UserError, unknown

# JobSet refuses a name with which that of a pod, NAME-hosts-0-123-abcde, would have more than 63
# characters.
LONGEST_NAME = 45
# Chips of a host: GKE's machine types have 1, 2, 4 or 8, and those of slices with several hosts 4
# (https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus).
CHIPS_OF_ONE_HOST = (1, 2, 4, 8)
CHIPS_OF_EACH_HOST = 4

_LABEL = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL_VALUE = r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
# What each option must look like, and the same in words.
_FORMS = {
    "image": (r"[a-z0-9][\w./:@-]*", "the name of an image, e.g. registry.example/lab:1"),
    "claim": (
        _SUBDOMAIN,
        "the PersistentVolumeClaim of the shared volume, in lower-case letters, digits and dashes, "
        "e.g. lab",
    ),
    "name": (_LABEL, "lower-case letters, digits and dashes, a letter first"),
    "namespace": (_LABEL, "lower-case letters, digits and dashes, a letter first"),
    "mount": (r"(/(?!\.{1,2}(/|$))[\w.-]+)+", "an absolute path without . and .., e.g. /lab"),
    "cpu": (r"[1-9]\d*", "a whole number of cores, e.g. 4"),
    # Without a unit it would be bytes. Ki has a capital letter, and k has none.
    "memory": (r"[1-9]\d*(\.\d+)?([KMGT]i|[kMGT])", "an amount with its unit, e.g. 16Gi"),
    "gpus": (r"[1-9]\d*", "a whole number, e.g. 1"),
    "tpu": (_LABEL_VALUE, "the name of a TPU, e.g. tpu-v5-lite-podslice"),
    "topology": (r"[1-9]\d*(x[1-9]\d*){1,2}", "the shape of a TPU slice, e.g. 2x4"),
    "hosts": (r"[1-9]\d*", "a whole number, e.g. 2"),
    "secret": (_SUBDOMAIN, "lower-case letters, digits and dashes"),
}


@dataclass(frozen=True)
class KubernetesOptions:
    """The options of `--kubernetes`.

    Attributes:
      image: the container image, in which lstm_lab is installed.
      claim: the PersistentVolumeClaim of the shared volume; several pods write to it at once.
      name: the name of the Job or JobSet; "" takes the name of the results' folder.
      namespace: its namespace; "" leaves the choice to kubectl.
      mount: where a pod sees the volume.
      cpu, memory: what a pod gets.
      gpus: NVIDIA GPUs of a pod; "" for none.
      tpu, topology: the kind of TPU and the shape of its slice, as GKE names them; "" for none.
      hosts: the pods that train one run together.
      secret: a Secret whose entries become environment variables, such as keys of loggers.

    Example:
      parse_kubernetes("image=registry.example/lab:1,claim=lab,gpus=1")
    """

    image: str
    claim: str
    name: str = ""
    namespace: str = ""
    mount: str = "/lab"
    cpu: str = "4"
    memory: str = "16Gi"
    gpus: str = ""
    tpu: str = ""
    topology: str = ""
    hosts: str = "1"
    secret: str = ""

    @property
    def slice_chips(self) -> int:
        """The chips of the whole TPU slice; 0 without one."""
        return math.prod(map(int, self.topology.split("x"))) if self.topology else 0


def parse_kubernetes(text: str) -> KubernetesOptions:
    """Returns the options of a text "name=value,name=value".

    Args:
      text: the value of `--kubernetes`.

    Raises:
      UserError: for an unknown option, a missing one, or a value that Kubernetes would refuse.

    Example:
      parse_kubernetes("image=lab:1,claim=lab,tpu=tpu-v5-lite-podslice,topology=2x4")
    """
    values = named_values("--kubernetes", text)
    known = {field.name: field.default for field in fields(KubernetesOptions)}
    for name, value in values.items():
        if name not in known:
            raise unknown("--kubernetes", name, known)
        pattern, expected = _FORMS[name]
        # ASCII: \w and \d would have letters and digits of all scripts.
        if not re.fullmatch(pattern, value, re.ASCII):
            raise UserError(f"--kubernetes: {name}: got {value!r}, expected {expected}")
    for name, default in known.items():
        if default is MISSING and name not in values:
            raise UserError(f"--kubernetes: {name} is required: {_FORMS[name][1]}")
    options = KubernetesOptions(**values)
    if bool(options.tpu) != bool(options.topology):
        raise UserError("--kubernetes: got one of tpu and topology, expected both or none")
    if options.tpu and options.gpus:
        raise UserError("--kubernetes: got tpu and gpus, expected one of them")
    if options.tpu:
        _check_topology(options)
    return options


def _check_topology(options: KubernetesOptions) -> None:
    """Raises UserError for a TPU slice that GKE does not have."""
    hosts = int(options.hosts)
    if hosts == 1:
        exists, expected = options.slice_chips in CHIPS_OF_ONE_HOST, "1, 2, 4 or 8 chips"
    else:
        chips = CHIPS_OF_EACH_HOST * hosts
        exists, expected = options.slice_chips == chips, f"{chips} chips, 4 for each host"
    if not exists:
        raise UserError(
            f"--kubernetes: topology: got {options.topology} for hosts={hosts}, expected {expected}"
        )


def resource_name(options: KubernetesOptions, folder: str) -> str:
    """Returns the name of a Job or JobSet.

    Args:
      options: the options; their name wins.
      folder: the name of the results' folder, whose other characters become dashes.

    Raises:
      UserError: if the name is too long, or does not begin with a letter.

    Example:
      resource_name(options, "digits_ablation")  # "digits-ablation"
    """
    name = options.name or re.sub("[^a-z0-9]+", "-", folder.lower()).strip("-")
    if len(name) > LONGEST_NAME or not re.fullmatch(_LABEL, name):
        raise UserError(
            f"--kubernetes: name: got {name!r}, expected lower-case letters, digits and dashes, a "
            f"letter first, at most {LONGEST_NAME}; choose one, e.g. name=first"
        )
    return name


def path_in_volume(flag: str, path: str, mount: str) -> str:
    """Returns a path that a pod can use.

    Args:
      flag: the flag that has the path, for the error.
      path: a relative path, which counts from the root of the volume, or one below `mount`.
      mount: where a pod sees the volume.

    Raises:
      UserError: for a path outside the volume.

    Example:
      path_in_volume("--workdir", "runs/first", "/lab")  # "runs/first"
    """
    pure = PurePosixPath(path)
    inside = pure.is_relative_to(mount) if pure.is_absolute() else True
    if not inside or ".." in pure.parts:
        raise UserError(
            f"{flag}: got {path!r}, expected a path in the shared volume: relative, or below "
            f"{mount}"
        )
    return path
