"""The pure parts of the local backend."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ltai_hub.backends.base import Observed
from ltai_hub.backends.local.backend import loopback_ports, observed_together
from ltai_hub.backends.local.capacity import machine_lack
from ltai_hub.backends.local.cgroups import limits
from ltai_hub.backends.local.devices import Device, devices_lack, find_devices, lacking, pick_devices, real_device, simulated_use
from ltai_hub.backends.local.forkserver import check_header
from ltai_hub.backends.local.plan import Grant
from ltai_hub.backends.local.request import Body, Header, pack, receive_frame, unpack_body, unpack_header
from ltai_hub.backends.local.rootfs import covers
from ltai_hub.backends.local.uids import Uids
from ltai_hub.backends.local.visible import environment_grants, without_nested
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.workloads import Phase, Resources
from ltai_hub.errors import BadWorkload
from ltai_hub.paths import DataFolder, shipped

GIB = 1 << 30


def test_requests_survive_the_wire() -> None:
    here, there = socket.socketpair()
    header = Header(name="job-1", user="alice", memory=5)
    body = Body(("python", "-c", "pass"), {"A": "b"}, "/venv", mounts=(Grant("/a", "/b", writable=True),), forward=(8081,))
    here.sendall(pack(header) + pack(body))
    assert unpack_header(receive_frame(there)) == header
    assert unpack_body(receive_frame(there)) == body


@pytest.mark.parametrize("name", ["../other", "a/b", "", ".hidden", "x" * 200])
def test_names_that_would_leave_the_run_folder_are_refused(name: str) -> None:
    with pytest.raises(BadWorkload):
        check_header(Header(name=name, user="alice"))
    with pytest.raises(BadWorkload):
        check_header(Header(name="job-1", user=name))


def test_cgroup_values() -> None:
    assert limits(2, "memory", 1.5, 1 << 30, 400) == {"memory.max": "1073741824", "memory.swap.max": "0"}
    assert limits(2, "cpu", 1.5, 0, 0) == {"cpu.max": "150000 100000", "cpu.weight": "150"}
    assert limits(1, "cpu", 0.5, 0, 0) == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "cpu.shares": "512"}
    assert list(limits(1, "memory", 1, 1 << 20, 0)) == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    assert limits(2, "memory", 1, 0, 0) == {}


def test_one_failed_replica_fails_the_whole() -> None:
    running, failed = Observed(Phase.RUNNING, addresses=("127.0.0.1:1",)), Observed(Phase.FAILED, "exit code 2", 2)
    together = observed_together([running, failed])
    assert (together.phase, together.reason, together.exit_code) == (Phase.FAILED, "exit code 2", 2)
    assert observed_together([running, Observed(Phase.STARTING)]).phase is Phase.STARTING
    assert observed_together([]).phase is Phase.GONE


def test_only_ports_named_in_the_settings_are_let_through() -> None:
    assert loopback_ports("http://127.0.0.1:8081/hub/api", "https://lab.example.org", "", "http://127.0.0.1:8081") == (8081, 443)


def test_simulated_accelerators_are_plausible_and_always_say_so() -> None:
    card = find_devices(1)[-1]
    busy, idle = simulated_use(card, True, 100.0), simulated_use(card, False, 100.0)
    assert busy == simulated_use(card, True, 100.0)
    assert 0 < busy.utilisation <= 100
    assert idle.utilisation == 0
    assert (busy.temperature or 0) > (idle.temperature or 0) > 0
    assert (busy.fan or 0) > 0
    assert (busy.power or 0) > 0
    assert [busy.simulated, idle.simulated] == [True, True]


def test_cards_of_another_kind_are_never_picked() -> None:
    cards = [Device("0", "NVIDIA A100", "nvidia-a100", 1), Device("1", "Simulated GPU 1", "simulated-gpu", 1, simulated=True)]
    assert [card.index for card in pick_devices(cards, set(), "nvidia-gpu", 2)] == ["0"]
    assert [card.index for card in pick_devices(cards, set(), "simulated-gpu", 2)] == ["1"]
    assert pick_devices(cards, {"1"}, "simulated-gpu", 1) == ()


def test_a_person_keeps_their_account_number(tmp_path: Path) -> None:
    uids = Uids(tmp_path / "uids.json")
    alice, bob = uids.number_of("alice"), uids.number_of("bob")
    assert alice != bob
    assert Uids(tmp_path / "uids.json").number_of("alice") == alice


def test_a_folder_shown_by_another_is_granted_once() -> None:
    grants = [Grant("/v/lib", "/v/lib"), Grant("/v", "/v"), Grant("/w", "/w")]
    assert [grant.target for grant in without_nested(grants)] == ["/v", "/w"]


def test_the_data_folder_is_covered_wherever_a_grant_would_show_it() -> None:
    grants = [Grant("/srv", "/srv"), Grant("/srv", "/mnt/x", writable=True), Grant("/srv/data/homes/a", "/srv/data/homes/a", writable=True)]
    assert covers("/srv/data", grants) == ["/mnt/x/data", "/srv/data"]
    assert covers("/opt/data", []) == ["/opt/data"]


def test_of_a_development_folder_only_packages_are_shown(tmp_path: Path) -> None:
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    checkout = tmp_path / "checkout"
    (checkout / "package").mkdir(parents=True)
    (checkout / "package" / "__init__.py").touch()
    (checkout / ".git").mkdir()
    (checkout / ".ltai").mkdir()
    (site / "_dev.pth").write_text(f"{checkout}\n")
    shown = [grant.target for grant in environment_grants(tmp_path / "venv", str(checkout / ".ltai"))]
    assert shown == [str(checkout / "package"), str(tmp_path / "venv")]


def test_an_interpreter_reached_over_links_shows_its_installation_and_no_home(tmp_path: Path) -> None:
    for folder in ("home/bin", "python/bin", "python/lib/python3.11", "venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "python/lib/python3.11/os.py").touch()
    (tmp_path / "python/bin/python3.11").touch()
    (tmp_path / "home/bin/python3").symlink_to(tmp_path / "python/bin/python3.11")
    (tmp_path / "venv/bin/python").symlink_to(tmp_path / "home/bin/python3")
    shown = [grant.target for grant in environment_grants(tmp_path / "venv", str(tmp_path / "data"))]
    assert shown == [str(tmp_path / name) for name in ("home/bin/python3", "python", "venv")]


def test_the_systems_interpreter_does_not_show_the_whole_machine(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/bin/python3")
    assert [grant.target for grant in environment_grants(tmp_path, str(tmp_path / "data"))] == [str(tmp_path)]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Resources(2, 4 * GIB), ""),
        (Resources(2, 4 * GIB, architecture="amd64"), ""),
        (Resources(2.5, GIB), "this machine has 2 CPU and this needs 2.5; choose another flavor"),
        (Resources(1, 5 * GIB), "this machine has 4 GiB of memory and this needs 5 GiB; choose another flavor"),
        (Resources(1, GIB, architecture="arm64"), "this machine is amd64 and this needs arm64; choose another flavor"),
    ],
)
def test_what_is_larger_than_the_machine_never_fits(wanted: Resources, reason: str) -> None:
    assert machine_lack(wanted, 2, 4 * GIB, "x86_64") == reason


def test_too_much_memory_is_known_before_the_devices_are(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert "of memory" in lacking(folder, Resources(1, 1 << 60), 1)
    assert lacking(folder, Resources(1, 1, accelerator="simulated-gpu", accelerator_count=9), 1) == ""


def test_a_flavor_is_usable_where_the_machine_has_its_devices() -> None:
    flavors = load_catalog(shipped("spawner_profiles")).flavors
    two_simulated = [device for device in find_devices(2) if device.simulated]
    a100 = [real_device("0", "NVIDIA A100-SXM4-80GB", 80 * GIB)]

    def usable(name: str, devices: list[Device], cpu: float = 64, memory: int = 512 * GIB, machine: str = "x86_64") -> bool:
        wanted = flavors[name].resources
        return not (machine_lack(wanted, cpu, memory, machine) or devices_lack(devices, wanted))

    assert usable("gpu-simulated-2", two_simulated)
    assert not usable("gpu-simulated-2", two_simulated[:1])
    assert not usable("gpu", two_simulated)
    assert usable("gpu", a100)
    assert usable("nvidia-a100", a100)
    assert not usable("nvidia-rtx-4090", a100)
    assert not usable("ascend-910b", a100)
    assert {kind for kind in ("nvidia-gpu", "nvidia-a100-sxm4-80gb", "simulated-gpu") if a100[0].is_of(kind)} == {
        "nvidia-gpu",
        "nvidia-a100-sxm4-80gb",
    }
    assert not usable("cpu-large", [], 2, 8 * GIB)
    assert not usable("nvidia-a100", a100, machine="aarch64")
