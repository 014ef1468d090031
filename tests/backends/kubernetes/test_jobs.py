"""The whole JobSet of a job, for one node and for several."""

from __future__ import annotations

import json
from typing import Any

from ltai_hub.backends.kubernetes.jobs import job_name, make_jobset, variables_of
from ltai_hub.settings import KubernetesSettings
from tests.backends.kubernetes.arrange import CARDS, a_blueprint

LABELS = {
    "app.kubernetes.io/managed-by": "ltai",
    "ltai.dev/instance": "uni",
    "ltai.dev/tenant": "physics",
    "ltai.dev/user": "alice",
    "ltai.dev/kind": "job",
    "ltai.dev/workload": "job-7",
}


def pod_of(jobset: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    return pod


def env_of(jobset: dict[str, Any], node: int) -> dict[str, str]:
    """As Kubernetes hands it to the program on one node: references to what stands before are put in."""
    found: dict[str, str] = {}
    for one in pod_of(jobset)["spec"]["containers"][0]["env"]:
        value = one.get("value", str(node))
        for name, before in found.items():
            value = value.replace(f"$({name})", before)
        found[one["name"]] = value.replace("$$", "$")
    return found


def test_the_jobset_of_one_node() -> None:
    made = make_jobset(a_blueprint(env={"LTAI_JOB": "7"}))
    amounts = {"cpu": "1000m", "memory": "2147483648", "ephemeral-storage": "5368709120"}
    pod = {
        "containers": [
            {
                "name": "main",
                "image": "ltai/pytorch:2",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python", "train.py"],
                "workingDir": "/home/alice/digits",
                "env": [
                    {"name": "HOME", "value": "/home/alice"},
                    {"name": "USER", "value": "alice"},
                    {"name": "LTAI_JOB", "value": "7"},
                    {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
                    {"name": "ASCEND_VISIBLE_DEVICES", "value": "void"},
                    {
                        "name": "LTAI_NODE",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}},
                    },
                    {"name": "PET_NNODES", "value": "1"},
                    {"name": "PET_NPROC_PER_NODE", "value": "1"},
                    {"name": "PET_NODE_RANK", "value": "$(LTAI_NODE)"},
                    {"name": "PET_MASTER_ADDR", "value": "localhost"},
                    {"name": "PET_MASTER_PORT", "value": "29500"},
                    {"name": "LTAI_NODES", "value": "1"},
                ],
                "resources": {"requests": amounts, "limits": amounts},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "home", "mountPath": "/home/alice"},
                    {"name": "shm", "mountPath": "/dev/shm"},
                    {"name": "hostfile", "mountPath": "/etc/ltai", "readOnly": True},
                ],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "ports": [{"containerPort": 29500, "name": "rendezvous"}],
            }
        ],
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": "home-alice"}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {
                "name": "hostfile",
                "downwardAPI": {"items": [{"path": "hostfile", "fieldRef": {"fieldPath": "metadata.annotations['ltai.dev/hostfile']"}}]},
            },
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 100,
            "fsGroup": 100,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": "workload",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 10,
        "restartPolicy": "Never",
    }
    assert pod_of(made)["spec"] == pod
    assert pod_of(made)["metadata"] == {"labels": LABELS, "annotations": {"ltai.dev/hostfile": "localhost slots=1\n"}}
    assert made["metadata"] == {
        "name": "job-7",
        "namespace": "uni-physics",
        "labels": LABELS | {"kueue.x-k8s.io/queue-name": "main", "kueue.x-k8s.io/priority-class": "uni-batch"},
    }
    assert made["spec"]["suspend"] is True
    assert made["spec"]["network"] == {"enableDNSHostnames": False, "publishNotReadyAddresses": True}
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"], job["backoffLimit"]) == ("Indexed", 1, 1, 0)


def test_several_nodes_are_told_how_they_find_one_another() -> None:
    made = make_jobset(a_blueprint(replicas=3))
    assert made["spec"]["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
    env = env_of(made, node=2)
    hosts = [f"job-7-node-0-{node}.job-7" for node in range(3)]
    assert json.loads(env["TF_CONFIG"]) == {
        "cluster": {"worker": [f"{host}:29500" for host in hosts]},
        "task": {"type": "worker", "index": 2},
    }
    assert (env["RANK"], env["WORLD_SIZE"], env["MASTER_ADDR"], env["MASTER_PORT"]) == ("2", "3", hosts[0], "29500")
    assert (env["PET_NNODES"], env["PET_NODE_RANK"], env["PET_MASTER_ADDR"]) == ("3", "2", hosts[0])
    assert (env["JAX_COORDINATOR_ADDRESS"], env["JAX_NUM_PROCESSES"], env["JAX_PROCESS_ID"]) == (f"{hosts[0]}:29500", "3", "2")
    assert env["OMPI_MCA_orte_default_hostfile"] == "/etc/ltai/hostfile"
    hostfile = pod_of(made)["metadata"]["annotations"]["ltai.dev/hostfile"]
    assert hostfile == "".join(f"{host} slots=1\n" for host in hosts)
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["completions"], job["parallelism"]) == (3, 3)


def test_torchrun_starts_a_process_for_each_card() -> None:
    made = make_jobset(a_blueprint(flavor="vgpu", resources=CARDS, replicas=2))
    env = env_of(made, node=1)
    assert env["PET_NPROC_PER_NODE"] == "2"
    assert "RANK" not in env
    assert "slots=2" in pod_of(made)["metadata"]["annotations"]["ltai.dev/hostfile"]


def test_a_program_that_fails_ends_the_job_and_a_lost_node_begins_it_again() -> None:
    made = make_jobset(a_blueprint())
    lost, failed = made["spec"]["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"]
    assert (lost["action"], lost["onPodConditions"]) == ("Count", [{"type": "DisruptionTarget", "status": "True"}])
    assert (failed["action"], failed["onExitCodes"]["operator"], failed["onExitCodes"]["values"]) == ("FailJob", "NotIn", [0, 143])
    policy = made["spec"]["failurePolicy"]
    assert policy["rules"][0]["action"] == "FailJobSet"
    assert policy["maxRestarts"] > 0


def test_host_names_stay_within_what_dns_takes() -> None:
    name = job_name("job-" + "x" * 100)
    assert len(f"{name}-node-0-9999") <= 63


def test_ended_jobs_leave_the_cluster_after_the_time_that_is_set() -> None:
    made = make_jobset(a_blueprint(KubernetesSettings(instance="uni", kept_seconds=60)))
    assert made["spec"]["ttlSecondsAfterFinished"] == 60


def test_variables_are_the_same_however_the_api_server_writes_them() -> None:
    wished = make_jobset(a_blueprint(env={"EMPTY": "", "LTAI_TOKEN": "t1"}))
    stored = json.loads(json.dumps(wished).replace('"name": "EMPTY", "value": ""', '"name": "EMPTY"'))
    assert stored != wished
    assert variables_of(stored) == variables_of(wished)
    assert variables_of(make_jobset(a_blueprint(env={"EMPTY": "", "LTAI_TOKEN": "t2"}))) != variables_of(wished)
