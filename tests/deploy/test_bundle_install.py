"""A bundle is installed where there is no network: whole, or not at all, and in words."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.bundle.make import ROOT, Made
from server.cuda.libraries import NEEDED, find_libraries, places
from tests.deploy.small_bundle import PYTHON, make_checkout, make_small

Install = Callable[..., "subprocess.CompletedProcess[str]"]
NAME = "model-serving-1.2.3-cpu"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkout."""
    return make_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Its bundle, in parts."""
    return make_small(checkout, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def sent(made: Made, tmp_path: Path) -> Path:
    """The parts on the target, which came in some order into a folder with a space in its name."""
    folder = tmp_path / "what was sent"
    folder.mkdir()
    for path in reversed(made.files):
        shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope="module")
def installed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed already."""
    prefix = tmp_path_factory.mktemp("installed") / "it's a; größer PREFIX"
    done = run_install(made.files[0].parent, prefix)
    assert done.returncode == 0, done.stderr
    return prefix


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where to install; a path that a shell would take apart."""
    return tmp_path / "it's a; größer PREFIX"


def run_install(
    sent: Path, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the installer as the target does."""
    return subprocess.run(
        ["sh", str(sent / "install.sh"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )


def serve(prefix: Path, *arguments: str, cwd: Path | None = None) -> str:
    """What the installed server says."""
    command = [str(prefix / "bin" / "serve"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def part(sent: Path, number: int) -> Path:
    return sent / f"{NAME}.tar.{number:03}"


def test_commands_work_from_any_folder_and_by_a_link(installed: Path, tmp_path: Path) -> None:
    prefix = installed
    assert {path.name for path in (prefix / "bin").iterdir()} == {"serve", "clients", "gpu-check"}
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "server").mkdir(parents=True)
    (elsewhere / "server" / "__main__.py").write_text("print('not this one')")
    assert serve(prefix, "a b", cwd=elsewhere) == "['a b'] cpu\n"
    link = tmp_path / "link"
    link.symlink_to(prefix / "bin" / "serve")
    assert (
        subprocess.run([str(link)], capture_output=True, check=True, cwd="/").stdout == b"[] cpu\n"
    )


def test_nothing_lies_beside_the_versions_of_a_model_that_triton_would_take_for_one(
    installed: Path,
) -> None:
    app = installed / "current" / "app"
    assert list((app / "server").glob("__pycache__/*.pyc"))
    sources = list((app / "model_repository").glob("*/*.py"))
    assert sources
    assert not [path for path in sources if (path.parent / "__pycache__").exists()]


def test_another_installation_takes_the_place_of_the_first(sent: Path, installed: Path) -> None:
    prefix = installed
    for models in ("mnist_cnn", "mnist"):
        done = run_install(sent, prefix, "--models", models)
        assert done.returncode == 0, done.stderr
        repository = prefix / "current" / "app" / "model_repository"
        expected = {"mnist", "mnist_cnn", "mnist_decoder"} if models == "mnist" else {"mnist_cnn"}
        assert {path.name for path in repository.iterdir()} == expected
    # That in use and the one before, from which a server may still run.
    older, newer = sorted(int(path.name) for path in (prefix / "releases").iterdir())
    assert (newer - older, (prefix / "current").readlink().name) == (1, str(newer))
    assert not list(prefix.glob(".unpacked*"))


def test_a_part_that_is_damaged_or_missing_is_named_and_nothing_changes(
    sent: Path, installed: Path
) -> None:
    prefix = installed
    before = sorted(prefix.rglob("*"))
    content = bytearray(part(sent, 2).read_bytes())
    content[100] ^= 1
    part(sent, 2).write_bytes(content)
    part(sent, 4).unlink()
    done = run_install(sent, prefix)
    assert done.returncode == 1
    assert f"error: {NAME}.tar.002 is damaged" in done.stderr
    assert f"error: {NAME}.tar.004 is missing" in done.stderr
    assert ".003" not in done.stderr
    assert sorted(prefix.rglob("*")) == before
    assert serve(prefix) == "[] cpu\n"


@pytest.mark.parametrize("name", ["install.sh", "bundle.json"])
def test_what_comes_beside_the_parts_is_checked_too(sent: Path, prefix: Path, name: str) -> None:
    with (sent / name).open("a") as file:
        file.write("\n")
    done = run_install(sent, prefix)
    assert (done.returncode, f"error: {name} is damaged" in done.stderr) == (1, True)
    assert not prefix.exists()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace("  ", " ", 1), "SHA256SUMS is damaged"),
        (lambda text: "\n".join(text.splitlines()[:3]) + "\n", "cannot be unpacked"),
    ],
    ids=["a line", "lines are lost"],
)
def test_damaged_sums_install_nothing(
    sent: Path, prefix: Path, edit: Callable[[str], str], said: str
) -> None:
    sums = sent / "SHA256SUMS"
    sums.write_text(edit(sums.read_text()))
    done = run_install(sent, prefix)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not prefix.exists()


def test_every_file_of_an_unpacked_bundle_is_checked_before_anything_is_made(
    checkout: Path, tmp_path: Path, prefix: Path
) -> None:
    made = make_small(checkout, tmp_path / "dist", split="", without="gpu-check")
    assert [path.name for path in made.files] == [f"{NAME}.tar", f"{NAME}.tar.sha256"]
    subprocess.run(["sha256sum", "-c", made.files[1].name], cwd=tmp_path / "dist", check=True)
    subprocess.run(["tar", "-xf", str(made.files[0]), "-C", str(tmp_path)], check=True)
    unpacked = tmp_path / NAME
    (wheel,) = unpacked.glob("wheels/speed-*.whl")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1])
    done = run_install(unpacked, prefix)
    assert done.returncode == 1
    assert f"error: wheels/{wheel.name} is damaged" in done.stderr
    assert not prefix.exists()
    wheel.write_bytes(whole)
    done = run_install(unpacked, prefix)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (prefix / "bin").iterdir()} == {"serve", "clients"}
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)


def test_another_python_is_refused_with_what_is_needed(
    checkout: Path, tmp_path: Path, prefix: Path
) -> None:
    other = "3.10" if PYTHON != "3.10" else "3.11"
    make_small(checkout, tmp_path / "dist", bundle_python=other)
    done = run_install(tmp_path / "dist" / NAME, prefix)
    version = "{}.{}.{}".format(*sys.version_info)
    assert done.returncode == 1
    assert f"this bundle needs Python {other} and {sys.executable} is {version}" in done.stderr
    done = run_install(tmp_path / "dist" / NAME, prefix, PYTHON="/no/such/python")
    assert "/no/such/python is missing" in done.stderr
    assert not prefix.exists()


@pytest.mark.parametrize("compress", ["none", "xz"])
def test_what_is_sent_is_the_same_to_the_byte_when_it_is_made_again(
    checkout: Path, tmp_path: Path, compress: str
) -> None:
    for name in ("one", "two"):
        make_small(checkout, tmp_path / name, compress=compress)
        (checkout / "deploy" / "__init__.py").touch()
    one, two = ((tmp_path / name / NAME / "SHA256SUMS").read_text() for name in ("one", "two"))
    assert one == two


def test_a_packed_bundle_installs_like_another_and_is_smaller(
    checkout: Path, made: Made, tmp_path: Path, prefix: Path
) -> None:
    packed = make_small(checkout, tmp_path / "dist", compress="xz")
    sizes = [sum(path.stat().st_size for path in each.files) for each in (packed, made)]
    assert sizes[0] < sizes[1]
    done = run_install(tmp_path / "dist" / NAME, prefix)
    assert done.returncode == 0, done.stderr
    assert serve(prefix) == "[] cpu\n"


def test_the_code_is_what_git_knows_and_variants_can_be_left_out(made: Made) -> None:
    names = set(made.sizes)
    assert "app/server/__main__.py" in names
    assert not [name for name in names if "loose" in name or "__pycache__" in name]
    assert "app/model_repository/mnist_cnn/1/model.onnx" in names


def test_a_folder_with_something_else_is_left_alone(sent: Path, prefix: Path) -> None:
    prefix.mkdir()
    (prefix / "thesis.txt").write_text("the only copy")
    done = run_install(sent, prefix)
    assert (done.returncode, "holds something else" in done.stderr) == (1, True)
    assert [path.name for path in prefix.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_installation_leaves_what_was_there(
    sent: Path, installed: Path, number: signal.Signals, tmp_path: Path
) -> None:
    prefix = installed
    # A Python that waits where the environment is to be made.
    there, hold, python = (tmp_path / name for name in ("there", "hold", "python"))
    os.mkfifo(there)
    os.mkfifo(hold)
    real = os.path.realpath(sys.executable)
    python.write_text(
        f"#!/bin/bash\n[[ $* == *'-m venv'* ]] && {{ echo >'{there}'; read <'{hold}'; exit 1; }}\n"
        f"exec -a '{python}' '{real}' \"$@\"\n"
    )
    python.chmod(0o755)
    process = subprocess.Popen(
        ["sh", str(sent / "install.sh"), str(prefix)],
        env={**os.environ, "PYTHON": str(python)},
        stderr=subprocess.PIPE,
        text=True,
    )
    there.read_text()
    process.send_signal(number)
    with hold.open("r+b", buffering=0) as open_hold:
        open_hold.write(b"\n")  # so that what is left of it ends, now or once it reads
        _, said = process.communicate()
    if number == signal.SIGTERM:
        assert said == "interrupted; what was installed before is as it was\n"
        assert not list(prefix.glob(".unpacked*"))
    assert serve(prefix) == "[] cpu\n"
    if number == signal.SIGKILL:
        done = run_install(sent, prefix)
        assert done.returncode == 0, done.stderr
        assert not list(prefix.glob(".unpacked*"))


def test_two_installations_into_one_folder_are_told_apart(sent: Path, installed: Path) -> None:
    prefix = installed
    with (prefix / ".model-serving").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_install(sent, prefix)
    assert (done.returncode, "another installation" in done.stderr) == (1, True)
    assert serve(prefix) == "[] cpu\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "mnists"], "--models names 'mnists': this bundle has mnist, "),
        (["--without", "everything"], "--without names 'everything': it has to name of "),
        (["--colour"], "there is no option --colour"),
        (["elsewhere"], "one folder is needed"),
        (["--without"], "--without needs names"),
    ],
)
def test_a_wrong_word_is_told(sent: Path, prefix: Path, arguments: list[str], said: str) -> None:
    done = run_install(sent, prefix, *arguments)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not prefix.exists()


def test_a_package_that_is_left_out_is_taken_from_the_targets_own_python(
    sent: Path, prefix: Path
) -> None:
    done = run_install(sent, prefix, "--without=onnxruntime")
    # The Python of these tests has the real one, and what that needs does not come with it.
    version = importlib.metadata.version("onnxruntime")
    assert f"takes onnxruntime {version} from " in done.stdout
    assert done.returncode == 1
    assert f"packages are missing: onnxruntime {version} requires " in done.stderr


def test_cuda_libraries_of_an_environment_of_the_target_are_found_without_a_word_of_the_user(
    tmp_path: Path,
) -> None:
    # As PyTorch brings them, in the environment whose Python installs.
    venv.create(tmp_path / "torch", with_pip=False, symlinks=True)
    packages = tmp_path / "torch" / "lib" / f"python{PYTHON}" / "site-packages"
    for name in NEEDED:
        part = "cudnn" if name.startswith("libcudnn") else "cu13"
        (packages / "nvidia" / part / "lib").mkdir(parents=True, exist_ok=True)
        (packages / "nvidia" / part / "lib" / name).touch()
    info = packages / "nvidia_cudnn_cu13-9.20.0.48.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: nvidia-cudnn-cu13\nVersion: 9.20\n"
    )
    (info / "RECORD").write_text("nvidia/cudnn/lib/libcudnn.so.9,,\n")
    said = {}
    for left_out in (["cuda-libraries"], []):
        code = (
            "from deploy.bundle.target.install import defaults\n"
            f"print(*defaults('gpu', {left_out}).values())"
        )
        command = [str(tmp_path / "torch" / "bin" / "python"), "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        device, _, said[bool(left_out)] = done.stdout.strip().partition(" ")
        assert device == "gpu"  # and never the processor, because no GPU is seen
    assert said[False] == ""
    found = find_libraries(places(Path(said[True]), {}))
    assert found.missing == ()
    assert {folder.parent.name for folder in found.folders} == {"cu13", "cudnn"}
