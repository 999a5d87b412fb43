"""Which ONNX Runtime each supported release of NVIDIA's container has."""

import pytest

from build.errors import BuildError
from build.releases import RELEASES, onnxruntime_of
from build.settings import Settings


def test_the_runtime_of_a_supported_server_is_known_and_of_another_one_is_not() -> None:
    assert onnxruntime_of("2.51.0") == "1.19.2"
    assert onnxruntime_of("1.0.0") == ""


def test_a_build_may_name_versions_or_all_releases() -> None:
    assert Settings().other_runtimes == []
    assert Settings(ort_versions="1.24.4, 1.19.2").other_runtimes == ["1.19.2", "1.24.4"]
    of_releases = Settings(ort_versions="releases").other_runtimes
    assert set(of_releases) == {release.onnxruntime for release in RELEASES.values()}


@pytest.mark.parametrize("versions", ["1.19", "latest", "1.19.2,", "24.10", "1.19.2; rm"])
def test_what_is_no_version_is_refused(versions: str) -> None:
    with pytest.raises(BuildError, match=r"ORT_VERSIONS is .*: it has to be versions of ONNX Run"):
        Settings(ort_versions=versions)


def test_the_versions_may_come_from_the_environment() -> None:
    found = Settings.from_environment({"ORT_VERSIONS": "1.24.4"})
    assert found.other_runtimes == ["1.24.4"]
