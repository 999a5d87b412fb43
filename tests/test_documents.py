"""What the documents name exists: files, folders, modules, links, targets."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
ENDING = r"\.(?:py|md|toml|pbtxt|jinja|ya?ml|json|cfg|txt|svg|onnx|sh)"
# What is made when something is built or runs, and what belongs to others.
MADE = re.compile(
    r"model(\.int8|\.fp16(\.packed)?)?\.onnx|tokenizer(_config)?\.json|vocab\.txt|manifest\.json|config\.json"
    r"|(model_repository/<model>/)?configs/(tuned|NAME)\.pbtxt|RUN_DIR/.*|\.run/.*|\.venv/.*"
    r"|reports/.*|dist/.*|PREFIX/.*|bundle\.json|(bin/tritonserver|backends|lib)/?|/v2/.*|/v1/.*|/metrics|/dev/.*|/tmp.*|/proc.*"
)


def ours() -> set[str]:
    """Every file of the project, by its path from the root."""
    left_out = {".git", ".venv", "__pycache__", "reports", ".run", ".mypy_cache", ".ruff_cache"}
    return {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if path.is_file()
        and not str(path.relative_to(ROOT)).startswith(".venv")
        and not left_out & set(path.relative_to(ROOT).parts)
    }


FILES = ours()


def exists(name: str) -> bool:
    """Whether a file or folder has this path, from the root, from docs/ or at its end."""
    if "<" in name or "*" in name or "…" in name:  # a pattern: of it the beginning
        name = re.split(r"[^/]*[<*…]", name, maxsplit=1)[0]
    wanted = name.rstrip("/")
    return (
        not wanted
        or any(f"/{file}".endswith(f"/{wanted}") for file in FILES)
        or any(f"/{wanted}/" in f"/{file}" for file in FILES)
    )


def named_paths(text: str) -> set[str]:
    words = {
        word.strip(".,:;()'\"") if not word.startswith(".") else word.rstrip(".,:;()'\"")
        for code in re.findall(r"`([^`\n]+)`", text)
        for word in code.split()
    }
    return {
        word
        for word in words
        if re.fullmatch(r"[\w.*<>/-]+", word)
        and ("/" in word or re.search(rf"{ENDING}$", word))
        and not re.fullmatch(r"[\d./]+|\w+/\w+:\w+", word)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = named_paths(document.read_text())
    assert not {path for path in named if not MADE.fullmatch(path) and not exists(path)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, target


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_that_a_document_calls_exists(document: Path) -> None:
    called = re.findall(
        r"-m ((?:build|clients|deploy|loadtests|server)[\w.]*)", document.read_text()
    )
    for module in set(called):
        name = module.rstrip(".")
        assert importlib.util.find_spec(name), name


def test_a_path_that_is_gone_is_noticed() -> None:
    text = "`build/precision.py` makes `model.onnx`; see `server/` and `no/such/folder/`"
    missing = {p for p in named_paths(text) if not MADE.fullmatch(p) and not exists(p)}
    assert missing == {"build/precision.py", "no/such/folder/"}


CHANGES = re.findall(
    r"^\| ([^|`]+) \| (.*`.*) \| (`.*`) \|$",
    (ROOT / "docs" / "architecture.md").read_text().partition("## Where to change what")[2],
    re.MULTILINE,
)


def test_the_architecture_says_where_to_change_ten_things() -> None:
    assert len(CHANGES) == 10


@pytest.mark.parametrize(("task", "where", "what"), CHANGES, ids=[row[0] for row in CHANGES])
def test_what_is_to_be_changed_stands_where_the_architecture_says(
    task: str,  # noqa: ARG001 - its name is the test's
    where: str,
    what: str,
) -> None:
    files = [ROOT / path for path in re.findall(r"`([^`]+)`", where)]
    texts = [file.read_text() for file in files if file.is_file()]
    for name in re.findall(r"`([^`]+)`", what):
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for text in texts), name


def test_rooms_import_only_what_the_architecture_allows() -> None:
    allowed: dict[str, set[str]] = {
        "server": set(),
        "build": {"server.environment", "server.guard.bounds"},
        "clients": {"build.data", "build.errors"},
    }
    rooms = "|".join(("build", "clients", "deploy", "loadtests", "server", "tests"))
    for room, others in allowed.items():
        for file in (ROOT / room).rglob("*.py"):
            found = re.findall(rf"^\s*(?:from|import) ((?:{rooms})[\w.]*)", file.read_text(), re.M)
            outside = {name for name in found if name.partition(".")[0] != room}
            assert outside <= others, file
