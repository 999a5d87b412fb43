"""What `make serve` prints when the server is ready."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from server.instances import InstanceReport
from server.readiness import model_index, model_metadata
from server.triton import TritonServer

_PLAIN: Any = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0)}
_EXAMPLE_TEXT = "a moving, wonderful film"


def print_banner(server: TritonServer, console: Console) -> None:
    """Prints where a ready server listens, what it serves and how to try it."""
    models = model_index(server.triton_http_url, server.admin_headers)
    table = Table("model", "version", "state", **_PLAIN)
    for model in models:
        table.add_row(model["name"], model.get("version", "-"), model.get("state", "-"))
    services = Table.grid(padding=(0, 2, 0, 0))
    services.add_row("HTTP", f"http://{server.http_url}")
    services.add_row("gRPC", server.grpc_url)
    services.add_row("metrics", f"http://{server.metrics_url}/metrics")
    guarded = server.settings.guarded
    services.add_row("guard", "on: it checks each request before Triton" if guarded else "off")
    for part in (table, "", *_instances(server.instances), services, ""):
        console.print(part)
    # soft_wrap: a line to be copied must not be broken.
    console.print(f"try: {_example(server, models)}", soft_wrap=True, markup=False, highlight=False)
    console.print("Ctrl-C finishes the requests under way and stops; a second one stops at once.")


def _instances(reports: list[InstanceReport]) -> list[Table | str]:
    """The table of the instances of ONNX models, if there are any."""
    if not reports:
        return []
    table = Table("model", "instance", "device", "provider", **_PLAIN)
    for report in reports:
        table.add_row(report.model, report.instance, report.place, report.computes)
    return [table, ""]


def _example(server: TritonServer, models: list[dict[str, str]]) -> str:
    ready = [model["name"] for model in models if model.get("state") == "READY"]
    for name in ready:
        inputs = model_metadata(server.http_url, name)["inputs"]
        if [tensor["name"] for tensor in inputs] == ["TEXT"]:
            shape = [1 for _ in inputs[0]["shape"]]
            text = {"name": "TEXT", "shape": shape, "datatype": "BYTES", "data": [_EXAMPLE_TEXT]}
            return (
                f"curl {server.http_url}/v2/models/{name}/infer "
                f"-d '{json.dumps({'inputs': [text]}, separators=(',', ':'))}'"
            )
    return f"curl {server.http_url}/v2/models/{ready[0]}" if ready else "no model is served"
