"""Settings of the documentation site: `make docs` builds it from these pages to docs/_build/html."""

import hashlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import latex2mathml.converter
from docutils import nodes
from jupyter_cache.executors import utils as executor
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import astrogf

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

project = "astrogf"
author = "The astrogf founders"
copyright = author
version = release = astrogf.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True  # with -W: a name in a cross reference that leads nowhere ends the build

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4  # links to headings as GitHub names them

default_role = "literal"  # one backtick in a docstring is a literal, as in these pages
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say types, shapes and units
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "astrogf"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

# Tutorials are executed in a folder of their own each. What they gave is kept until the code changes: a page that
# is edited costs nothing, and no page shows what another version of the code gave.
nb_execution_mode = os.environ.get("ASTROGF_DOCS_EXECUTE", "cache")
nb_execution_in_temp = True
nb_execution_show_tb = True  # and with -W it ends the build
nb_execution_timeout = 1800
nb_execution_excludepatterns = os.environ.get("ASTROGF_DOCS_SKIP", "").split()
if nb_execution_excludepatterns:
    suppress_warnings = ["myst-nb.lexer"]  # a notebook knows its language only when it has been executed


def _code() -> str:
    """Hash of the code and the configurations that tutorials run with."""
    seen = hashlib.sha256()
    rooms = ("astrogf", "emulator", "inference", "surveys", "synthesis")
    for path in sorted(p for room in rooms for p in (ROOT / room).rglob("*.py")):
        seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


_kept = HERE / "_build" / "executed"
nb_execution_cache_path = str(_kept / _code())
for _old in _kept.glob("*"):
    if str(_old) != nb_execution_cache_path:
        shutil.rmtree(_old)

os.environ["ASTROGF_CHECKOUT"] = str(ROOT)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
_data = ROOT.parent / "shared" / "data"
if _data.is_dir():  # real spectra; tutorials simulate theirs where there are none
    os.environ.setdefault("ASTROGF_TUTORIAL_DATA", str(_data))


os.environ["COLUMNS"] = "92"  # as wide as a block of code on the page

# A command's output comes in pieces; joined here, for MyST-NB's own joining (nb_merge_streams) breaks lines at them.
executor.executenb = partial(executor.executenb, coalesce_streams=True)


# Mathematics as MathML, which browsers draw themselves: nothing is loaded from a network.
def _inline(page: HTML5Translator, node: nodes.math) -> None:
    page.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _display(page: HTML5Translator, node: nodes.math_block) -> None:
    page.body.append(latex2mathml.converter.convert(node.astext(), display="block"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))


html_math_renderer = "mathml"
