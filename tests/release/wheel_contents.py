"""Say whether a wheel holds our top-level names and nothing else, and works when installed.

python tests/release/wheel_contents.py dist/*.whl
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OURS = {
    "xpay_flow",
    "xpay_flow_aiohttp",
    "xpay_flow_asgi",
    "xpay_flow_django",
    "xpay_flow_fastapi",
    "xpay_flow_flask",
    "xpay_flow_litestar",
    "xpay_flow_pytest",
    "xpay_flow_quart",
    "xpay_flow_sqlalchemy",
    "xpay_flow_starlette",
    "xpay_flow_wsgi",
}
# What a wheel without its data files would lack.
NEEDED = {
    "xpay_flow/py.typed",
    "xpay_flow/browser/xpay-flow.js",
    "xpay_flow/browser/languages/ar.json",
    "xpay_flow/browser/return.html",
    "xpay_flow/demo/static/shop.css",
    "xpay_flow/demo/templates/base.html",
    "xpay_flow/sandbox/templates/checkout.html",
    "xpay_flow_fastapi/py.typed",
    "xpay_flow_django/templates/admin/xpay_flow/story.html",
    "xpay_flow_sqlalchemy/migrations/versions/xpay_flow_1.py",
}


def main(wheel: str) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    strange = {name for name in top - OURS if not name.endswith(".dist-info")}
    if strange or OURS - top:
        raise SystemExit(f"{wheel}: unexpected {sorted(strange)}, missing {sorted(OURS - top)}")
    if missing := NEEDED - set(names):
        raise SystemExit(f"{wheel}: missing {sorted(missing)}")
    if leftovers := [name for name in names if name.endswith((".pyc", ".db"))]:
        raise SystemExit(f"{wheel}: left over {leftovers[:3]}")
    _import_from(wheel)
    print(f"{Path(wheel).name}: {len(names)} files, {len(OURS)} top-level names, imports")


def _import_from(wheel: str) -> None:
    """The wheel itself is imported, not the checkout beside it."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        code = (
            f"import sys; sys.path.insert(0, {folder!r}); import xpay_flow;"
            f"assert xpay_flow.__file__.startswith({folder!r}), xpay_flow.__file__;"
            "xpay_flow.Flow"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, timeout=120)


if __name__ == "__main__":
    main(sys.argv[1])
