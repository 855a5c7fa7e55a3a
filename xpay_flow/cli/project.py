"""Which framework does a project use, and where is its app? Found by reading, without importing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs

Framework: TypeAlias = Literal[
    "fastapi", "starlette", "flask", "quart", "litestar", "aiohttp", "django"
]

# The class whose instance is the app, by the package that it is imported from.
_APPS: Final[dict[tuple[str, str], Framework]] = {
    ("fastapi", "FastAPI"): "fastapi",
    ("starlette", "Starlette"): "starlette",
    ("flask", "Flask"): "flask",
    ("quart", "Quart"): "quart",
    ("litestar", "Litestar"): "litestar",
    ("aiohttp", "Application"): "aiohttp",
}
_SETTINGS: Final = re.compile(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""")
# Folders that hold other people's code, or none.
_PASSED_OVER: Final = frozenset(
    {"node_modules", "site-packages", "build", "dist", "tests", "venv", "env", "__pycache__"}
)
# A project is larger than this only with code that is not its own.
FILES_MAX: Final = 2000
FILE_BYTES_MAX: Final = 1 << 20


@attrs.frozen(kw_only=True)
class Found:
    """An app in a project.

    Args:
        path: the file in which it is made; in Django, `manage.py`.
        name: the variable, such as `app`; in Django, the module of the settings.
        function: the factory in which it is made, if it is not made at import.
    """

    framework: Framework
    path: Path
    name: str
    function: str = ""

    def target(self, folder: Path) -> str:
        """What `--app` takes: `shop.main:app`; of a Django project, its `wsgi.py`."""
        if self.framework == "django":
            return f"{self.name.rpartition('.')[0] or self.name}.wsgi:application"
        parts = self.path.relative_to(folder).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return f"{module}:{self.name}"


def apps_in(folder: Path) -> list[Found]:
    """The apps of a project, those in files nearest to its top first; of Django, the project."""
    manage = folder / "manage.py"
    if manage.is_file() and (settings := _SETTINGS.search(manage.read_text(errors="replace"))):
        return [Found(framework="django", path=manage, name=settings[1])]
    return [found for path in _sources(folder) for found in _in_file(path)]


def _sources(folder: Path) -> list[Path]:
    found: list[Path] = []
    waiting = [folder]
    while waiting and len(found) < FILES_MAX:
        for path in sorted(waiting.pop(0).iterdir()):
            if path.name.startswith(".") or path.is_symlink():
                continue
            if path.is_dir() and path.name not in _PASSED_OVER and not _is_environment(path):
                waiting.append(path)
            elif path.suffix == ".py" and not path.name.startswith("test_"):
                found.append(path)
    return found


def _is_environment(path: Path) -> bool:
    return (path / "pyvenv.cfg").exists()


def _in_file(path: Path) -> Iterator[Found]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    kinds = dict(_imported(tree))
    for statement in tree.body:
        factory = statement.name if isinstance(statement, ast.FunctionDef) else ""
        for name, call in _assigned(statement):
            if (framework := kinds.get(ast.unparse(call.func))) is not None:
                yield Found(framework=framework, path=path, name=name, function=factory)


def _imported(tree: ast.Module) -> Iterator[tuple[str, Framework]]:
    """How each class of an app is called in this file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            package = node.module.partition(".")[0]
            for alias in node.names:
                local = alias.asname or alias.name
                if framework := _APPS.get((package, alias.name)):
                    yield local, framework
                elif (package, alias.name) == ("aiohttp", "web"):
                    yield f"{local}.Application", "aiohttp"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                for (package, kind), framework in _APPS.items():
                    if alias.name.partition(".")[0] == package:
                        yield f"{alias.asname or alias.name}.{kind}", framework


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.Call]]:
    """Each `name = Call(…)` in a statement, those of a function's body included."""
    for node in ast.walk(statement):
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            yield target.id, value
