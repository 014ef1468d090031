"""The Lab extension and the console carry the same forwarder, because neither package needs the other."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_both_packages_have_the_same_forwarder() -> None:
    lab = REPOSITORY / "labextensions/ltai_lab/ltai_lab/forward.py"
    console = REPOSITORY / "services/ltai_services/console/forward.py"
    assert console.read_text() == lab.read_text(), "copy one over the other"
