"""For users and authors of adapters: suites to subclass, and a shop in one process."""

from __future__ import annotations

import sys

if "pytest" in sys.modules:
    # So that a failing duty shows both sides of the comparison, as in a test file.
    sys.modules["pytest"].register_assert_rewrite(
        "xpay_flow.testing.adapter_suite",
        "xpay_flow.testing.store_capability_suite",
        "xpay_flow.testing.store_crash_suite",
        "xpay_flow.testing.store_suite",
        "xpay_flow.testing.store_together_suite",
        "xpay_flow.testing.transport_suite",
    )
