"""A small shop that sells mugs, with a local xPay beside it: `xpay-flow demo`.

`shop` is code of a user of this library; it uses the public names only. `operator` is what a
shop could show its staff. The rest puts both on this machine and makes trouble on request.
"""

from xpay_flow.errors import MissingExtra

try:
    import fastapi as fastapi
    import jinja2 as jinja2
    import python_multipart as python_multipart
    import uvicorn as uvicorn
except ImportError:
    raise MissingExtra("xpay_flow.demo", "demo") from None
