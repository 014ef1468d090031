"""Where things lie in the data folder (see docs/explanation/architecture.md) and in the installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent


def shipped(name: str) -> Path:
    """A folder that lies at the top of the repository and, in the wheel, below ``ltai_hub/_shipped``."""
    in_wheel = PACKAGE / "_shipped" / name
    return in_wheel if in_wheel.exists() else REPOSITORY / name


@dataclass(frozen=True)
class DataFolder:
    """Names inside ``$DATA``; creates nothing."""

    root: Path
    homes: Path | None = None

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.root / 'ltai.sqlite'}"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def fork_socket(self) -> Path:
        return self.run / "fork.sock"

    @property
    def mlflow_socket(self) -> Path:
        return self.run / "mlflow.sock"

    @property
    def workloads(self) -> Path:
        return self.run / "workloads"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def courses(self) -> Path:
        return self.root / "courses"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def home(self, user: str) -> Path:
        """A person's home; user names are safe path parts (``slugs.check_user_name``)."""
        return (self.homes or self.root / "homes") / user
