"""Commands read arguments and show results; what goes wrong is one line and an exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom

import pytest
from click.testing import CliRunner, Result

from xpay_flow import LIFECYCLE, Settings, __version__
from xpay_flow.cli.root import xpay_flow
from xpay_flow.drawing import lifecycle_mermaid, lifecycle_svg
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World

PRIVATE_KEY, SIGNING_KEY = "sk_live_8c1f7a2e9b", "whsec_4d9e1c7b2a8f6035"
GOOD = {
    "XPAY_MODE": "live",
    "XPAY_PUBLIC_KEY": "pk_live_51Habcdef",
    "XPAY_PRIVATE_KEY": PRIVATE_KEY,
    "XPAY_WEBHOOK_SECRETS": SIGNING_KEY,
}
COMMANDS = sorted(xpay_flow.commands)


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run a command in this process, with no setting of this machine in its environment."""
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("XPAY")}
    return CliRunner().invoke(xpay_flow, arguments, env=clean | (env or {}), prog_name="xpay-flow")


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """A database with one paid order, and one that is open."""
    path = tmp_path / "payments.db"
    with SQLiteStore(path) as store:
        world = World(store)
        world.xpay.pay(world.start_checkout("order-42").x_intent_id or "")
        world.settle()
        world.start_checkout("order-43[red]")
        world.flow.close()
    return f"sqlite:///{path}"


# --- all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str, flag: str) -> None:
    """Help is there, long and short, for the whole and for each command."""
    result = run(*filter(None, (command, flag)))

    assert 0 == result.exit_code
    assert f"Usage: xpay-flow {command}".strip() in result.output


def test_the_version_is_shown() -> None:
    """`--version` names the installed version."""
    assert __version__ in run("--version").output


@pytest.mark.parametrize("arguments", [("nonsense",), ("timeline",), ("demo", "--port", "x")])
def test_a_wrong_command_line_is_exit_code_two(arguments: tuple[str, ...]) -> None:
    """Usage errors differ from errors of the library."""
    assert 2 == run(*arguments).exit_code


def test_without_click_the_extra_to_install_is_named() -> None:
    """A plain install names in one line what the command line needs."""
    code = (
        "import sys; sys.modules['click'] = None; sys.argv = ['xpay-flow'];"
        "from xpay_flow.cli import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )

    assert 1 == done.returncode
    assert ["Error: xpay_flow.cli needs an extra: pip install 'xpay-flow[cli]'"] == (
        done.stderr.splitlines()
    )


def test_the_installed_command_and_the_module_are_the_same() -> None:
    """`python -m xpay_flow.cli` works like the entry point."""
    done = subprocess.run(
        [sys.executable, "-m", "xpay_flow.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert f"xpay-flow, version {__version__}\n" == done.stdout


# --- diagram ---------------------------------------------------------------------------------


def test_diagram_is_mermaid_by_default() -> None:
    """Standard output gets the machine's drawing, and nothing else."""
    assert lifecycle_mermaid(LIFECYCLE) == run("diagram").output


def test_diagram_writes_svg_into_a_file(tmp_path: Path) -> None:
    """`--out` takes the picture."""
    result = run("diagram", "--format", "svg", "--out", str(tmp_path / "life.svg"))

    assert "" == result.output
    assert lifecycle_svg(LIFECYCLE) == (tmp_path / "life.svg").read_text("utf-8")


# --- timeline --------------------------------------------------------------------------------


def test_timeline_tells_a_payments_story(store_url: str) -> None:
    """Header with state and money, and a row for each entry with verdict and reason."""
    output = run("timeline", "order-42", "--store", store_url).output

    assert "order-42  19.99 USD  success" in output
    for words in ("intent.success", "✓ applied", "initiated → created", "on_success", "✓ done"):
        assert words in output


def test_timeline_takes_every_name(store_url: str) -> None:
    """Receipt id, our id and xPay's id give the same timeline."""
    printed = json.loads(run("timeline", "order-42", "--store", store_url, "--json").output)
    intent = printed["intent"]

    for name in (intent["intent_id"], intent["x_intent_id"]):
        again = run("timeline", name, "--store", store_url, "--json").output
        assert printed == json.loads(again)
    assert "success" == intent["state"]


def test_timeline_draws(store_url: str, tmp_path: Path) -> None:
    """Mermaid goes to standard output, SVG into the file."""
    mermaid = run("timeline", "order-42", "--store", store_url, "--mermaid").output
    run("timeline", "order-42", "--store", store_url, "--svg", str(tmp_path / "t.svg"))

    assert mermaid.startswith("sequenceDiagram\n")
    assert minidom.parse(str(tmp_path / "t.svg")).getElementsByTagName("svg")


def test_words_that_look_like_markup_are_shown_as_they_are(store_url: str) -> None:
    """A receipt id cannot colour the terminal."""
    assert "order-43[red]" in run("timeline", "order-43[red]", "--store", store_url).output


def test_timeline_knows_the_store_from_the_environment(store_url: str) -> None:
    """The variable stands in for the option."""
    result = run("timeline", "order-42", env={"XPAY_STORE": store_url})

    assert 0 == result.exit_code
    assert "19.99 USD" in result.output


def test_an_unknown_payment_is_reported(store_url: str) -> None:
    """Exit code 1 and one line, without a trace."""
    result = run("timeline", "unknown", "--store", store_url)

    assert 1 == result.exit_code
    assert "Error: no intent is filed under 'unknown'\n" == result.stderr


def test_looking_makes_no_database(tmp_path: Path) -> None:
    """A mistyped path is an error, and no new file."""
    path = tmp_path / "typo.db"

    result = run("timeline", "order-42", "--store", f"sqlite:///{path}")

    assert 1 == result.exit_code
    assert "there is no file" in result.stderr
    assert not path.exists()


def test_a_store_must_be_named() -> None:
    """Without --store and XPAY_STORE, the usage is wrong, and the error names both."""
    for command in (("timeline", "order-42"), ("db", "current")):
        result = run(*command)
        assert 2 == result.exit_code
        assert "name the store: --store" in result.stderr
        assert "or XPAY_STORE" in result.stderr


def test_check_store_takes_no_target() -> None:
    """`check --store URL` checks a store, so it refuses a flow as well."""
    result = run("check", "shop.payments:build", "--store", "memory://")
    assert 2 == result.exit_code
    assert "choose one of MODULE:BUILD and --store" in result.stderr


def test_demo_store_must_be_sqlite() -> None:
    """`demo --store` takes an SQLite file only, and no variable can name the shop's own store."""
    result = run("demo", "--once", "--store", "postgresql://db/shop")
    assert 2 == result.exit_code
    assert "sqlite:///shop.db" in result.stderr


def test_two_forms_at_once_are_refused(store_url: str) -> None:
    """JSON or Mermaid, not both."""
    assert 2 == run("timeline", "x", "--store", store_url, "--json", "--mermaid").exit_code


# --- doctor ----------------------------------------------------------------------------------


def test_doctor_is_content_with_good_settings(store_url: str) -> None:
    """Nothing to fix is exit code 0."""
    env = GOOD | {"XPAY_OTHER_ACCOUNTS": "sandbox/local"}
    result = run("doctor", "--store", store_url, env=env)

    assert 0 == result.exit_code
    assert "Ready to take payments." in result.output
    assert "live mode" in result.output


def test_doctor_names_work_of_an_account_that_no_setting_names(store_url: str) -> None:
    """Yesterday's sandbox payments in today's live store are to be fixed, and exit code 1."""
    result = run("doctor", "--store", store_url, env=GOOD)

    assert 1 == result.exit_code
    assert "payments are stored under live/key-" in result.output
    assert "belong to sandbox/local, which no setting names" in result.output
    assert "add sandbox/local to XPAY_OTHER_ACCOUNTS" in result.output


def test_doctor_notes_a_file_that_others_can_read(tmp_path: Path) -> None:
    """A file that was there keeps its rights, and the doctor shows them."""
    path = tmp_path / "payments.db"
    path.touch()
    path.chmod(0o644)
    result = run("doctor", "--store", f"sqlite:///{path}", env=GOOD)
    assert 0 == result.exit_code
    assert "the file has the rights 644" in result.output
    path.chmod(0o600)
    assert "has the rights" not in run("doctor", "--store", f"sqlite:///{path}", env=GOOD).output


def test_timeline_marks_what_belongs_to_another_account(store_url: str) -> None:
    """A payment of the sandbox is shown with live settings, and marked as the sandbox's."""
    order = ("timeline", "order-42", "--store", store_url)
    assert "of another mode or account: sandbox/local" in run(*order, env=GOOD).output
    assert "another mode" not in run(*order).output


def test_doctor_names_every_problem_at_once() -> None:
    """Missing, weak and mistyped settings are all reported, and the exit code is 1."""
    env = {"XPAY_PUBLIC_KEY": "test", "XPAY_WEBHOOK_SECRTS": SIGNING_KEY, "XPAY_MODE": "live"}

    result = run("doctor", env=env)

    assert 1 == result.exit_code
    for name in ("XPAY_PRIVATE_KEY", "XPAY_PUBLIC_KEY", "XPAY_WEBHOOK_SECRTS"):
        assert name in result.output


def test_doctor_speaks_json() -> None:
    """Each finding has a verdict, a subject and a text."""
    found = json.loads(run("doctor", "--json", env=GOOD).output)

    assert {"verdict", "about", "text"} == set(found[0])
    assert {"ok", "note"} == {finding["verdict"] for finding in found}


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--json")])
@pytest.mark.parametrize("more", [{}, {"XPAY_MODE": "nonsense"}, {"XPAY_BASE_URL": PRIVATE_KEY}])
def test_doctor_shows_no_key(arguments: tuple[str, ...], more: dict[str, str]) -> None:
    """Neither good nor misplaced secrets are printed."""
    output = run(*arguments, env=GOOD | more).output

    assert PRIVATE_KEY not in output
    assert SIGNING_KEY not in output


def test_doctor_makes_no_database(tmp_path: Path) -> None:
    """A store that is not there yet is worth a note, and is not made by looking."""
    path = tmp_path / "new.db"

    result = run("doctor", "--store", f"sqlite:///{path}", env=GOOD)

    assert 0 == result.exit_code
    assert "the first start makes it" in result.output
    assert not path.exists()


def test_doctor_says_what_is_wrong_with_a_store(tmp_path: Path) -> None:
    """A file that is no database is found out."""
    (tmp_path / "photo.db").write_bytes(b"GIF89a" * 100)

    result = run("doctor", "--store", f"sqlite:///{tmp_path / 'photo.db'}", env=GOOD)

    assert 1 == result.exit_code
    assert "not an SQLite database" in result.output


# --- sandbox ---------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What would have been served, without serving it."""
    calls: list[object] = []
    monkeypatch.setattr("xpay_flow.sandbox.web.run", lambda *args, **more: calls.append(args[0]))
    return calls


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_sandbox_prints_settings_with_which_a_shop_finds_it(served: list[object]) -> None:
    """The printed variables, put into an environment, are good settings."""
    port = free_port()
    output = run("sandbox", "--port", str(port)).output

    lines = [line.strip().partition("=") for line in output.splitlines() if "XPAY_" in line]
    settings = Settings.from_env({name: value for name, _, value in lines})

    assert Settings.sandbox(base_url=f"http://127.0.0.1:{port}") == settings
    assert 1 == len(served)


def test_sandbox_shows_no_key_that_it_was_given(served: list[object]) -> None:
    """Only the keys that everybody knows are printed."""
    output = run(
        "sandbox", "--port", str(free_port()), "--private-key", PRIVATE_KEY,
        "--signing-key", SIGNING_KEY,
    ).output  # fmt: skip

    assert PRIVATE_KEY not in output
    assert SIGNING_KEY not in output
    assert 2 == output.count("(the one you gave)")


def test_sandbox_takes_a_plan_of_faults(served: list[object], tmp_path: Path) -> None:
    """The plan in the file is in force."""
    (tmp_path / "plan.json").write_text('{"webhooks": [{"fault": "lose"}]}')

    result = run("sandbox", "--port", str(free_port()), "--faults", str(tmp_path / "plan.json"))

    assert 0 == result.exit_code
    assert "lose" == served[0].faults.webhooks[0].fault  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("plan", "words"), [("{", "is not JSON"), ('{"webhooks": [{"fault": "x"}]}', "is not one of")]
)
def test_sandbox_refuses_a_bad_plan(
    served: list[object], tmp_path: Path, plan: str, words: str
) -> None:
    """What is wrong with the plan is one line."""
    (tmp_path / "plan.json").write_text(plan)

    result = run("sandbox", "--faults", str(tmp_path / "plan.json"))

    assert 1 == result.exit_code
    assert words in result.stderr
    assert 1 == len(result.stderr.splitlines())
    assert [] == served


def test_sandbox_says_that_a_port_is_taken(served: list[object]) -> None:
    """No trace, no half-started server."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]

        result = run("sandbox", "--port", str(port))

    assert 1 == result.exit_code
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert [] == served


def test_sandbox_stays_on_this_machine_by_default() -> None:
    """A host that others can reach needs a flag."""
    result = run("sandbox", "--host", "0.0.0.0", "--port", str(free_port()))

    assert 1 == result.exit_code
    assert "reachable by others" in result.stderr
