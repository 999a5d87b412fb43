"""What the parts of a bundle weigh."""

from collections import defaultdict

from rich.table import Table

from deploy.bundle.contents import APP
from deploy.bundle.make import Made

_MIN_SHOWN = 5_000_000
"""Bytes above which a wheel or a file of a model has a row of its own."""


def table(made: Made) -> Table:
    """The largest wheels and models, the rest of each kind, and what is to be sent."""
    rows = Table("part of the bundle", "files", "MB")
    for column in rows.columns[1:]:
        column.justify = "right"
    for (name, _), sizes in sorted(by_part(made).items(), key=lambda item: -sum(item[1])):
        rows.add_row(name, str(len(sizes)), f"{sum(sizes) / 1e6:.1f}")
    total = [path.stat().st_size for path in made.files]
    rows.add_section()
    rows.add_row("all, as it lies on the target", str(len(made.sizes)), _megabytes(made))
    rows.add_row("to send", str(len(total)), f"{sum(total) / 1e6:.1f}", style="bold")
    return rows


def by_part(made: Made) -> dict[tuple[str, str], list[int]]:
    """The sizes of files in bytes, by the name of the part and its kind."""
    parts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry, size in made.sizes.items():
        first, _, rest = entry.partition("/")
        if first == "wheels":
            package = rest.split("-")[0]
            parts[(package if size >= _MIN_SHOWN else "other wheels", "wheel")].append(size)
        elif rest.startswith("model_repository/") and first == APP:
            model = rest.split("/")[1]
            large = f"{model}: {rest.rsplit('/', 1)[1]}"
            parts[(large if size >= _MIN_SHOWN else "other files of models", "model")].append(size)
        else:
            parts["code", "code"].append(size)
    return parts


def _megabytes(made: Made) -> str:
    return f"{sum(made.sizes.values()) / 1e6:.1f}"
