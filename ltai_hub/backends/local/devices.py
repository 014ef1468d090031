"""Accelerators of this machine: the real ones NVML knows, and simulated ones for demonstration and tests."""

from __future__ import annotations

import json
import math
import platform
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ltai_hub.backends.base import AcceleratorUse, explain_lack
from ltai_hub.backends.local.capacity import machine_lack
from ltai_hub.domain.workloads import Resources
from ltai_hub.paths import DataFolder
from ltai_hub.units import machine_size

SIMULATED_KIND = "simulated-gpu"
SIMULATED_MEMORY = 16 << 30
NVIDIA_KINDS = ("nvidia-gpu", "nvidia.com/gpu", "gpu")


@dataclass(frozen=True)
class Device:
    index: str
    name: str
    kind: str
    memory: int
    simulated: bool = False

    def is_of(self, kind: str) -> bool:
        return kind == self.kind or (not self.simulated and kind in NVIDIA_KINDS)


def find_devices(simulated: int) -> list[Device]:
    """Real cards first; simulated ones take the numbers after them."""
    real = _real_devices()
    first = len(real)
    return [
        *real,
        *(Device(str(first + i), f"Simulated GPU {i}", SIMULATED_KIND, SIMULATED_MEMORY, simulated=True) for i in range(simulated)),
    ]


def read_devices(folder: DataFolder) -> list[Device] | None:
    """As the fork server found them; None when it has never run."""
    try:
        return [Device(**raw) for raw in json.loads((folder.run / "devices.json").read_text())]
    except (OSError, ValueError):
        return None


def lacking(folder: DataFolder, resources: Resources, replicas: int) -> str:
    """Why this machine can never run it; "" when it can."""
    return machine_lack(resources, *machine_size(), platform.machine()) or _devices_lack(folder, resources, replicas)


def _devices_lack(folder: DataFolder, resources: Resources, replicas: int) -> str:
    devices = read_devices(folder)
    return "" if devices is None else devices_lack(devices, resources, replicas)


def devices_lack(devices: Sequence[Device], resources: Resources, replicas: int = 1) -> str:
    kind = resources.accelerator
    there = sum(device.is_of(kind) for device in devices)
    return explain_lack(kind, resources.accelerator_count * replicas, there, Counter(device.kind for device in devices))


def pick_devices(devices: Iterable[Device], taken: set[str], kind: str, count: int) -> tuple[Device, ...]:
    """The first free ones of a kind; fewer than ``count`` when there are not enough."""
    return tuple(device for device in devices if device.is_of(kind) and device.index not in taken)[:count]


def measure_devices(devices: Iterable[Device], taken: set[str], seconds: float) -> list[AcceleratorUse]:
    """Current values; simulated ones are a smooth function of time and of whether somebody holds the card."""
    real = _measure_real()
    return [
        simulated_use(device, device.index in taken, seconds) if device.simulated else real.get(device.index) or _unknown_use(device)
        for device in devices
    ]


def simulated_use(device: Device, busy: bool, seconds: float) -> AcceleratorUse:
    wave = (math.sin(seconds / 7 + int(device.index) * 1.7) + math.sin(seconds / 23 + int(device.index))) / 2
    load = 62 + 30 * wave if busy else 0.0
    return AcceleratorUse(
        index=device.index,
        name=device.name,
        utilisation=round(load, 1),
        memory_used=int(device.memory * (0.45 + 0.1 * wave)) if busy else 0,
        memory_total=device.memory,
        fan=round(30 + load * 0.5, 1),
        temperature=round(34 + load * 0.4, 1),
        power=round(25 + load * 2.2, 1),
        simulated=True,
    )


def _unknown_use(device: Device) -> AcceleratorUse:
    return AcceleratorUse(device.index, device.name, 0.0, 0, device.memory)


def real_device(index: str, name: str, memory: int) -> Device:
    """``name`` as NVML says it."""
    return Device(index, name, _slug(name), memory)


def _real_devices() -> list[Device]:
    found = []
    for index, handle in _nvml_handles():
        name = _value("nvmlDeviceGetName", handle) or "NVIDIA GPU"
        memory = _value("nvmlDeviceGetMemoryInfo", handle)
        found.append(real_device(str(index), str(name), int(memory.total) if memory else 0))
    return found


def _measure_real() -> dict[str, AcceleratorUse]:
    found = {}
    for index, handle in _nvml_handles():
        memory, rates = _value("nvmlDeviceGetMemoryInfo", handle), _value("nvmlDeviceGetUtilizationRates", handle)
        power = _value("nvmlDeviceGetPowerUsage", handle)
        found[str(index)] = AcceleratorUse(
            index=str(index),
            name=str(_value("nvmlDeviceGetName", handle) or "NVIDIA GPU"),
            utilisation=float(rates.gpu) if rates else 0.0,
            memory_used=int(memory.used) if memory else 0,
            memory_total=int(memory.total) if memory else 0,
            fan=_value("nvmlDeviceGetFanSpeed", handle),
            temperature=_value("nvmlDeviceGetTemperature", handle, 0),
            power=power / 1000 if power is not None else None,
        )
    return found


def _nvml_handles() -> list[tuple[int, Any]]:
    try:
        import pynvml

        pynvml.nvmlInit()
        return [(i, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no package, no driver, no card: this machine just has none
        return []


def _value(name: str, *arguments: Any) -> Any:
    """None for what a card does not report (passively cooled ones have no fan)."""
    import pynvml

    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError:
        return None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
