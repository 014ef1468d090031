"""JupyterHub's configuration file: picks the mode, everything else is in ``ltai_hub.hub.configure``."""

import sys
from pathlib import Path

from ltai_hub.settings import Settings

# the mode's file lies beside this one, in the repository as in the wheel
sys.path.insert(0, str(Path(__file__).parent))

settings = Settings()
if settings.backend == "kubernetes":
    from kubernetes import configure_mode
else:
    from local import configure_mode

configure_mode(get_config(), settings)  # noqa: F821  # given by traitlets
