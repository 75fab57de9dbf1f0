"""Settings of Sphinx; `make docs` builds build/docs/index.html."""

from gan2shape import __version__

project = "gan2shape"
author = "the gan2shape contributors"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"gan2shape {version}"
html_copy_source = False
