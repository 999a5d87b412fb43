"""An option of a command line that `make` sets by an environment variable."""

import typer


def option(variable: str, text: str) -> typer.models.OptionInfo:
    """An option of the command line.

    Args:
        variable: The environment variable that sets it, too.
        text: Its help.
    """
    made: typer.models.OptionInfo = typer.Option(envvar=variable, help=text)
    return made
