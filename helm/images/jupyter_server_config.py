"""Every lab server's configuration: no look-ups at its start, and extensions come with the image."""

c = get_config()  # noqa: F821  # given by traitlets
c.LanguageServerManager.autodetect = False
c.LabApp.extension_manager = "readonly"
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
