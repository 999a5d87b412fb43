"""What all pages of results share: the style of charts, SVG, and templates."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "charts",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
"""For `matplotlib.rc_context`, in which a figure is drawn and saved."""
COLOURS = ["#3b6fb6", "#2a9d78", "#d98c21", "#c8443c", "#7d5ba6", "#8a8d91", "#59a5c9"]
BLUE, GREEN, ORANGE, RED, PURPLE, GREY, LIGHT_BLUE = COLOURS


def log_scale(axes: Any) -> None:
    """Gives an axis of latencies a logarithmic scale with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def svg_file(figure: Figure, **metadata: str | None) -> str:
    """The text of an SVG file, the same for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, **metadata})
    return buffer.getvalue()


def svg_element(figure: Figure, label: str) -> str:
    """An SVG element that stands in a page and fills the width that it gets there."""
    svg = svg_file(figure, Creator=None)
    attributes = rf'\1role="img" aria-label="{label}" '
    return re.sub(r'(<svg [^>]*?)width="[^"]*" ?', attributes, svg[svg.index("<svg") :], count=1)


def template(path: Path) -> Template:
    """A Jinja template, which fails where it uses an unknown name; HTML is escaped."""
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(path.name)
