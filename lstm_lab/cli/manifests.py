"""Prints manifests for Kubernetes: `sweep --emit=kubernetes` and `train --emit=kubernetes`.

In: flags of the verb, and the text of `--kubernetes`. Out: YAML on standard output, for
`kubectl apply -f -`. Nothing is written and nothing starts. Read `studies/kubernetes.py` next.
"""

from __future__ import annotations

from collections.abc import Mapping

from lstm_lab.cli.options import PATH_FLAGS, as_arguments
from lstm_lab.studies.kubernetes import run_job_set, to_yaml, worker_job
from lstm_lab.studies.kubernetes_options import (
    KubernetesOptions,
    parse_kubernetes,
    path_in_volume,
    resource_name,
)
from lstm_lab.utils.errors import DONE, UserError

Flags = Mapping[str, object]


def print_worker_job(flags: Flags, folder: str, kubernetes: str | None, workers: int) -> int:
    """Prints the Job of a study's workers.

    Args:
      flags: the flags of `sweep` for each worker, by name.
      folder: the name of the study's folder, from which the Job has its name.
      kubernetes: the value of `--kubernetes`.
      workers: the number of workers.

    Raises:
      UserError: for options that no cluster accepts, or a path outside the shared volume.
    """
    options = parse_kubernetes(kubernetes or "")
    if options.hosts != "1":
        raise UserError(
            f"--kubernetes: hosts: got {options.hosts}, expected 1: --jobs={options.hosts} starts "
            "that many workers; `train` splits one run over hosts"
        )
    arguments = ["sweep", *_in_pod(flags, options), "--worker"]
    name = resource_name(options, folder)
    print(to_yaml(worker_job(options, name, arguments, workers)), end="")
    return DONE


def print_run(words: list[str], flags: Flags, folder: str, kubernetes: str | None) -> int:
    """Prints the Job of a run on one host, or the JobSet of a run on several.

    Args:
      words: the config and its settings, as on the command line.
      flags: the flags of `train` for each host, by name.
      folder: the name of the run's folder, from which the Job has its name.
      kubernetes: the value of `--kubernetes`.

    Raises:
      UserError: for options that no cluster accepts, or a path outside the shared volume.
    """
    options = parse_kubernetes(kubernetes or "")
    path_in_volume("--config", words[0], options.mount)
    arguments = ["train", *words, *_in_pod(flags, options)]
    name = resource_name(options, folder)
    if options.hosts == "1":
        manifest = worker_job(options, name, arguments, 1)
    elif flags["seeds"] is None:
        manifest = run_job_set(options, name, [*arguments, "--hosts=auto"])
    else:
        raise UserError(
            f"--seeds: got {flags['seeds']}, expected none with hosts={options.hosts}: several "
            "hosts train one run; `sweep` gives each host its own runs"
        )
    print(to_yaml(manifest), end="")
    return DONE


def _in_pod(flags: Flags, options: KubernetesOptions) -> list[str]:
    """Returns flags as the arguments of a pod."""
    for name, value in flags.items():
        if f"--{name}" in PATH_FLAGS and value is not None:
            path_in_volume(f"--{name}", str(value), options.mount)
    cores = {}
    if flags["devices"] is None and not (options.gpus or options.tpu):
        # A pod sees all cores of its node, but may use its own share only.
        cores = {"devices": options.cpu}
    return as_arguments({**flags, **cores})
