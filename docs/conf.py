"""Sphinx settings: MyST Markdown, the pydata theme, as Jupyter projects do."""

project = "LtAI"
author = "The LtAI developers"
copyright = "The LtAI developers"
extensions = ["myst_parser"]
html_theme = "pydata_sphinx_theme"
html_title = "LtAI"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
exclude_patterns = ["_build", "generators"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# ```console blocks show what people type with its output; highlighting would only guess
suppress_warnings = ["misc.highlighting_failure"]
