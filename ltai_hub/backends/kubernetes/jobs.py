"""A job as a JobSet of 1…N pods that start together and find one another. Pure.

Rendezvous variables: torchrun reads ``PET_*``, TensorFlow ``TF_CONFIG``, JAX ``JAX_*``, MPI the hostfile.
"""

from __future__ import annotations

import json

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.names import dns_name
from ltai_hub.backends.kubernetes.pods import MAIN, Blueprint, make_env, make_pod_spec, queue_labels

NODE = "node"
PORT = 29500
# pods' host names add "-node-0-NN" and end at 63 characters
LONGEST = 40
RESTARTS = 3
# exit code of a program that was asked to end
TERMINATED = 143
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
HOSTFILE, HOSTFILE_FOLDER = "ltai.dev/hostfile", "/etc/ltai"


def job_name(workload: str) -> str:
    return dns_name(workload, LONGEST)


def inner_job(name: str) -> str:
    """The Job that the JobSet makes of it."""
    return f"{name}-{NODE}-0"


def make_jobset(plan: Blueprint, name: str = "") -> Object:
    w = plan.workload
    name = name or job_name(w.name)
    spec = make_pod_spec(
        plan,
        rendezvous(name, w.replicas, max(w.resources.accelerator_count, 1)),
        {"ports": [{"containerPort": PORT, "name": "rendezvous"}]},
        [{"name": "hostfile", "mountPath": HOSTFILE_FOLDER, "readOnly": True}],
    )
    field = {"fieldPath": f"metadata.annotations['{HOSTFILE}']"}
    spec["volumes"].append({"name": "hostfile", "downwardAPI": {"items": [{"path": "hostfile", "fieldRef": field}]}})
    spec["restartPolicy"] = "Never"
    hosts = "".join(f"{host} slots={max(w.resources.accelerator_count, 1)}\n" for host in hosts_of(name, w.replicas))
    annotations = {**plan.flavor.annotations, HOSTFILE: hosts}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name, "namespace": plan.namespace, "labels": plan.labels | queue_labels(plan.settings.instance, w.kind)},
        "spec": {
            "suspend": True,
            "ttlSecondsAfterFinished": plan.settings.kept_seconds,
            # nobody looks for one that is alone: the API server is spared a Service, its Endpoints and its EndpointSlice
            "network": {"enableDNSHostnames": w.replicas > 1, "publishNotReadyAddresses": True},
            "successPolicy": {"operator": "All", "targetReplicatedJobs": [NODE]},
            "failurePolicy": {
                "maxRestarts": RESTARTS,
                "restartStrategy": "BlockingRecreate",
                "rules": [{"name": "programFailed", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [
                {"name": NODE, "replicas": 1, "template": {"spec": make_job_spec(w.replicas, plan.labels, annotations, spec)}}
            ],
        },
    }


def make_job_spec(nodes: int, labels: dict[str, str], annotations: dict[str, str], pod: Object) -> Object:
    return {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                # a node that is lost or drained, a pod that somebody removed: all begin again; a program that fails: the job has failed
                {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": MAIN, "operator": "NotIn", "values": [0, TERMINATED]}},
            ]
        },
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }


def hosts_of(name: str, nodes: int) -> list[str]:
    return [f"{name}-{NODE}-0-{index}.{name}" for index in range(nodes)] if nodes > 1 else ["localhost"]


def variables_of(jobset: Object) -> dict[str, str]:
    """Of its program, as they were asked for; the API server leaves an empty value out."""
    (group,) = jobset["spec"]["replicatedJobs"]
    containers = group["template"]["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in containers[0].get("env", []) if "valueFrom" not in one}


def rendezvous(name: str, nodes: int, processes: int) -> list[Object]:
    """What finds the others; ``processes`` on each node. ``$(LTAI_NODE)`` is put in by Kubernetes."""
    hosts = hosts_of(name, nodes)
    tensorflow = json.dumps({"cluster": {"worker": [f"{host}:{PORT}" for host in hosts]}})[:-1]
    rank = {"RANK": "$(LTAI_NODE)", "WORLD_SIZE": str(nodes), "LOCAL_RANK": "0"} if processes == 1 else {}
    values = {
        "PET_NNODES": str(nodes),
        "PET_NPROC_PER_NODE": str(processes),
        "PET_NODE_RANK": "$(LTAI_NODE)",
        "PET_MASTER_ADDR": hosts[0],
        "PET_MASTER_PORT": str(PORT),
        "MASTER_ADDR": hosts[0],
        "MASTER_PORT": str(PORT),
        **rank,
        "TF_CONFIG": tensorflow + ', "task": {"type": "worker", "index": $(LTAI_NODE)}}',
        "JAX_COORDINATOR_ADDRESS": f"{hosts[0]}:{PORT}",
        "JAX_NUM_PROCESSES": str(nodes),
        "JAX_PROCESS_ID": "$(LTAI_NODE)",
        "OMPI_MCA_orte_default_hostfile": f"{HOSTFILE_FOLDER}/hostfile",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
    }
    node: Object = {"name": "LTAI_NODE", "valueFrom": {"fieldRef": {"fieldPath": INDEX}}}
    if nodes == 1:
        # TF_CONFIG, JAX_… and WORLD_SIZE make a program that runs alone wait for others or change its way
        values = {name: value for name, value in values.items() if name.startswith("PET_")}
    return [node, *({"name": name, "value": value} for name, value in values.items()), *make_env({"LTAI_NODES": str(nodes)})]
