"""Kubernetes: manifests that the published schemas accept, and whose commands train and resume."""

import copy
import signal
import time

import pytest
import yaml
from pydantic import ValidationError

from lstm_lab.cli import main
from lstm_lab.studies.kubernetes import run_job_set, to_yaml, worker_job
from lstm_lab.studies.kubernetes_options import parse_kubernetes, resource_name
from lstm_lab.utils.errors import DONE, INTERRUPTED
from lstm_lab.utils.files import read_json
from tests.helpers.cluster import free_ports
from tests.helpers.manifests import assert_valid, pod_of, start_pod, text_values
from tests.helpers.training import wait_for_step

BASE = "image=registry.example/lab@sha256:0a1b,claim=lab"
RESOURCES = {
    "cores": "cpu=8,memory=2.5Gi",
    "gpus": "gpus=2,namespace=research,mount=/mnt/lab,secret=keys",
    "tpu": "tpu=tpu-v5-lite-podslice,topology=2x4",
}
SMALL = ["--config.train.eval_every=20", "--config.model.hidden=4", "--config.task.length=6"]


def job(extra="", arguments=("sweep", "--worker"), workers=3):
    return worker_job(parse_kubernetes(f"{BASE},{extra}"), "first", arguments, workers)


def job_set(extra="hosts=2", arguments=("train", "--hosts=auto")):
    return run_job_set(parse_kubernetes(f"{BASE},{extra}"), "first", arguments)


def printed(capsys, *arguments):
    """Returns the manifest that a verb prints."""
    assert main(list(arguments)) == DONE
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("topology", "chips"), [("1x1", "1"), ("2x1x1", "2"), ("2x2", "4"), ("2x4", "8")]
)
def test_a_pod_on_one_host_has_all_chips_of_its_slice(topology, chips):
    manifest = job(f"tpu=tpu-v5p-slice,topology={topology}")
    assert pod_of(manifest)["containers"][0]["resources"]["limits"]["google.com/tpu"] == chips


@pytest.mark.parametrize("resources", RESOURCES)
def test_the_published_schemas_accept_every_manifest(resources):
    for manifest in (job(RESOURCES[resources]), job_set(f"hosts=2,{RESOURCES[resources]}")):
        assert_valid(yaml.safe_load(to_yaml(manifest)))


@pytest.mark.parametrize("manifest", [job(), job_set()], ids=["Job", "JobSet"])
def test_the_schemas_see_a_wrong_field_and_a_wrong_type(manifest):
    unknown, wrong = copy.deepcopy(manifest), copy.deepcopy(manifest)
    pod_of(unknown)["containers"][0]["workdir"] = "/lab"
    with pytest.raises(AssertionError):
        assert_valid(unknown)
    pod_of(wrong)["terminationGracePeriodSeconds"] = "120"
    with pytest.raises(ValidationError):
        assert_valid(wrong)


def test_text_values_are_quoted_and_keys_are_not():
    text = to_yaml(job("name=on,gpus=1", arguments=("1e3", "0o12", "yes", "a: b\n# c", 'say "x"')))
    assert pod_of(yaml.safe_load(text))["containers"][0]["args"][3:] == ["a: b\n# c", 'say "x"']
    assert {node.style for node in text_values(text)} == {'"'}
    assert '"kind"' not in text
    assert 'nvidia.com/gpu: "1"' in text


def test_kubernetes_leaves_dollar_signs_of_arguments_alone():
    (container,) = pod_of(job(arguments=("--log=$(HOME)$",)))["containers"]
    assert container["args"] == ["--log=$$(HOME)$$"]


def test_interrupted_pods_start_again_and_failed_ones_do_not():
    """The rules are tried in this order; the first that fits decides."""
    spec = job()["spec"]
    disrupted, interrupted, failed = spec["podFailurePolicy"]["rules"]
    assert disrupted["action"] == interrupted["action"] == "Ignore"
    assert interrupted["onExitCodes"]["values"] == [INTERRUPTED]
    assert (failed["action"], failed["onExitCodes"]["values"]) == ("FailIndex", [1, 2])
    assert (spec["completions"], spec["parallelism"], spec["backoffLimitPerIndex"]) == (3, 3, 3)
    pod = pod_of(job())
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] > 30
    assert pod["automountServiceAccountToken"] is False


def test_all_hosts_of_a_run_start_again_together():
    spec = job_set()["spec"]
    (resume,) = spec["failurePolicy"]["rules"]
    assert resume["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    # The reason that a Job gets from the action FailJob.
    assert resume["onJobFailureReasons"] == ["PodFailurePolicy"]
    hosts = spec["replicatedJobs"][0]["template"]["spec"]
    assert {rule["action"] for rule in hosts["podFailurePolicy"]["rules"]} == {"FailJob"}
    assert (hosts["backoffLimit"], hosts["completions"], hosts["parallelism"]) == (0, 2, 2)


def test_the_longest_name_has_pods_that_the_webhook_of_job_set_accepts():
    """It adds five characters to the name of the last pod, and refuses more than 63 in all."""
    options = parse_kubernetes(f"{BASE},hosts=1000,name={'a' * 45}")
    manifest = run_job_set(options, resource_name(options, ""), ["train"])
    (hosts,) = manifest["spec"]["replicatedJobs"]
    last = hosts["replicas"] - 1, hosts["template"]["spec"]["completions"] - 1
    pod = "-".join([manifest["metadata"]["name"], hosts["name"], *map(str, last), "abcde"])
    assert len(pod) == 63


def test_a_tpu_slice_gets_its_nodes_and_its_chips():
    manifest = job_set("tpu=tpu-v5-lite-podslice,topology=4x4,hosts=4")
    assert manifest["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    pod = pod_of(manifest)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["google.com/tpu"] == "4"
    # GKE tells JAX the hosts; other addresses would contradict it.
    assert [entry["name"] for entry in container["env"]] == ["PYTHONUNBUFFERED"]


@pytest.mark.parametrize(("resources", "several"), [("gpus=1", False), ("gpus=2", True)])
def test_several_gpus_share_more_memory_than_a_container_has_by_default(resources, several):
    pod = pod_of(job(resources))
    (container,) = pod["containers"]
    names = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(names.values()) == set(volumes)
    assert ("/dev/shm" in names) == several
    if several:
        assert volumes[names["/dev/shm"]]["emptyDir"] == {"medium": "Memory"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "image is required: the name of an image"),
        ("image=lab:1", "claim is required: the PersistentVolumeClaim of the shared volume"),
        ("image=lab:1,claim=My_Lab", "claim: got 'My_Lab', expected the PersistentVolumeClaim"),
        ("image=lab:1,clam=lab", "got 'clam'; did you mean 'claim'"),
        ("image", "got 'image', expected name=value"),
        (f"{BASE},claim=b", "got claim twice"),
        ("image=Lab 1,claim=lab", "image: got 'Lab 1', expected the name of an image"),
        (f"{BASE},name=My_Study", "name: got 'My_Study', expected lower-case letters"),
        (f"{BASE},namespace=1st", "namespace: got '1st'"),
        *(
            (f"{BASE},mount={mount}", f"mount: got '{mount}', expected an absolute path without .")
            for mount in ("lab", "/../lab", "/lab/..", "/lab/./x", "/läb")
        ),
        (f"{BASE},cpu=500m", "cpu: got '500m', expected a whole number of cores"),
        *(
            (f"{BASE},memory={memory}", f"memory: got '{memory}', expected an amount with its unit")
            for memory in ("16GB", "16ki", "16K", "16", "1٦Gi")
        ),
        (f"{BASE},gpus=0", "gpus: got '0'"),
        (f"{BASE},tpu=tpu-v6e-slice", "got one of tpu and topology, expected both"),
        (f"{BASE},tpu=t,topology=2x2,gpus=1", "got tpu and gpus, expected one of them"),
        (
            f"{BASE},tpu=t,topology=4x4",
            "topology: got 4x4 for hosts=1, expected 1, 2, 4 or 8 chips",
        ),
        (f"{BASE},tpu=t,topology=4x4,hosts=3", "got 4x4 for hosts=3, expected 12 chips, 4 for"),
        (f"{BASE},tpu=t,topology=4x4,hosts=2", "got 4x4 for hosts=2, expected 8 chips, 4 for"),
        (f"{BASE},hosts=2", "hosts: got 2, expected 1: --jobs=2 starts that many workers"),
        (f"{BASE},name={'a' * 46}", "a letter first, at most 45; choose one, e.g. name=first"),
    ],
)
def test_what_kubernetes_would_refuse_is_an_error_of_one_line(text, message, capsys):
    assert main(["sweep", "counters", "--emit=kubernetes", f"--kubernetes={text}"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert len(error.splitlines()) == 1
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "counters", "--kubernetes=a=b"], "got a=b, expected --emit=kubernetes as well"),
        (["train", "adding", "--kubernetes=a=b"], "got a=b, expected --emit=kubernetes as well"),
        (["train", "adding", "--emit=kubernetes", "--find-lr"], "expected no --find-lr with"),
        (["train", "adding", "--emit=kubernetes", "--hosts=auto"], "expected no --hosts with"),
        (["train", "ading", "--emit=kubernetes"], "did you mean 'adding'"),
        (
            ["train", "adding", "--emit=kubernetes", f"--kubernetes={BASE},hosts=2", "--seeds=2"],
            "--seeds: got 2, expected none with hosts=2: several hosts train one run",
        ),
        *(
            (
                ["train", "adding", "--emit=kubernetes", f"--kubernetes={BASE}", flag],
                "expected a path in the shared volume: relative, or below /lab",
            )
            for flag in ("--workdir=/home/me/runs", "--data-dir=../data")
        ),
    ],
)
def test_flags_that_do_not_fit_are_an_error_of_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert len(error.splitlines()) == 1
    assert message in error


@pytest.mark.parametrize("amount", ["16Gi", "512Mi", "16Ki", "2.5G", "1Ti", "800k"])
def test_amounts_of_memory_that_kubernetes_knows(amount):
    assert parse_kubernetes(f"{BASE},memory={amount}").memory == amount


@pytest.mark.parametrize("mount", ["/lab", "/mnt/lab.1", "/.lab", "/..lab/data"])
def test_mounts_whose_names_begin_with_a_dot(mount):
    assert parse_kubernetes(f"{BASE},mount={mount}").mount == mount


def wait_until(condition, process):
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("the condition did not hold within a minute")


@pytest.mark.slow
def test_a_worker_of_the_job_checkpoints_on_sigterm_and_its_next_pod_resumes(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.py").write_text(
        "from lstm_lab.studies import Study\n\n\n"
        "def get_study():\n"
        "    task = {'name': 'adding', 'length': 12, 'valid_size': 50, 'test_size': 50}\n"
        "    train = {'batch_size': 8, 'steps': 3000, 'eval_every': 25}\n"
        "    compute = {'checkpoint_seconds': 0.0, 'log_every': 25}\n"
        "    base = {'task': task, 'model': {'hidden': 4}, 'train': train, 'compute': compute}\n"
        "    return Study('mine', base, (), (0, 1))\n"
    )
    manifest = printed(
        capsys, "sweep", "my_study.py", "--emit=kubernetes", f"--kubernetes={BASE},cpu=1"
    )
    assert not (tmp_path / "runs").exists()
    assert manifest["metadata"]["name"] == "mine"
    assert manifest["spec"]["completions"] == 1
    assert pod_of(manifest)["containers"][0]["args"] == [
        "sweep",
        "--study=my_study.py",
        "--workdir=runs/mine",
        "--data-dir=data",
        "--devices=1",
        "--worker",
    ]
    pod = start_pod(manifest, 0, tmp_path)
    wait_until(lambda: list(tmp_path.glob("runs/mine/runs/*/metrics.jsonl")), pod)
    wait_for_step(next(tmp_path.glob("runs/mine/runs/*")), 100, pod)
    pod.send_signal(signal.SIGTERM)
    out, _ = pod.communicate(timeout=120)
    assert pod.returncode == INTERRUPTED, out
    pod = start_pod(manifest, 0, tmp_path)
    out, _ = pod.communicate(timeout=300)
    assert pod.returncode == DONE, out
    records = [read_json(path) for path in (tmp_path / "runs/mine").glob("runs/*/run.json")]
    assert len(records) == 2
    assert all(record["resumed_at"] for record in records)


def test_the_hosts_of_the_job_set_train_one_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--emit=kubernetes", f"--kubernetes={BASE},hosts=2,cpu=1", "--workdir=runs/two_hosts"]
    manifest = printed(capsys, "train", "adding", "--config.train.steps=20", *SMALL, *flags)
    assert_valid(manifest)
    assert list(tmp_path.iterdir()) == []
    (container,) = pod_of(manifest)["containers"]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert variables["JAX_COORDINATOR_ADDRESS"] == "two-hosts-hosts-0-0.two-hosts:8476"
    assert manifest["spec"]["network"]["subdomain"] == "two-hosts"
    address = f"127.0.0.1:{free_ports(1)[0]}"
    pods = [start_pod(manifest, k, tmp_path, address) for k in range(2)]
    texts = [pod.communicate(timeout=180)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [DONE, DONE], texts
    record = read_json(tmp_path / "runs/two_hosts/run.json")
    assert record["status"] == "completed"
    assert record["layout"]["hosts"] == 2


def test_a_run_on_one_host_is_a_job(capsys):
    manifest = printed(
        capsys, "train", "adding", "--emit=kubernetes", f"--kubernetes={BASE},gpus=1,name=one"
    )
    assert_valid(manifest)
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("Job", "one")
    (container,) = pod_of(manifest)["containers"]
    assert not [argument for argument in container["args"] if "hosts" in argument]
    # A pod with a GPU uses it, and no cores as devices.
    assert not [argument for argument in container["args"] if "devices" in argument]
