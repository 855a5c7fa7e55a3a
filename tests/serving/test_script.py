"""What the browser helper does, in a time that passes only when everybody waits.

The page as a whole is tried in a browser elsewhere; these tests need `node` and no browser.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(str(files("xpay_flow.browser") / "xpay-flow.js"))
SHIPPED_BYTES_MAX = 3600
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@cache
def module(folder: Path) -> Path:
    """The script under a name that node takes for a module."""
    copy = folder / "xpay-flow.mjs"
    copy.write_bytes(SCRIPT.read_bytes())
    return copy


@pytest.fixture(scope="module", name="play")
def _play(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("script")

    def play(**scenario: Any) -> dict[str, Any]:
        assert NODE is not None
        done = subprocess.run(
            [NODE, str(Path(__file__).with_name("virtual.mjs")), str(module(folder))],
            input=json.dumps(scenario),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return play


def test_the_script_is_small_and_needs_nothing() -> None:
    """It is shipped as it is read: one module below 3,600 bytes, without imports."""
    text = SCRIPT.read_text("utf-8")
    assert SHIPPED_BYTES_MAX > SCRIPT.stat().st_size
    assert "import " not in text.replace("import(", "")
    assert "window.open" not in text


@needs_node
def test_the_script_is_a_module_that_parses(tmp_path: Path) -> None:
    """No browser has to find out about a slip of the pen."""
    assert NODE is not None
    copy = tmp_path / "xpay-flow.mjs"
    copy.write_bytes(SCRIPT.read_bytes())
    subprocess.run([NODE, "--check", str(copy)], check=True, timeout=60)


@needs_node
def test_a_success_is_shown_at_once(play: Any) -> None:
    """The first answer is enough if it is a success; it is read out of the JSON."""
    seen = play(script=[{"status": "SUCCESS"}])
    assert ("success", 0, ["SUCCESS"]) == (seen["outcome"], seen["at"], seen["heard"])
    assert [
        {"at": 0, "path": "/xpay/payment-status", "xpay_intent_id": "in_1 &", "wait": "20"}
    ] == seen["requests"]


@needs_node
def test_pending_is_requested_again_until_it_is_over(play: Any) -> None:
    """The server holds each request, the pauses are short, and each change is shown once."""
    seen = play(script=[{"hold": "PENDING"}] * 8 + [{"after": 3000, "status": "SUCCESS"}])
    assert ("success", ["PENDING", "SUCCESS"]) == (seen["outcome"], seen["heard"])
    assert 163_000 <= seen["at"] < 166_000


@needs_node
def test_a_failure_must_stand_for_a_while(play: Any) -> None:
    """The page gets it at once, and shows it after eight seconds of looking."""
    seen = play(script=[{"hold": "FAILED"}])
    assert ("failed", ["FAILED"]) == (seen["outcome"], seen["heard"])
    assert 8_000 <= seen["at"] < 10_000
    assert [None, "FAILED"] == [ask.get("seen") for ask in seen["requests"]][:2]
    assert 8 >= int(seen["requests"][1]["wait"])


@needs_node
def test_a_failure_followed_by_a_success_is_a_success(play: Any) -> None:
    """The customer paid on the same page after a declined card."""
    seen = play(script=[{"hold": "FAILED"}, {"after": 5000, "status": "SUCCESS"}])
    assert ("success", ["FAILED", "SUCCESS"]) == (seen["outcome"], seen["heard"])


@needs_node
def test_a_failure_that_comes_late_must_stand_as_long(play: Any) -> None:
    """The time is counted from the failure, not from the customer's return."""
    seen = play(script=[{"after": 15000, "status": "FAILED", "final": False}, {"hold": "FAILED"}])
    assert "failed" == seen["outcome"]
    assert 23_000 <= seen["at"] < 25_000


@needs_node
def test_a_final_failure_needs_no_waiting(play: Any) -> None:
    """Where nothing can follow, the customer need not wait."""
    seen = play(script=[{"status": "FAILED", "final": True}])
    assert ("failed", 0) == (seen["outcome"], seen["at"])


@needs_node
def test_without_end_a_failure_waits_for_a_success_only(play: Any) -> None:
    """The page that shows a failure goes on looking in this way, and gives up at the end."""
    # JSON has no Infinity; this is longer than anybody waits.
    seen = play(script=[{"hold": "FAILED"}], options={"settleMs": 1e12})
    assert "waiting" == seen["outcome"]
    assert 300_000 <= seen["at"] < 345_000


@needs_node
@pytest.mark.parametrize("trouble", [{"broken": True}, {"html": True}, {"status": "PAID"}])
def test_trouble_is_lived_through_with_longer_and_longer_pauses(play: Any, trouble: Any) -> None:
    """A lost connection, a proxy's error page and a foreign word say nothing about the payment."""
    seen = play(script=[trouble] * 8 + [{"status": "SUCCESS"}])
    assert ("success", ["SUCCESS"]) == (seen["outcome"], seen["heard"])
    times = [ask["at"] for ask in seen["requests"]]
    gaps = [after - before for before, after in pairwise(times)]
    assert sorted(gaps) == gaps
    assert gaps[0] < 1_000
    assert gaps[-1] == 15_000


@needs_node
def test_trouble_never_makes_a_failure(play: Any) -> None:
    """When time is up and nothing was learned, the answer is that we are still waiting."""
    seen = play(script=[{"broken": True}])
    assert ("waiting", []) == (seen["outcome"], seen["heard"])


@needs_node
def test_trouble_does_not_confirm_a_failure(play: Any) -> None:
    """A failure that was seen once, before the connection was lost, is not believed for that."""
    seen = play(script=[{"hold": "FAILED"}, {"broken": True}])
    assert "waiting" == seen["outcome"]
    assert min(int(ask["wait"]) for ask in seen["requests"]) == 0


@needs_node
def test_a_server_that_does_not_hold_is_not_hammered(play: Any) -> None:
    """If it answers at once, the pauses grow, and five minutes are some two dozen questions."""
    seen = play(script=[{"status": "PENDING"}])
    assert "waiting" == seen["outcome"]
    assert 300_000 <= seen["at"] < 320_000
    assert len(seen["requests"]) < 30


@needs_node
def test_a_dead_connection_is_cut(play: Any) -> None:
    """A request that is never answered does not hold up the next one."""
    seen = play(script=[{"hang": True}, {"status": "SUCCESS"}])
    assert "success" == seen["outcome"]
    assert 29_000 <= seen["at"] < 31_000


@needs_node
def test_a_device_that_slept_looks_again(play: Any) -> None:
    """An hour of sleep is not an hour of waiting: after it, the request is repeated once."""
    seen = play(script=[{"hold": "PENDING"}, {"sleep": 3_600_000}, {"status": "SUCCESS"}])
    assert "success" == seen["outcome"]


@needs_node
@pytest.mark.parametrize("at", [5_000, 20_300])
def test_whoever_aborts_is_told_so(play: Any, at: int) -> None:
    """During a question and during a pause, aborting ends it with the reason that was given."""
    seen = play(script=[{"hold": "PENDING"}, {"broken": True}], abortAt=at)
    assert ("left", at) == (seen["error"], seen["at"])


@needs_node
@pytest.mark.parametrize("url", ["https://pay.xpaycheckout.com/?secret=a b", "/pay/42", "pay"])
def test_the_checkout_is_opened_in_this_tab(play: Any, url: str) -> None:
    """The address is used as it came."""
    assert [url] == play(goTo=url)["went"]


@needs_node
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,https://x", "file:///x"]
)
def test_an_address_that_is_no_page_is_refused(play: Any, url: str) -> None:
    """Whatever a server was made to answer, no code of others runs in the shop's page."""
    seen = play(goTo=url)
    assert ([], "not a web address") == (seen["went"], seen["error"])
