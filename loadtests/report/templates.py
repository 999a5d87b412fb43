"""The templates of reports and pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape


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
