"""python -m tests.chaos [--long] [--intents N --deliveries M --seconds S --seed K] [--json]

Web processes, workers and PostgreSQL itself are killed while customers pay and xPay sends events;
then the logs of both, the database and the ledgers are compared. Ends by itself; exit code 1 is a
fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

# Where pytest begins, too, so that the other tests' helpers have one name.
sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import NotThere

from xpay_flow.errors import InvalidValue

from .database import Broken
from .run import Report, Size, run

SHORT = Size(intents=150, deliveries=600, seconds=15, server_kills=2)
LONG = Size(intents=5_000, deliveries=20_000, seconds=300, server_kills=6)
SHOWN_MAX = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, and say by the exit code whether all is well."""
    options = _parser().parse_args(arguments)
    size = LONG if options.long else SHORT
    given = {name: value for name in _NUMBERS if (value := getattr(options, name)) is not None}
    # What the local xPay logs of its own faults is no complaint.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        # A command started in the background may ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        report = run(attrs.evolve(size, **given))
    except (NotThere, Broken, InvalidValue) as error:
        print(error, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("ended before its time; nothing was compared", file=sys.stderr)
        return 130
    print(json.dumps(as_json(report)) if options.json else as_text(report))
    return 1 if report.faults else 0


_NUMBERS = {
    "intents": (int, "payments"),
    "deliveries": (int, "webhooks to send, copies among them"),
    "seconds": (float, "over which they are sent"),
    "server_kills": (int, "kills of PostgreSQL"),
    "seed": (int, "of what is sent"),
}


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tests.chaos", description=__doc__, formatter_class=form)
    parser.add_argument("--long", action="store_true", help="minutes rather than seconds")
    parser.add_argument("--json", action="store_true", help="print one object of JSON")
    for name, (kind, meaning) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=meaning)
    return parser


def as_json(report: Report) -> dict[str, object]:
    """The report, with the number of faults of each kind."""
    return {**attrs.asdict(report), "faults_by_kind": report.by_kind}


def as_text(report: Report) -> str:
    """The figures, and the first faults."""
    figures = {
        "payments": report.size.intents,
        "deliveries": f"{report.size.deliveries}, {report.duplicates} of them copies",
        "sent within": f"{report.seconds} s",
        "customers sent on": report.sent_on,
        "clicks": _counted(report.clicks),
        "payments at xPay": report.at_xpay,
        "attempts that it refused": report.refused,
        "tries": _counted(report.tries),
        "processes killed": report.process_kills,
        "… since the newer schema": report.kills_after_rollout,
        "processes that ended alone": report.ended_by_themselves,
        "servers killed": report.server_kills,
        "… that recovered": report.recoveries,
        "poolers killed": report.pooler_kills,
        "rows in the ledger": report.paid,
        "calls outside": f"{report.calls}, {report.calls_repeated} of them repeated",
        **{kind: count for kind, count in report.by_kind.items() if count},
        "faults": len(report.faults),
    }
    shown = [f"{f.kind}: {f.about}: {f.text}" for f in report.faults[:SHOWN_MAX]]
    return "\n".join([*(f"{name:28} {value}" for name, value in figures.items()), *shown])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {n}" for what, n in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
