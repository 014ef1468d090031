"""JupyterHub's configuration file: picks the mode, everything else is in ``ltai_hub.hub.configure``."""

import runpy
from pathlib import Path

from ltai_hub.settings import Settings

settings = Settings()
mode = "kubernetes" if settings.backend == "kubernetes" else "local"
# The mode's file lies beside this one, in the repository as in the wheel. It is run, not imported: as a module named
# kubernetes it would stand before the Python client of that name.
run = runpy.run_path(str(Path(__file__).with_name(f"{mode}.py")))

run["configure_mode"](get_config(), settings)  # noqa: F821  # given by traitlets
