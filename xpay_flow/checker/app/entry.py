"""How does a user point the checker at an app as it stands? By one command, or a line in a test."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import attrs

from xpay_flow.errors import ConfigurationError, XPayFlowError
from xpay_flow.import_target import named
from xpay_flow.settings import Settings

from ..contract.files import a_place
from . import target as targets
from .databases import Databases
from .delivery import Served, call_once, close_pools, ended, forked, quiet
from .execution import Run, Stage
from .gate import wrap_drivers
from .promises import Ending, Fulfilled, Own, Promise, Refunded, Sql, derived
from .report import AppResult, moves_of
from .scenes import ONCE, SUCCESS, Order, request_of, scenes_of
from .search import AppBound, AppProgress, Diverged, Explored, Search, replayed

Reset = str | Callable[[], object]
# A line of SQL, or a function that is given the `Ending`.
AppPromise = str | Callable[[Ending], object]
Watch = Callable[[AppProgress], None]

PIECE_S_MAX: Final = 600.0
# What an app printed, of the last lines of it, when nothing else shows why it refuses a webhook.
PRINTED_LINES_MAX: Final = 3
# Where a log is written to does no harm.
SYSLOG: Final = "/dev/log"


@attrs.frozen(kw_only=True)
class AppUnderCheck:
    """An app, and what has to be known of it. See `check_app`."""

    app: Any
    reset: Reset | None = None
    promises: tuple[AppPromise, ...] = ()
    fulfilled: str = ""
    refunded: str = ""
    webhook: str = ""
    return_path: str = ""
    secret: str = ""
    order: Order | None = None
    allowed: frozenset[str] = frozenset({SYSLOG})

    @property
    def name(self) -> str:
        return self.app if isinstance(self.app, str) else type(self.app).__name__


def check_app(
    app: Any,
    *,
    reset: Reset | None = None,
    promise: AppPromise | Iterable[AppPromise] = (),
    fulfilled: str = "",
    refunded: str = "",
    webhook: str = "",
    return_path: str = "",
    secret: str = "",
    order: Order | None = None,
    allow: Iterable[str] = (),
    bound: AppBound | None = None,
    scenes: Iterable[str] = (),
    replay: str = "",
    progress: Watch | None = None,
) -> AppResult:
    """Run an app as it stands through every order of the statements of overlapping webhooks.

    Everything happens in processes of its own, on copies of the app's SQLite files, and no outgoing
    call leaves the machine.

    Args:
        app: ASGI or WSGI, or `module:app`, which is better: the app is then imported by the
            process that checks, and what it opens at import is seen, too.
        reset: makes the database that each execution begins with: tables, and one order that waits
            for its payment. A function, or `module:function`. Without it, it is the app's own
            file as it is now.
        promise: a line of SQL that must be true in the end, or a function, or several. `:paid` is
            1 in SQL if xPay has the money, else 0.
        fulfilled: a line of SQL that counts fulfilments of the order, or `call:` and words of an
            outgoing call. Without it and a promise, what one delivered success does is what counts.
        refunded: a line of SQL that counts refunds that were recorded; adds a refund.
        webhook: the path of the app's webhook, if it cannot be found.
        return_path: the page to which customers return, with its query; adds a customer there.
        secret: with which xPay signs; the sandbox's if not given.
        order: the order that is to be paid, if it cannot be found.
        allow: hosts to which the app may open connections.
        scenes: only these, by name.
        replay: the seed of one trace; nothing else is done.

    Raises:
        ConfigurationError: the app cannot be called, or refuses a plain webhook.
    """
    own = (promise,) if isinstance(promise, str) or callable(promise) else tuple(promise)
    what = AppUnderCheck(
        app=app,
        reset=reset,
        promises=own,
        fulfilled=fulfilled,
        refunded=refunded,
        webhook=webhook,
        return_path=return_path,
        secret=secret,
        order=order,
        allowed=frozenset({SYSLOG, *allow}),
    )

    def work(pipe: Connection, *, warm: bool) -> None:
        try:
            pipe.send(_Check(what, bound or AppBound(), tuple(scenes), pipe, warm=warm).run(replay))
        except (BrokenPipeError, KeyboardInterrupt):
            pass  # no one waits for the result any more
        except Exception as error:
            if not isinstance(error, XPayFlowError | _Remembered):
                traceback.print_exc()
            pipe.send(error)

    try:
        return _result_of(*forked(partial(work, warm=True), output=""), progress)
    except _Remembered:
        return _result_of(*forked(partial(work, warm=False), output=""), progress)


class _Remembered(Exception):
    """The app does something else in a process that has served a request before."""


def _result_of(number: int, pipe: Connection, progress: Watch | None) -> AppResult:
    """What the process that checks sends, until its result comes."""
    hangs = False
    try:
        while True:
            if not pipe.poll(PIECE_S_MAX):
                hangs = True
                raise ConfigurationError("the check has come to a standstill")
            message = pipe.recv()
            if isinstance(message, AppProgress):
                if progress is not None:
                    progress(message)
            elif isinstance(message, AppResult):
                return message
            else:
                raise message
    except EOFError:
        raise ConfigurationError("the process that checks has ended by itself") from None
    finally:
        # It ends as soon as it wants to send more, and removes what it has made.
        pipe.close()
        ended(number, kill=hangs)


def verify_app(app: Any, **options: Any) -> Callable[[], None]:
    """A test: `test_shop = verify_app("shop.main:app", reset=fresh_order)`.

    It fails with the shortest trace, and also where the search did not come to its end.

    Args:
        options: as for `check_app`.
    """

    def test() -> None:
        result = check_app(app, **options)
        assert result.verdict == "EXHAUSTED", result.as_text()

    test.__doc__ = f"{app if isinstance(app, str) else 'The app'} fulfils each paid order once."
    return test


# --- in the process that checks ------------------------------------------------------------------


class _Check:
    def __init__(
        self,
        what: AppUnderCheck,
        bound: AppBound,
        scenes: tuple[str, ...],
        pipe: Connection,
        *,
        warm: bool,
    ) -> None:
        self._what, self._bound, self._names, self._pipe = what, bound, scenes, pipe
        self._warm = warm
        self._notes: list[str] = []

    def run(self, seed: str) -> AppResult:
        began = time.perf_counter()
        with a_place() as place:
            stage = self._staged(place.folder)
            explored: list[Explored] = []
            diverged = ""
            try:
                if seed:
                    explored.append(self._replayed(stage, seed))
                else:
                    scenes = self._scenes()
                    explored += Search(stage, scenes, self._bound, self._pipe.send).run()
            except Diverged as error:
                diverged = (
                    f"the app takes another way each time, so not all of them are seen: {error}"
                )
            return AppResult(
                target=self._what.name,
                bound=self._bound,
                explored=tuple(explored),
                promises=tuple(promise.sentence for promise in stage.promises),
                notes=tuple(self._notes),
                diverged=diverged,
                order=stage.order,
                webhook=stage.webhook,
                options=_options(self._what),
                seconds=time.perf_counter() - began,
                is_replay=bool(seed),
            )

    def _scenes(self) -> Any:
        what = self._what
        all_scenes = list(scenes_of(refund=bool(what.refunded), return_path=what.return_path))
        known = {scene.name for scene in all_scenes}
        if unknown := set(self._names) - known:
            raise ConfigurationError(
                f"there is no scene {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return [scene for scene in all_scenes if not self._names or scene.name in self._names]

    def _replayed(self, stage: Stage, seed: str) -> Explored:
        name, moves = moves_of(seed)
        scenes = {s.name: s for s in scenes_of(refund=True, return_path=stage.return_path or "/")}
        if name not in scenes:
            raise ConfigurationError(f"{seed!r} is no seed of a trace")
        began = time.perf_counter()
        found = replayed(stage, scenes[name], moves)
        return Explored(
            scene=name,
            faults=found.faults if found else 0,
            is_exhausted=False,
            executions=1,
            redundant=0,
            steps=len(moves),
            seconds=time.perf_counter() - began,
            broken=int(found is not None),
            counterexample=found,
        )

    # --- the app ---------------------------------------------------------------------------------

    def _staged(self, folder: Path) -> Stage:
        """Everything that executions have in common, with the promises."""
        what, databases = self._what, Databases(folder)
        wrap_drivers(databases.redirect, what.allowed)
        app = named(what.app, "shop.main:app")[0] if isinstance(what.app, str) else what.app
        served = Served(app=app, is_asgi=targets.is_asgi(app), errors=str(folder / "printed"))
        if what.reset is not None:
            self._reset(what.reset, databases, served.errors)
        webhook = what.webhook or targets.webhook_path(app)
        secret = {"webhook_secrets": (what.secret,)} if what.secret else {}
        settings = Settings.sandbox(**secret)
        order = what.order or self._order(databases, served, webhook, settings)
        stage = Stage(
            served=served,
            databases=databases,
            order=order,
            settings=settings,
            webhook=webhook,
            return_path=what.return_path,
            promises=(),
            coarse=databases.is_coarse(),
        )
        return self._promised(stage)

    def _reset(self, reset: Reset, databases: Databases, printed: str) -> None:
        function = named(reset, "shop.testing:reset")[0] if isinstance(reset, str) else reset
        self._in_process(function, printed, "reset")
        databases.keep()

    def _in_process(self, function: Callable[[], object], printed: str, name: str) -> None:
        def work(pipe: Connection) -> None:
            function()
            pipe.send("done")

        number, pipe = forked(work, printed)
        try:
            if not pipe.poll(PIECE_S_MAX):
                raise ConfigurationError(f"{name} has come to no end")
            pipe.recv()
        except EOFError:
            raise ConfigurationError(f"{name} has failed: {_last_lines(printed)}") from None
        finally:
            pipe.close()
            ended(number, kill=True)

    def _order(
        self, databases: Databases, served: Served, webhook: str, settings: Settings
    ) -> Order:
        """The order in the database; a first request shows which file that is."""
        if not databases.files:
            stranger = Order(receipt_id="unknown", amount_minor=1, currency="USD")
            request = request_of(SUCCESS, stranger, webhook, settings)

            def opened() -> None:
                call_once(served, request)

            self._in_process(opened, served.errors, "a first request")
            databases.restore()
        return targets.order_in(databases.contents())

    # --- the promises ----------------------------------------------------------------------------

    def _promised(self, stage: Stage) -> Stage:
        what = self._what
        first, usual = self._plain(stage)
        promises: list[Promise] = [Sql(p) if isinstance(p, str) else Own(p) for p in what.promises]
        if what.fulfilled:
            promises.append(Fulfilled(what.fulfilled))
        if what.refunded:
            promises.append(Refunded(what.refunded))
        if not promises or (what.refunded and len(promises) == 1):
            found = derived(first, usual, SUCCESS.event_id)
            self._notes.append(f"Fulfilled means here: {found.in_words()}.")
            promises.insert(0, found)
        return attrs.evolve(stage, promises=tuple(promises))

    def _plain(self, stage: Stage) -> Any:
        """What two plain deliveries of a success do, one after the other from the same start."""
        endings: list[Any] = []
        labels: list[Any] = []
        stage.databases.restore()
        first = stage.databases.contents()
        for number in range(2):
            if number and self._warm:
                self._warm_up(stage)
            run = Run(stage, ONCE, 0, frozenset(), names="ab"[number])
            try:
                while able := run.choices():
                    run.take(next(iter(able)), "go")
                self._accepted(run, stage)
                ending = Ending(
                    scene=ONCE, order=stage.order, calls=tuple(run.calls), databases=stage.databases
                )
                endings.append((stage.databases.contents(), ending))
                labels.append([step.label[1:] for step in run.steps])
            finally:
                run.leave()
        if self._warm and labels[0] != labels[1]:
            raise _Remembered
        return first, endings

    def _warm_up(self, stage: Stage) -> None:
        """Serve one request here, so that what every process would do first is done once.

        It has an id of its own. That the app goes the same way afterwards is seen.
        """
        event = attrs.evolve(SUCCESS, nth=9)
        request = request_of(event, stage.order, stage.webhook, stage.settings)
        with quiet(stage.served.errors), suppress(Exception):
            call_once(stage.served, request)
        close_pools()

    def _accepted(self, run: Run, stage: Stage) -> None:
        status = next((s.status for s in run.steps if s.status), 0)
        if not 200 <= status < 300:
            hint = ", is the secret right?" if status in (400, 401, 403) else ""
            answers = f"answers {status}" if status else "gives no answer"
            raise ConfigurationError(
                f"the app {answers} to a plain success for {stage.order.in_words()} at "
                f"{stage.webhook}{hint} {_last_lines(stage.served.errors)}"
            )


def _options(what: AppUnderCheck) -> dict[str, Any]:
    """What was given, as a test would give it; a function is left to the reader."""
    given: dict[str, Any] = {
        "order": what.order,
        "fulfilled": what.fulfilled,
        "refunded": what.refunded,
        "webhook": what.webhook,
        "return_path": what.return_path,
    }
    if isinstance(what.reset, str):
        given["reset"] = what.reset
    if len(what.promises) == 1 and isinstance(what.promises[0], str):
        given["promise"] = what.promises[0]
    return {name: value for name, value in given.items() if value}


def _last_lines(printed: str) -> str:
    try:
        lines = Path(printed).read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"It printed: {' | '.join(lines[-PRINTED_LINES_MAX:])}" if lines else ""
