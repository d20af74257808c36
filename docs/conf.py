"""Sphinx configuration: `make docs` builds the site offline."""

import inspect
import re
import sys
from pathlib import Path

import jax
import optax
from docutils import nodes
from sphinx.ext.autodoc.preserve_defaults import update_defvalue

sys.path.insert(0, str(Path(__file__).parents[1]))  # autodoc documents this checkout

import nnjax

DOCS = Path(__file__).parent

project, author, release = "nnjax", "the nnjax authors", nnjax.__version__
project_copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinx_autodoc_typehints", "sphinx_copybutton"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

html_theme = "sphinx_book_theme"
html_title = "nnjax"
html_static_path = ["_static"]
html_css_files = ["nnjax.css"]
html_theme_options = {"use_download_button": True, "show_toc_level": 2, "navbar_persistent": []}

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
typehints_document_rtype_none = False
suppress_warnings = [
    "config.cache",  # typehints_formatter is a function
    "sphinx_autodoc_typehints.forward_reference",  # in the aliases of optax
]
autodoc_default_options = {"members": True}  # those of __all__, where a module has it
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True  # attributes as fields of their class: autodoc documents them apart
default_role = "py:obj"

# Pages whose Python blocks are executed. The site shows their output instead of the lines "#: ...".
EXECUTED = ("chapter", "extending", "getting_started", "sweeps", "tracking")
FRONT_MATTER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"

# The public names of the types in annotations, whose own names are private.
PUBLIC_NAMES = {
    id(value): f"{module.__name__}.{name}"
    for module in (jax.sharding, optax, jax)
    for name, value in vars(module).items()
    if isinstance(value, type)
}

# Links to the API pages of other projects. intersphinx would have to download their inventories.
LINKS = {
    "jax": "https://docs.jax.dev/en/latest/_autosummary/{name}.html#{name}",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{name}.html#{name}",
    "optax": "https://optax.readthedocs.io/en/latest/search.html?q={name}",
    "pandas": "https://pandas.pydata.org/docs/reference/api/{name}.html#{name}",
    "xarray": "https://docs.xarray.dev/en/stable/generated/{name}.html#{name}",
}


def link_inside(app, docname, source):
    """Links to files that are not pages become text, or links to the pages with their content."""
    folder = (DOCS / docname).parent

    def keep_pages(link):
        text, target = link.groups()
        return link[0] if (folder / target.partition("#")[0]).resolve().is_relative_to(DOCS) else text

    text = source[0].replace("](../benchmarks/NOTES.md)", "](benchmarks.md)")
    text = re.sub(r"\]\(\.\./examples/\w+\.py\)", "](examples.md)", text)
    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\((\.\./[^)]*)\)", keep_pages, text)


def execute_blocks(app, docname, source):
    """Turns the Python blocks of a page into notebook cells."""
    if docname in EXECUTED:
        cells = source[0].replace("```python\n", "```{code-cell}\n")
        source[0] = FRONT_MATTER + re.sub(r"(?m)^#:.*\n", "", cells)


def preserve_defaults(app, obj, bound_method):
    """As `autodoc_preserve_defaults`, also for wrapped functions: shows defaults as they are written."""
    update_defvalue(app, inspect.unwrap(obj), bound_method)


def typehints_formatter(annotation, config):
    """Types by their public names; those of jaxtyping as they are written, such as Float[Array, "n 10"]."""
    if hasattr(annotation, "dim_str"):
        return f'``{annotation.__name__.partition("[")[0]}[Array, "{annotation.dim_str}"]``'
    name = PUBLIC_NAMES.get(id(annotation))
    return name and f":py:class:`{name}`"


def link_elsewhere(app, env, node, content):
    """A link to the documentation of another project; a name without documentation is only text."""
    name = node.get("reftarget", "")
    is_public = re.fullmatch(r"[a-zA-Z]\w*(\.[a-zA-Z]\w*)+", name)
    url = LINKS.get(name.partition(".")[0]) if is_public else None
    if url is None:
        return content if node.get("refdomain") == "py" else None
    reference = nodes.reference("", "", internal=False, refuri=url.format(name=name))
    reference += content
    return reference


def skip_member(app, what, name, obj, skip, options):
    """Skips names that the page of `nnjax` documents, and fields with a function as their default value."""
    elsewhere = what == "module" and app.env.docname != "api/nnjax" and vars(nnjax).get(name) is obj
    field = what == "class" and getattr(obj, "__name__", name) != name
    return True if elsewhere or field else None


def setup(app):
    """Registers the functions of this file."""
    app.connect("autodoc-before-process-signature", preserve_defaults)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("source-read", link_inside)
    app.connect("source-read", execute_blocks)
    app.connect("missing-reference", link_elsewhere)
