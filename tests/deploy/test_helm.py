"""The chart is valid, and says of the server what the running server says of itself."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import types
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server.readiness import is_ready
from server.settings import Settings
from tests.deploy.cluster import ROOT, Running
from tests.deploy.programs import kserve_models, kubernetes_program

CHART = ROOT / "deploy" / "helm"
DEVICES = ("cpu", "gpu")
NAMESPACE = r"ingress.controller.kubernetes\.io/metadata\.name=gateway"
"""That of the pods which bring requests in."""
VARIANTS = {
    "plain": "",
    "keda": "autoscaling.kind=keda",
    "store": "models.source=objectStore,traceUrl=http://otel.tracing:4318/v1/traces",
    "fixed": "autoscaling.kind=none,networkPolicy.enabled=false,adminTokenSecret=mine",
    "kserve": "workload=InferenceService",
    "image": "models.source=image",
    "gateway": f"ingress.kind=gateway,ingress.className=envoy,{NAMESPACE}",
    "ingress": f"ingress.kind=ingress,ingress.className=nginx,{NAMESPACE},"
    r"ingress.annotations.a\.b/c=d",
    "load": "load.enabled=true",
}
KUBERNETES = ("1.35", "1.36", "1.37")
OWN_KINDS = {
    "ServiceMonitor": "monitoring.coreos.com",
    "ScaledObject": "keda.sh",
    "InferenceService": "serving.kserve.io",
    "Gateway": "gateway.networking.k8s.io",
    "HTTPRoute": "gateway.networking.k8s.io",
    "GRPCRoute": "gateway.networking.k8s.io",
}
Object = dict[str, Any]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubernetes_program("helm", tmp_path_factory.mktemp("helm"))


def render(helm: Path, device: str, sets: str = "", release: str = "shop") -> list[Object]:
    command = [
        str(helm),
        "template",
        release,
        str(CHART),
        "-f",
        str(CHART / f"values-{device}.yaml"),
    ]
    command += ["--set", sets] if sets else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def one(objects: list[Object], kind: str) -> Object:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod(objects: list[Object]) -> Object:
    spec: Object = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("device", DEVICES)
def test_lint_finds_nothing(helm: Path, device: str) -> None:
    values = str(CHART / f"values-{device}.yaml")
    command = [str(helm), "lint", "--strict", str(CHART), "-f", values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_objects_are_valid_in_kubernetes(
    helm: Path, device: str, variant: str, version: str
) -> None:
    validated = 0
    for found in render(helm, device, VARIANTS[variant]):
        group = OWN_KINDS.get(found["kind"])
        if group:
            assert found["apiVersion"].startswith(f"{group}/")
        else:
            kubernetes_validate.validate(found, version, strict=True)
            validated += 1
    assert validated >= 2


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("device=tpu", "'/device': value must be one of 'cpu', 'gpu'"),
        ("image.tag=latest", "/image/tag"),
        ("replicas=0", "'/replicas': minimum: got 0, want 1"),
        ("exitSeconds=soon", "'/exitSeconds': got string, want integer"),
        ("prots.http=1", "additional properties 'prots' not allowed"),
        ("autoscaling.minReplicas=9", "it has to be at most maxReplicas, 8"),
        ("device=gpu", "missing property 'nvidia.com/gpu'"),
        ("traceUrl=otel", "/traceUrl"),
        ("ingress.kind=gateway", "'/ingress/className': minLength: got 0, want 1"),
        (
            "ingress.kind=ingress,ingress.className=x,networkPolicy.enabled=false,"
            "ingress.grpcHost=models.example.org",
            "ingress.grpcHost is models.example.org: it has to be another name than httpHost",
        ),
        (
            "ingress.kind=ingress,ingress.className=x,workload=InferenceService",
            "ingress.kind is ingress: it has to be none with workload InferenceService",
        ),
        (
            "ingress.kind=gateway,ingress.className=x",
            "ingress.controller is empty: it has to name the namespace",
        ),
        (
            r"networkPolicy.clients.kubernetes\.io/metadata\.name=null",
            "'/networkPolicy/clients': minProperties: got 0, want 1",
        ),
        ("load.enabled=true,workload=InferenceService", "load.enabled is true: it has to be false"),
        ("load.classes={sentiment http}", "/load/classes/0"),
    ],
)
def test_a_wrong_value_is_refused_in_words(helm: Path, sets: str, said: str) -> None:
    command = [str(helm), "template", "shop", str(CHART), "--set", sets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize("device", DEVICES)
def test_a_pod_drains_within_its_grace(helm: Path, device: str) -> None:
    spec = pod(render(helm, device, "drainSeconds=20,exitSeconds=40"))
    (container,) = spec["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert drain + int(environment["EXIT_TIMEOUT"]) < spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_pod_may_do_nothing_it_need_not(helm: Path, device: str) -> None:
    spec = pod(render(helm, device, VARIANTS["store"]))
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec["initContainers"]]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]
        assert "memory" in container["resources"]["limits"]
    (shared,) = [v for v in spec["volumes"] if v["name"] == "shared-memory"]
    assert shared["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://otel:4318/v1/traces", 4318),
        ("http://otel.tracing/v1/traces", 80),
        ("https://otel.tracing/v1/traces", 443),
        ("http://[fd00::1]:4318/v1/traces", 4318),
        ("http://[fd00::1]/v1/traces", 80),
    ],
)
def test_the_policy_lets_spans_out_to_the_port_of_their_url(
    helm: Path, url: str, port: int
) -> None:
    egress = one(render(helm, "cpu", f"traceUrl={url}"), "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": port, "protocol": "TCP"}]} in egress


@pytest.mark.parametrize("kind", ["gateway", "ingress"])
def test_http_and_grpc_come_in_by_names_of_their_own_over_tls(helm: Path, kind: str) -> None:
    objects = render(helm, "cpu", VARIANTS[kind])
    names = {"models.example.org": "http", "grpc.models.example.org": "grpc"}
    if kind == "gateway":
        gateway = one(objects, "Gateway")
        listeners = {each["name"]: each for each in gateway["spec"]["listeners"]}
        found = {each["hostname"]: name for name, each in listeners.items()}
        for listener in listeners.values():
            assert listener["protocol"] == "HTTPS"
            assert listener["tls"]["certificateRefs"] == [{"name": "models-tls"}]
        backends = {}
        for route, listener in (("HTTPRoute", "http"), ("GRPCRoute", "grpc")):
            spec = one(objects, route)["spec"]
            parent = {"name": gateway["metadata"]["name"], "sectionName": listener}
            assert spec["parentRefs"] == [parent]
            assert listeners[listener]["allowedRoutes"]["kinds"] == [{"kind": route}]
            (host,), (rule,) = spec["hostnames"], spec["rules"]
            (backend,) = rule["backendRefs"]
            backends[host] = backend["name"], backend["port"]
    else:
        found, backends = {}, {}
        for each in objects:
            if each["kind"] == "Ingress":
                (rule,) = each["spec"]["rules"]
                assert each["spec"]["tls"] == [
                    {"hosts": [rule["host"]], "secretName": "models-tls"}
                ]
                annotations = each["metadata"]["annotations"]
                protocol = annotations["nginx.ingress.kubernetes.io/backend-protocol"]
                found[rule["host"]] = protocol.lower()
                (path,) = rule["http"]["paths"]
                backend = path["backend"]["service"]
                backends[rule["host"]] = backend["name"], backend["port"]["name"]
                assert annotations["a.b/c"] == "d"
                # As large as the guard takes; a stream over gRPC has no end that is known.
                bound = {"HTTP": f"{Settings().max_body // 2**20}m", "GRPC": "0"}[protocol]
                assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == bound
    assert found == names
    services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
    for host, (service, port) in backends.items():
        ports = services[service]["spec"]["ports"]
        (target,) = [each["targetPort"] for each in ports if port in (each["port"], each["name"])]
        assert target == names[host]


def test_a_long_name_of_a_release_leaves_the_jobs_names_that_fit_a_label(helm: Path) -> None:
    objects = render(helm, "cpu", VARIANTS["load"], release="a-release-with-a-name-of-many-letters")
    jobs = [each["metadata"]["name"] for each in objects if each["kind"] == "Job"]
    assert len(jobs) == len({*jobs}) == 2
    assert all(len(name) + len("99999") <= 63 for name in jobs), jobs


def test_services_of_the_servers_do_not_lead_to_pods_that_make_load(helm: Path) -> None:
    objects = render(helm, "cpu", VARIANTS["load"])
    jobs = [each for each in objects if each["kind"] == "Job"]
    roles = {"master": 0, "worker": 0}
    for service in [each["spec"] for each in objects if each["kind"] == "Service"]:
        for job in jobs:
            labels = job["spec"]["template"]["metadata"]["labels"]
            if service["selector"].items() <= labels.items():
                roles[labels["app.kubernetes.io/component"]] += 1
                assert [port["port"] for port in service["ports"]] == [5557]
    assert roles == {"master": 1, "worker": 0}


def test_only_gpu_pods_ask_for_a_gpu(helm: Path) -> None:
    limits = {d: pod(render(helm, d))["containers"][0]["resources"]["limits"] for d in DEVICES}
    assert limits["gpu"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in limits["cpu"]


@pytest.mark.parametrize("device", DEVICES)
def test_every_variable_is_a_setting_of_the_server(helm: Path, device: str, tmp_path: Path) -> None:
    (container,) = pod(render(helm, device))["containers"]
    values = {each["name"]: each.get("value", "a-token-of-16-or-more") for each in container["env"]}
    (tmp_path / "m" / "configs").mkdir(parents=True)
    settings = Settings.from_environment({**values, "MODEL_REPOSITORY": str(tmp_path)})
    known = {name.upper() for name in Settings.model_fields}
    assert values.keys() <= known
    assert settings.guarded
    # It outlives the container.
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(settings.quarantine_dir).rpartition("/")[0] in mounts
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "http": settings.http_port,
        "grpc": settings.grpc_port,
        "metrics": settings.metrics_port,
    }


@pytest.mark.e2e
def test_probes_and_paths_are_those_of_the_running_server(helm: Path, cluster: Running) -> None:
    replica = cluster.replica("r1")
    assert is_ready(replica.http_url)
    objects = render(helm, "cpu")
    (container,) = pod(objects)["containers"]
    names = ("startupProbe", "readinessProbe", "livenessProbe")
    asked = {container[name]["httpGet"]["path"] for name in names}
    (endpoint,) = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    for address in [
        *(f"{replica.http_url}{path}" for path in asked),
        f"{replica.metrics_url}{endpoint['path']}",
    ]:
        with urllib.request.urlopen(f"http://{address}") as answer:
            assert answer.status == 200
    # Services lead to ports of the pod, by name.
    open_ports = {port["name"] for port in container["ports"]}
    for service in [each for each in objects if each["kind"] == "Service"]:
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports
        labels = pod_labels(objects)
        assert service["spec"]["selector"].items() <= labels.items()


def pod_labels(objects: list[Object]) -> dict[str, str]:
    labels: dict[str, str] = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    return labels


def test_scaling_asks_for_what_the_rules_record(helm: Path) -> None:
    rules = (ROOT / "deploy" / "monitoring" / "rules.yaml").read_text()
    recorded = set(re.findall(r"record: (\S+)", rules))
    hpa = one(render(helm, "cpu"), "HorizontalPodAutoscaler")
    assert hpa["spec"]["metrics"][0]["pods"]["metric"]["name"] in recorded
    scaled = one(render(helm, "cpu", VARIANTS["keda"]), "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    assert set(re.findall(r"triton:\w+", query)) <= recorded


@pytest.mark.parametrize("device", DEVICES)
def test_the_inference_service_fits_the_models_of_the_sdk(
    helm: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package's own __init__ would import a whole web server.
    for name in [module for module in sys.modules if module.split(".")[0] == "kserve"]:
        monkeypatch.delitem(sys.modules, name)
    package = types.ModuleType("kserve")
    package.__path__ = [str(kserve_models(tmp_path))]
    monkeypatch.setitem(sys.modules, "kserve", package)
    models = importlib.import_module("kserve.models")
    kserve = render(helm, device, VARIANTS["kserve"] + ",image.pullSecrets={registry}")
    service = one(kserve, "InferenceService")

    def fits(content: Object, model: str) -> None:
        known = getattr(models, model).attribute_map
        by_wire = {wire: attribute for attribute, wire in known.items()}
        assert content.keys() <= by_wire.keys(), model
        types_of = getattr(models, model).openapi_types
        for wire, value in content.items():
            kind = types_of[by_wire[wire]]
            if kind.startswith("V1beta1") and hasattr(models, kind):
                fits(value, kind)

    fits(service, "V1beta1InferenceService")
    (container,) = service["spec"]["predictor"]["containers"]
    kubernetes_validate.validate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x"},
            "spec": {"containers": [container]},
        },
        KUBERNETES[-1],
        strict=True,
    )
    objects = render(helm, device, "image.pullSecrets={registry}")
    deployment, scaling = pod(objects), one(objects, "HorizontalPodAutoscaler")["spec"]
    # The same container, under the name that KServe looks for ...
    assert container == {**deployment.pop("containers")[0], "name": "kserve-container"}
    # ... in the same pod, spread as KServe likes and scaled within the same limits.
    deployment.pop("topologySpreadConstraints")
    limits = {limit: scaling[limit] for limit in ("minReplicas", "maxReplicas")}
    assert service["spec"]["predictor"] == {**deployment, **limits, "containers": [container]}
    assert not {each["kind"] for each in kserve} & {"Deployment", "HorizontalPodAutoscaler"}
