"""Step 2: every instance of every network computes where its config says, as its session tells."""

from __future__ import annotations

from build import catalogue, model_config
from loadtests.gpu_check import gpu
from loadtests.gpu_check.check import Check
from loadtests.load.errors import LoadTestError


def check(check: Check) -> None:
    """Starts the embedded server with the configs for the device and reads what it made."""
    wanted = gpu.PROVIDERS[check.device]
    table = check.findings.table(
        "Instances, from their sessions", "model", "instance", "device", "nodes", "tensors"
    )
    with check.variants() as variants:
        for name in catalogue.read():
            variants.add(name, name)
        with check.server(variants.folder) as server:
            reports = server.instances
            for each in reports:
                tensors = "bound" if each.bound else "copied by ONNX Runtime"
                names = (each.model, each.instance, each.place)
                check.findings.row(table, *names, each.computes, tensors)
                if each.providers[:1] != (wanted,) or each.kind.lower() != check.device:
                    check.findings.problem(
                        f"{each.instance} computes on {each.place} with {each.computes}"
                    )
        expected = {
            name: sum(group.count or 1 for group in config.instance_group)
            for name in catalogue.read()
            for config in [model_config.read(variants.folder / name / model_config.PLAIN)]
            if config.backend == "onnxruntime"
        }
    for name, count in expected.items():
        told = sum(each.model == name for each in reports)
        if told < count:  # on each GPU there are so many
            check.findings.problem(f"{told} of {count} instances of {name} told what they are")
    if not expected:
        raise LoadTestError("no model of the repository computes with ONNX Runtime")
