"""How many old words are left, for each 1,000 lines? The list of old words, and the count.

    python -m tests.docs.plain_words            # the table for the files as they are now
    python -m tests.docs.plain_words 464d467    # and, beside it, for a commit

The words are counted wherever they stand: prose, docstrings, comments, error texts, identifiers.
`money_was_asked_for` and `AskedMoney` hold the word "asked", as the sentence does.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]

# At most so many old words for each 1,000 lines, part by part. Lower these, never raise them.
CEILINGS: Final[Mapping[str, float]] = {
    "README and docs": 1.8,
    "docs/reference": 1,
    "xpay_flow": 0.1,
    "xpay_flow/checker": 0.1,
    "adapters": 0.2,
    "examples": 0,
    "tests": 10,
    "benchmarks": 1.7,
}

# Old words and phrases, and what to write instead. A space stands for any space or underscore.
WORDS: Final[Mapping[str, str]] = {
    "told": "reported, shown, recorded",
    "retold": "conflicting",
    "tells": "reports, shows",
    "said": "reported, recorded",
    "says": "states, shows",
    "asked": "requested, queried, polled, expected",
    "asks": "requests, queries, polls",
    "heard": "received",
    "hears": "receives",
    "news": "event",
    "owe": "record as due",
    "owed": "pending, due",
    "owes": "has pending",
    "debt": "pending call",
    "overtaken": "superseded",
    "overtakes": "supersedes, arrives before",
    "whoever": "the thing or the role that acts",
    "nobody": "no one role: name it, or turn the sentence round",
    "nobodys": "unmatched",
    "somebody": "operator, another process",
    "somebodys": "another's",
    "everybody": "name them",
    "a person": "operator",
    "upon": "on, for",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "put up for": "flagged for",
    "over another amount": "for another amount",
    "what is not": "name the thing",
}

# Names of the API before 0.1.0, whole and in this case; none may be exported again.
OLD_NAMES: Final = frozenset(
    {
        *("Terms", "Received", "Asked", "Delivered", "Filed", "Unworkable", "Owed", "Owes", "Try"),
        *("Fact", "Stamped", "Rules", "Means", "Claiming", "Finding", "Batching", "Listing"),
        *("RunWithin", "Undone", "TakeTurn", "Pacer", "Handles", "AsyncHandles", "Asks", "Does"),
        *("asks", "ask_at_ms", "ask_schedule_s", "able", "within", "abandoned"),
        *("can_hold", "is_held", "forward", "forwarded", "adopt", "give_to", "is_overtaken"),
        *("facts", "effects", "owes"),
    }
)

_PHRASES: Final = re.compile(
    r"\b(?:" + "|".join(sorted(WORDS, key=len, reverse=True)).replace(" ", r"\s+") + r")\b"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# The first part whose folder holds a file is the one that counts it.
_FOLDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "docs/reference": ("docs/reference/",),
    "README and docs": (
        "docs/",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ),
    "xpay_flow/checker": ("xpay_flow/checker/",),
    "xpay_flow": ("xpay_flow/",),
    "adapters": ("adapters/",),
    "examples": ("examples/",),
    "tests": ("tests/",),
    "benchmarks": ("benchmarks/",),
}
_ENDINGS: Final = (".md", ".py", ".js", ".html", ".sql", ".toml")
# These two hold the list itself.
_LISTS: Final = ("tests/docs/plain_words.py", "tests/docs/test_plain_words.py")


def old_words(text: str) -> list[str]:
    """Every old word in a text, identifiers taken apart."""
    apart = _CAMEL.sub(" ", text).replace("_", " ").replace("’", "'").lower()
    return [" ".join(found.split()) for found in _PHRASES.findall(apart.replace("body's", "bodys"))]


@attrs.define
class Count:
    """What was found in one part."""

    lines: int = 0
    words: Counter[str] = attrs.Factory(Counter[str])

    @property
    def per_thousand(self) -> float:
        return 1000 * self.words.total() / self.lines if self.lines else 0.0


def counted(files: Iterator[tuple[str, str]]) -> dict[str, Count]:
    """The count of each part, from names of files and their texts."""
    parts = {part: Count() for part in _FOLDERS}
    for name, text in files:
        if (part := _part(name)) is not None:
            parts[part].lines += text.count("\n")
            parts[part].words.update(old_words(text))
    return parts


def _part(name: str) -> str | None:
    if not name.endswith(_ENDINGS) or name in _LISTS:
        return None
    return next((part for part, folders in _FOLDERS.items() if name.startswith(folders)), None)


def files_now() -> Iterator[tuple[str, str]]:
    """The files of this tree. Folders that begin with a dot are not ours."""
    for folder in sorted({folder for folders in _FOLDERS.values() for folder in folders}):
        path = ROOT / folder
        found = path.rglob("*") if path.is_dir() else (path,)
        for file in sorted(found):
            name = file.relative_to(ROOT).as_posix()
            inside_another = _longest(name) != folder
            if file.is_file() and name.endswith(_ENDINGS) and not inside_another:
                yield name, file.read_text(encoding="utf-8")


def _longest(name: str) -> str:
    folders = {folder for folders in _FOLDERS.values() for folder in folders}
    return max((folder for folder in folders if name.startswith(folder)), key=len)


def files_of(commit: str) -> Iterator[tuple[str, str]]:
    """The files of a commit."""
    done = subprocess.run(
        ["git", "archive", "--format=tar", commit],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(_ENDINGS):
                data = archive.extractfile(member)
                assert data is not None
                yield member.name, data.read().decode("utf-8")


def table(columns: Mapping[str, Mapping[str, Count]]) -> str:
    """One row for each part: words for each 1,000 lines, and how many words in how many lines."""
    rows = ["part".ljust(20) + "".join(name.rjust(34) for name in columns)]
    for part in _FOLDERS:
        cells = (_cell(counts[part]) for counts in columns.values())
        rows.append(part.ljust(20) + "".join(cell.rjust(34) for cell in cells))
    totals = (_cell(_total(counts)) for counts in columns.values())
    rows.append("all".ljust(20) + "".join(cell.rjust(34) for cell in totals))
    return "\n".join(rows)


def _cell(count: Count) -> str:
    return f"{count.per_thousand:.1f} ({count.words.total():,} in {count.lines:,})"


def _total(counts: Mapping[str, Count]) -> Count:
    total = Count()
    for count in counts.values():
        total.lines += count.lines
        total.words += count.words
    return total


def main(arguments: list[str]) -> None:
    columns = {commit: counted(files_of(commit)) for commit in arguments}
    columns["now"] = counted(files_now())
    print(table(columns))
    for name, counts in columns.items():
        most = _total(counts).words.most_common()
        print(f"\n{name}: " + ", ".join(f"{word} {number}" for word, number in most))


if __name__ == "__main__":
    main(sys.argv[1:])
