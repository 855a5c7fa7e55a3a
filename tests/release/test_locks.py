"""What make and CI install is pinned, and pinned to what pyproject.toml names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS: Final = ("demo", "dev", "lowest", "runtime")
EXTRAS: Final = PROJECT["project"]["optional-dependencies"]


@attrs.frozen
class Pin:
    """One release in a lock, and the hashes of its files."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        (specifier,) = self.requirement.specifier
        assert "==" == specifier.operator, self.requirement
        return Version(specifier.version)


def pins(text: str) -> list[Pin]:
    """What a lock pins. A line that is neither a comment, a pin nor a hash is refused."""
    joined = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.M))
    found = []
    for line in joined.splitlines():
        requirement, *hashes = line.split(" --hash=")
        found.append(Pin(Requirement(requirement), tuple(h.strip() for h in hashes)))
    return found


def lock(name: str) -> list[Pin]:
    return pins((ROOT / "requirements" / f"{name}.txt").read_text())


def wanted(*lists: list[str]) -> list[Requirement]:
    """Requirements on others, those of our own extras included."""
    found: list[Requirement] = []
    for requirement in map(Requirement, (text for texts in lists for text in texts)):
        if requirement.name == PROJECT["project"]["name"]:
            found += wanted(*(EXTRAS[extra] for extra in requirement.extras))
        else:
            found.append(requirement)
    return found


def runtime() -> list[Requirement]:
    return wanted(PROJECT["project"]["dependencies"], *EXTRAS.values())


def group(name: str) -> list[str]:
    """What a dependency group needs, with those it includes."""
    found: list[str] = []
    for entry in PROJECT["dependency-groups"][name]:
        found += group(entry["include-group"]) if isinstance(entry, Mapping) else [entry]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_each_file_by_its_hash(name: str) -> None:
    """Each line is one version with the SHA-256 of its files, and names no index and no folder."""
    for pin in lock(name):
        assert pin.version
        assert pin.requirement.url is None
        assert pin.hashes, pin.requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in pin.hashes)


@pytest.mark.parametrize("name", LOCKS)
def test_a_compiled_package_is_pinned_for_each_python_and_both_processors(name: str) -> None:
    """The hashes are of all files of a release, and not of the one that was installed here."""
    # One wheel for each of three Pythons on two processors, at least.
    (compiled,) = (pin for pin in lock(name) if "markupsafe" == pin.name)
    assert 6 < len(compiled.hashes)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("dev", [*runtime(), *wanted(group("dev"))]),
        ("runtime", runtime()),
        ("demo", wanted(PROJECT["project"]["dependencies"], EXTRAS["demo"], group("build"))),
        ("lowest", [*runtime(), *wanted(group("build"), group("test"))]),
    ],
)
def test_a_lock_has_what_the_project_names(name: str, needs: list[Requirement]) -> None:
    """A dependency that pyproject.toml names is in the lock, at a version that it allows."""
    found = lock(name)
    for need in needs:
        fits = [pin for pin in found if pin.name == canonicalize_name(need.name)]
        assert fits, f"{need} is not in {name}.txt: make lock"
        assert all(need.specifier.contains(pin.version, prereleases=True) for pin in fits), need


def test_the_lower_bounds_are_what_is_tested() -> None:
    """`make lowest` runs the very versions that the lower bounds name."""
    bounds: dict[str, Version] = {}
    for need in runtime():
        (bound,) = (Version(s.version) for s in need.specifier if s.operator == ">=")
        name = canonicalize_name(need.name)
        bounds[name] = max(bound, bounds.get(name, bound))
    tested = {pin.name: pin.version for pin in lock("lowest")}
    assert bounds == {name: tested[name] for name in bounds}


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "--find-links /srv/wheels",
        "attrs>=23 --hash=sha256:" + "0" * 64,
        "attrs @ file:///srv/attrs.whl --hash=sha256:" + "0" * 64,
    ],
)
def test_a_lock_that_pins_nothing_is_refused(line: str) -> None:
    """The reading of a lock fails at an index, a folder, a range and a place."""
    with pytest.raises((ValueError, AssertionError)):
        assert [pin.version for pin in pins(f"# a lock\n{line}\n")]
