"""`python -m xpay_flow.cli` is `xpay-flow`."""

from . import main

main()
