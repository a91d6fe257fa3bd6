"""Who may import whom: the contracts in pyproject.toml, and what the core may import at all."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

IN_CORE_BESIDE_STDLIB = frozenset({"coordsvc", "numpy"})
NOT_IN_CORE = frozenset(
    {"asyncio", "datetime", "logging", "os", "random", "secrets", "socket", "subprocess"}
    | {"tempfile", "threading", "time", "uuid"}
)
UNIMPORTABLE = ("ray", "torch", "transformers", "pydantic", "fastapi", "prometheus_client")

IMPORT_ALL_OF_CORE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import coordsvc.core
for module in pkgutil.walk_packages(coordsvc.core.__path__, "coordsvc.core."):
    importlib.import_module(module.name)
print(*sorted(sys.modules))
"""


def _imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: imports name their package"
            assert node.module is not None
            yield node.module.partition(".")[0]


def test_the_import_contracts_are_kept(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run(
        [linter, "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_core_is_standard_library_and_numpy(root: Path) -> None:
    allowed = (sys.stdlib_module_names - NOT_IN_CORE) | IN_CORE_BESIDE_STDLIB
    strangers = {
        str(source.relative_to(root)): found
        for source in sorted((root / "coordsvc/core").rglob("*.py"))
        if (found := set(_imported(source)) - allowed)
    }
    assert strangers == {}


def test_the_core_imports_where_no_shell_is_installed(root: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL_OF_CORE, *UNIMPORTABLE],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert "coordsvc.core.allocator" in loaded
    assert "asyncio" not in loaded
