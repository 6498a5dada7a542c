"""Manifests for Kubernetes: a Job for the workers of a study, a JobSet for a run on several hosts.

In: the arguments of `lstm-lab`, and options (`kubernetes_options.py`). Out: text in YAML, which
`kubectl apply` reads. A pod sees the shared volume as its working directory, so relative paths are
those in the volume. `training/multihost.py` reads the variables that a JobSet sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lstm_lab.studies.kubernetes_options import KubernetesOptions
from lstm_lab.utils.errors import FAILED, INTERRUPTED, WRONG_USAGE

Manifest = dict[str, Any]

# How often a pod, or all hosts of a run, start again if one was killed, e.g. for lack of memory.
RETRIES = 3
# A signal waits for the end of a call (about 2 s), an evaluation or a compilation, then for the
# checkpoint. Kubernetes' default, 30 s, is short for a large model.
GRACE_SECONDS = 120
PORT = 8476
HOSTS, VOLUME, CONTAINER = "hosts", "shared", "lstm-lab"
SHARED_MEMORY = "shared-memory"
GPU, TPU = "nvidia.com/gpu", "google.com/tpu"


def worker_job(
    options: KubernetesOptions, name: str, arguments: Sequence[str], workers: int
) -> Manifest:
    """Returns an indexed Job: one pod per worker of a study, or one for a run on one host.

    A pod that is interrupted (exit code 75) or evicted starts again and resumes. A pod whose runs
    failed (1) or whose usage is wrong (2) does not: it would fail again. All others, such as one
    that was killed for lack of memory, start again three times.

    Args:
      options: the options.
      name: the name of the Job.
      arguments: the arguments of `lstm-lab` for every pod.
      workers: the number of pods.

    Example:
      to_yaml(worker_job(options, "first", ["sweep", "--study=s.py", "--worker"], 4))
    """
    rules = [
        _on_disruption("Ignore"),
        _on_exit_codes("Ignore", INTERRUPTED),
        _on_exit_codes("FailIndex", FAILED, WRONG_USAGE),
    ]
    spec = {
        **_indexed(options, arguments, workers, rules, []),
        # Without it, pods of other indexes would share the attempts of one that fails.
        "backoffLimitPerIndex": RETRIES,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(options, name),
        "spec": spec,
    }


def run_job_set(options: KubernetesOptions, name: str, arguments: Sequence[str]) -> Manifest:
    """Returns a JobSet: the hosts of one run, which start, stop and start again together.

    JobSet makes the headless service by which the pods find each other. On a TPU, GKE tells JAX the
    hosts of the slice; elsewhere the manifest does.

    Args:
      options: the options; `hosts` is the number of pods.
      name: the name of the JobSet.
      arguments: the arguments of `lstm-lab` for every pod; `--hosts=auto` is among them.

    Example:
      to_yaml(run_job_set(options, "first", ["train", "adding", "--hosts=auto"]))
    """
    hosts = int(options.hosts)
    # Any pod that ends early ends the Job, because the other hosts cannot continue without it.
    rules = [_on_disruption("FailJob"), _on_exit_codes("FailJob", INTERRUPTED)]
    environment = [] if options.tpu else _coordinator(name, hosts)
    spec = {**_indexed(options, arguments, hosts, rules, environment), "backoffLimit": 0}
    metadata = _metadata(options, name)
    if options.tpu:
        # The pods of one slice: without it, they could be spread over the slices of several pools.
        metadata["annotations"] = {
            "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
        }
    # The reason is that of `rules`: an interrupted run may start again as often as it likes.
    resume = {
        "name": "resume",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            # Pods of a run need their addresses before all of them are ready: they wait for each
            # other.
            "network": {
                "enableDNSHostnames": True,
                "subdomain": name,
                "publishNotReadyAddresses": True,
            },
            "failurePolicy": {"maxRestarts": RETRIES, "rules": [resume]},
            "replicatedJobs": [{"name": HOSTS, "replicas": 1, "template": {"spec": spec}}],
        },
    }


def to_yaml(manifest: Manifest) -> str:
    """Returns a manifest as YAML; every text value stands in double quotes.

    Without quotes, `on`, `1e3` or `0o12` would be texts for Python's YAML and a truth value or a
    number for that of Kubernetes.

    Args:
      manifest: the manifest.

    Example:
      print(to_yaml({"kind": "Job"}))  # kind: "Job"
    """
    # Late: only this verb writes YAML.
    import yaml

    # A class of its own, because a representer belongs to a class.
    dumper: Any = type("Dumper", (yaml.SafeDumper,), {})
    dumper.add_representer(
        _Text, lambda self, value: self.represent_scalar("tag:yaml.org,2002:str", value, style='"')
    )
    text: str = yaml.dump(_quoted(manifest), Dumper=dumper, sort_keys=False, width=math.inf)
    return text


class _Text(str):
    """A text value of a manifest, unlike its keys."""


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    return _Text(value) if isinstance(value, str) else value


def _metadata(options: KubernetesOptions, name: str) -> Manifest:
    namespace = {"namespace": options.namespace} if options.namespace else {}
    return {"name": name, **namespace, "labels": {"app.kubernetes.io/name": CONTAINER}}


def _indexed(
    options: KubernetesOptions,
    arguments: Sequence[str],
    pods: int,
    rules: list[Manifest],
    environment: list[Manifest],
) -> Manifest:
    """Returns what both kinds of Jobs share: indexed pods that start at once."""
    labels = {"app.kubernetes.io/name": CONTAINER}
    return {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "podFailurePolicy": {"rules": rules},
        "template": {
            "metadata": {"labels": labels},
            "spec": _pod(options, arguments, environment),
        },
    }


def _pod(
    options: KubernetesOptions, arguments: Sequence[str], environment: list[Manifest]
) -> Manifest:
    resources = {"cpu": options.cpu, "memory": options.memory}
    accelerator = {GPU: options.gpus} if options.gpus else {}
    pod: Manifest = {
        # A new pod in place of the old one, so that the rules of the Job see its exit code.
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # No pod talks to Kubernetes, so none needs its token.
        "automountServiceAccountToken": False,
    }
    if options.tpu:
        accelerator = {TPU: str(options.slice_chips // int(options.hosts))}
        pod["nodeSelector"] = {
            "cloud.google.com/gke-tpu-accelerator": options.tpu,
            "cloud.google.com/gke-tpu-topology": options.topology,
        }
    if accelerator:
        # Nodes with accelerators usually turn other pods away.
        (kind,) = accelerator
        pod["tolerations"] = [{"key": kind, "operator": "Exists", "effect": "NoSchedule"}]
    resources |= accelerator
    mounts: list[Manifest] = [{"name": VOLUME, "mountPath": options.mount}]
    volumes: list[Manifest] = [
        {"name": VOLUME, "persistentVolumeClaim": {"claimName": options.claim}}
    ]
    if int(options.gpus or 0) > 1:
        # NCCL may exchange data between GPUs there, and containers have 64 MB of it by default.
        mounts.append({"name": SHARED_MEMORY, "mountPath": "/dev/shm"})
        volumes.append({"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory"}})
    container = {
        "name": CONTAINER,
        "image": options.image,
        # No shell: it would not pass SIGTERM on.
        "command": ["lstm-lab"],
        # Kubernetes replaces $(NAME) by a variable, and $$ by one $.
        "args": [argument.replace("$", "$$") for argument in arguments],
        "workingDir": options.mount,
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}, *environment],
        **({"envFrom": [{"secretRef": {"name": options.secret}}]} if options.secret else {}),
        "resources": {"requests": resources, "limits": dict(resources)},
        "volumeMounts": mounts,
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    return {**pod, "containers": [container], "volumes": volumes}


def _coordinator(name: str, hosts: int) -> list[Manifest]:
    """Returns the variables by which `--hosts=auto` finds the other hosts."""
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        # The host name of the first pod: JobSet, replicated job, its index, the pod's index.
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{name}-{HOSTS}-0-0.{name}:{PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(hosts)},
        {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


def _on_disruption(action: str) -> Manifest:
    return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def _on_exit_codes(action: str, *codes: int) -> Manifest:
    exits = {"containerName": CONTAINER, "operator": "In", "values": list(codes)}
    return {"action": action, "onExitCodes": exits}
