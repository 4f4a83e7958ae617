"""How Sphinx makes the site. `python -m tools.docs` collects its pages first, and is the way to start it."""

import castray_desktop

project = "CastRay Desktop"
author = "CastRay Desktop contributors"
version = release = castray_desktop.__version__
language = "en"

extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown"}
highlight_language = "text"  # indented blocks are commands and their output, in no one language
myst_heading_anchors = 6  # the anchors that GitHub gives headings
smartquotes = False  # quotes in the text are meant as they are

add_module_names = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"CastRay Desktop {version}"
html_copy_source = False
html_show_sourcelink = False
html_favicon = "../resources/castray-256.png"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#4f62d2", "color-brand-content": "#4f62d2"},
    "dark_css_variables": {"color-brand-primary": "#97a5ff", "color-brand-content": "#97a5ff"},
}
