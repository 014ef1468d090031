"""A person's home and a tenant's course files: claims, and how a pod shows them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ltai_hub.backends.kubernetes.api import Object
from ltai_hub.backends.kubernetes.names import COURSES, KIND, USER, home_claim, installation_labels, label_value
from ltai_hub.domain.workloads import Copy, Mount
from ltai_hub.errors import BadWorkload
from ltai_hub.settings import KubernetesSettings

HOME, SHM = "home", "shm"
# where the init container finds the whole of the course files
COURSES_PATH = "/courses"
# what is there already is never touched; a copy that was cut off leaves nothing under the final name
COPY_PROGRAM = """
import os, shutil, sys
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    if not os.path.exists(source) or os.path.lexists(target):
        continue
    os.makedirs(os.path.dirname(target), exist_ok=True)
    ready = target + ".copying"
    shutil.rmtree(ready, ignore_errors=True)
    if os.path.isdir(source):
        shutil.copytree(source, ready, symlinks=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, ready)
    os.rename(ready, target)
"""
UNPACK_PROGRAM = """
import base64, io, os, sys, zipfile
os.makedirs(sys.argv[1], exist_ok=True)
if len(sys.argv) > 2:
    zipfile.ZipFile(io.BytesIO(base64.b64decode("".join(sys.argv[2:])))).extractall(sys.argv[1])
"""
# the longest word Linux takes is 128 KiB
WORD = 96 * 1024


def make_home_claim(settings: KubernetesSettings, namespace: str, user: str) -> Object:
    labels = installation_labels(settings.instance) | {USER: label_value(user), KIND: HOME}
    return _claim(settings, namespace, home_claim(user), settings.home_class, settings.home_size, labels)


def make_courses_claim(settings: KubernetesSettings, namespace: str) -> Object:
    labels = installation_labels(settings.instance) | {KIND: COURSES}
    return _claim(settings, namespace, COURSES, settings.courses_class or settings.home_class, settings.courses_size, labels)


def _claim(settings: KubernetesSettings, namespace: str, name: str, storage: str, size: str, labels: Mapping[str, str]) -> Object:
    spec: Object = {"accessModes": [settings.home_access], "resources": {"requests": {"storage": size}}}
    if storage:
        spec["storageClassName"] = storage
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": spec,
    }


def travelling_volumes(own_shm: bool) -> list[Object]:
    """Of a job that may run in any cluster: a home that is empty at first and goes with the pod."""
    return [{"name": HOME, "emptyDir": {}}, *([{"name": SHM, "emptyDir": {"medium": "Memory"}}] if own_shm else [])]


def folder_container(image: str, pull_policy: str, home: str, cwd: str, folder: bytes, parts: Object) -> Object:
    """Makes ``cwd`` in the empty home with what the archive has. The archive travels in the pod's own words, which every cluster gets."""
    text = base64.b64encode(folder).decode()
    return {
        "name": "folder",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["python", "-c", UNPACK_PROGRAM, cwd, *(text[at : at + WORD] for at in range(0, len(text), WORD))],
        "volumeMounts": [{"name": HOME, "mountPath": home}],
        **parts,
    }


def pod_volumes(user: str, courses: bool, shm: bool = True) -> list[Object]:
    """``courses``: whether course files are shown or copied from. ``shm``: whether it has a /dev/shm of its own."""
    volumes: list[Object] = [{"name": HOME, "persistentVolumeClaim": {"claimName": home_claim(user)}}]
    if shm:
        volumes.append({"name": SHM, "emptyDir": {"medium": "Memory"}})
    if courses:
        volumes.append({"name": COURSES, "persistentVolumeClaim": {"claimName": COURSES}})
    return volumes


def volume_mounts(home: str, mounts: Sequence[Mount], courses_root: Path, shm: bool = True) -> list[Object]:
    """Raises BadWorkload for a source that is no course folder: nodes have none of the platform's own files."""
    return [
        {"name": HOME, "mountPath": home},
        *([{"name": SHM, "mountPath": "/dev/shm"}] if shm else []),
        *(
            {"name": COURSES, "mountPath": mount.target, "subPath": inside_courses(mount.source, courses_root), "readOnly": mount.read_only}
            for mount in mounts
        ),
    ]


def inside_courses(source: str, courses_root: Path) -> str:
    """The path below the course files, "" for all of them."""
    path = PurePosixPath(source)
    if path.is_absolute():
        if not path.is_relative_to(courses_root):
            raise BadWorkload(f"{source} lies outside of the course files; in a cluster a profile shows and copies course files only")
        path = path.relative_to(courses_root)
    if ".." in path.parts:
        raise BadWorkload(f"{source} leads outside of the course files")
    return "" if path == PurePosixPath(".") else str(path)


def copy_container(image: str, pull_policy: str, home: str, copies: Sequence[Copy], courses_root: Path, parts: Object) -> Object:
    """Puts course files into the home before the program starts. ``parts``: security and resources as the main container has them."""
    pairs = []
    for copy in copies:
        pairs += [f"{COURSES_PATH}/{inside_courses(copy.source, courses_root)}", f"{home}/{copy.target}"]
    return {
        "name": "course-files",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["python", "-c", COPY_PROGRAM, *pairs],
        "volumeMounts": [{"name": HOME, "mountPath": home}, {"name": COURSES, "mountPath": COURSES_PATH, "readOnly": True}],
        **parts,
    }
