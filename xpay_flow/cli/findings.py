"""What has a command found, how bad is it, and what is to be done?"""

from __future__ import annotations

from typing import Literal

import attrs

Verdict = Literal["ok", "note", "wrong"]


@attrs.frozen(kw_only=True)
class Finding:
    """One result. `wrong` must be fixed; `note` is good to know."""

    verdict: Verdict
    about: str
    text: str
