"""A metrics API for a cluster that has none: every pod is as busy as its namespace's label ``test-load`` says (percent of its cpu)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.places import kubectl

NAME = "test-metrics"
API = "v1beta1.metrics.k8s.io"
SERVER = """
import json, os, ssl, urllib.parse, urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
CONTEXT = ssl.create_default_context(cafile=f"{FOLDER}/ca.crt")

def ask(path):
    headers = {"Authorization": "Bearer " + open(f"{FOLDER}/token").read()}
    request = urllib.request.Request("https://kubernetes.default.svc" + path, headers=headers)
    return json.load(urllib.request.urlopen(request, context=CONTEXT))

def usage(pod, percent):
    asked = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    nanos = int(asked[:-1]) * 10**6 if asked.endswith("m") else int(float(asked) * 10**9)
    return {
        "metadata": {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"], "labels": pod["metadata"]["labels"]},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window": "1s",
        "containers": [{"name": pod["spec"]["containers"][0]["name"], "usage": {"cpu": f"{nanos * percent // 100}n", "memory": "9Mi"}}],
    }

class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        place = urllib.parse.urlsplit(self.path)
        words = place.path.split("/")
        if "namespaces" in words:
            namespace = words[words.index("namespaces") + 1]
            percent = int(ask(f"/api/v1/namespaces/{namespace}")["metadata"]["labels"].get("test-load", "0"))
            pods = ask(f"/api/v1/namespaces/{namespace}/pods?{place.query}")["items"]
            found = [usage(pod, percent) for pod in pods]
            body = {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": found}
        else:
            kinds = [{"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}]
            body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": kinds}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

server = ThreadingHTTPServer(("", 8443), Answer)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@contextmanager
def a_metrics_api(image: str, folder: Path) -> Iterator[None]:
    key, certificate = folder / "tls.key", folder / "tls.crt"
    subject = ["-subj", f"/CN={NAME}", "-days", "1", "-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", str(key), "-out", str(certificate), *subject]
    subprocess.run(command, check=True, capture_output=True)
    try:
        kubectl("create", "namespace", NAME)
        kubectl("-n", NAME, "create", "secret", "tls", "tls", f"--cert={certificate}", f"--key={key}")
        kubectl("-n", NAME, "create", "serviceaccount", "server")
        kubectl("create", "clusterrolebinding", NAME, "--clusterrole=view", f"--serviceaccount={NAME}:server")
        kubectl("create", "clusterrole", NAME, "--verb=get", "--resource=namespaces")
        kubectl("create", "clusterrolebinding", f"{NAME}-namespaces", f"--clusterrole={NAME}", f"--serviceaccount={NAME}:server")
        kubectl("apply", "-f", "-", body=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(image)}))
        kubectl("wait", f"apiservice/{API}", "--for=condition=Available", "--timeout=120s")
        yield
    finally:
        kubectl("delete", "apiservice", API, "--ignore-not-found", check=False)
        for kind, name in (("clusterrolebinding", NAME), ("clusterrolebinding", f"{NAME}-namespaces"), ("clusterrole", NAME)):
            kubectl("delete", kind, name, "--ignore-not-found", check=False)
        kubectl("delete", "namespace", NAME, "--ignore-not-found", check=False)


def objects(image: str) -> list[dict[str, object]]:
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "-c", SERVER],
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "namespace": NAME, "labels": {"app": NAME}},
        "spec": {"serviceAccountName": "server", "containers": [container], "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": 8443}]},
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "server", "namespace": NAME},
        },
    }
    return [pod, service, api]
