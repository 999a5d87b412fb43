"""What every command asks about the server, and the client that comes of it."""

import inspect
import os
from collections.abc import Callable
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.access import Access
from clients.base import DEFAULT_TIMEOUT, ServingClient
from clients.exit_codes import ExitCode
from clients.grpc_client import GrpcClient
from clients.http_client import HttpClient

CONCURRENCY = 8
"""Requests under way at the same time."""


class Protocol(str, Enum):
    """How to talk to the server."""

    HTTP = "http"
    GRPC = "grpc"


def connect(
    protocol: Protocol,
    url: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    *,
    tls: bool = False,
    ca: Path | None = None,
    key_file: Path | None = None,
) -> ServingClient:
    """A client of that protocol; what is not given comes from the environment.

    Raises:
        ValueError: The URL or a file is invalid; the message names the setting.
    """
    client = HttpClient if protocol is Protocol.HTTP else GrpcClient
    variable = f"TRITON_{protocol.name}_URL"
    setting = "--ca, --api-key-file"
    try:
        access = Access.from_environment(ca, key_file, tls=tls)
        setting = variable if url is None else "--url"
        if url is None:
            url = os.environ.get(variable) or None
        return client(url, timeout=timeout, concurrency=CONCURRENCY, access=access)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error


def _options(
    *,
    protocol: Annotated[Protocol, typer.Option(help="How to talk to the server.")] = Protocol.HTTP,
    url: Annotated[
        str | None,
        typer.Option(
            help="The server's host:port. By default TRITON_HTTP_URL or TRITON_GRPC_URL from "
            "the environment, else localhost:8000 or localhost:8001.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds that an input may take, retries included.")
    ] = DEFAULT_TIMEOUT,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt. TRITON_TLS=1 in the environment does so too.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the authority to trust, which asks for TLS; by default TRITON_CA "
            "from the environment.",
            show_default=False,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            help="File whose first line ends with the API key; by default TRITON_API_KEY_FILE "
            "from the environment.",
            show_default=False,
        ),
    ] = None,
) -> ServingClient:
    try:
        return connect(protocol, url, timeout, tls=tls, ca=ca, key_file=key_file)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE) from error


def connected(
    default: Protocol = Protocol.HTTP,
) -> Callable[[Callable[..., ExitCode]], Callable[..., None]]:
    """Gives a command the options of the connection, and a client as its argument `client`.

    The command's result is its exit code.

    Args:
        default: The protocol where none is given.
    """

    def decorate(command: Callable[..., ExitCode]) -> Callable[..., None]:
        own, shared = (inspect.signature(each).parameters for each in (command, _options))

        @wraps(command)
        def run(**given: Any) -> None:
            with _options(**{name: given.pop(name) for name in shared}) as client:
                raise typer.Exit(command(client=client, **given))

        kept = [each for each in own.values() if each.name != "client"]
        asked = [
            each.replace(default=default) if each.name == "protocol" else each
            for each in shared.values()
        ]
        # Typer reads a command's options from these.
        parameters = sorted([*kept, *asked], key=lambda each: each.kind)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate
