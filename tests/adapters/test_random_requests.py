"""No framework answers any of ten thousand made-up requests with an error of the server."""

from __future__ import annotations

import pytest

from xpay_flow.testing.adapter_suite import AdapterSuite

from . import test_asgi, test_fastapi, test_flask, test_litestar, test_quart, test_starlette
from . import test_wsgi as wsgi

SUITES = (
    test_asgi.TestMountedByTheServer,
    wsgi.TestAroundAnApp,
    test_fastapi.TestAsyncFlow,
    test_flask.TestFlow,
    test_litestar.TestAsyncFlow,
    test_quart.TestAsyncFlow,
    test_starlette.TestFlow,
)


@pytest.mark.deep
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__module__.rpartition(".")[2])
def test_ten_thousand_requests_are_no_error_of_the_server(suite: type[AdapterSuite]) -> None:
    """The suite's own duty makes up sixty, everywhere."""
    deep = suite()
    deep.random_requests = 10_000
    try:
        deep.test_no_request_is_answered_with_an_error_of_the_server()
    finally:
        deep.close()
