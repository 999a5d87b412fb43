"""Has the whole suite fail where a file of tests brings none, which nobody would see."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before tests are deselected by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Compares what was collected with what lies there.

    Raises:
        pytest.UsageError: A file brought no test.
    """
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if chosen or config.option.ignore or config.option.ignore_glob:
        return
    collected = {item.path for item in items}
    lying = {path for folder in config.args for path in Path(folder).absolute().rglob("test_*.py")}
    if silent := sorted(str(path.relative_to(config.rootpath)) for path in lying - collected):
        raise pytest.UsageError(f"no test was collected from {', '.join(silent)}")
