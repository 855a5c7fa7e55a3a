"""python -m benchmarks [--short] [--json] [--picture PATH]"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import (
    checking,
    deciding,
    delivery,
    handlers,
    importing,
    machine,
    rush,
    served,
    small_worlds,
    stages,
    waiting,
    webhooks,
)
from .measure import FULL, SHORT, Group, Size
from .plot import drawn
from .table import as_json, print_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, show it, and draw it."""
    options = _parser().parse_args(arguments)
    facts = machine.described()
    with tempfile.TemporaryDirectory(prefix="xpay-flow-bench-") as folder:
        groups = measured(SHORT if options.short else FULL, Path(folder))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(drawn(groups, facts), encoding="utf-8")
    if options.json:
        print(json.dumps(as_json(groups, facts)))
    else:
        print_table(groups, facts)
        print(f"Drawn in {options.picture}")


def measured(size: Size, folder: Path) -> list[Group]:
    """Every figure there is."""
    return [
        *machine.measured(size, folder),
        *webhooks.measured(size, folder),
        *served.measured(size, folder),
        *rush.measured(size, folder),
        *waiting.measured(size, folder),
        *stages.measured(size, folder),
        *handlers.measured(size, folder),
        *delivery.measured(size, folder),
        *deciding.measured(size),
        *importing.measured(size),
        *small_worlds.measured(size, folder),
        *checking.measured(size),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="some seconds, and rough figures")
    parser.add_argument("--json", action="store_true", help="every sample, instead of the table")
    parser.add_argument(
        "--picture", type=Path, default=Path("artefacts/bench.svg"), help="where to draw it"
    )
    return parser


if __name__ == "__main__":
    main()
