"""What this machine can never run, however empty it is. Pure."""

from __future__ import annotations

from ltai_hub.domain.catalog import ARCHITECTURES
from ltai_hub.domain.workloads import Resources
from ltai_hub.units import format_bytes


def machine_lack(wanted: Resources, cores: float, memory: int, machine: str) -> str:
    """Why one replica never fits; "" when it does. ``machine`` as ``platform.machine()`` says it, memory in bytes.

    Cores and memory are limits and may be promised several times: replicas are not added up.
    """
    architecture = ARCHITECTURES.get(machine.lower(), machine)
    if wanted.architecture and wanted.architecture != architecture:
        return f"this machine is {architecture} and this needs {wanted.architecture}; choose another flavor"
    if wanted.cpu > cores:
        return f"this machine has {cores:g} CPU and this needs {wanted.cpu:g}; choose another flavor"
    if wanted.memory > memory:
        return f"this machine has {format_bytes(memory)} of memory and this needs {format_bytes(wanted.memory)}; choose another flavor"
    return ""
