"""What does the search leave out, because it would show nothing new? Each can be turned off."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Reductions:
    """Sound ways to search less; a test turns each off and compares what is found.

    Args:
        turns: several effects of a flow are one step; see `turns`.
        rests: pasts that left a flow in the same rest are one; see `fingerprint`.
        versions: equal contents have one version; see `contents`.
        quiet: situations that differ in nothing to come are one while no flow runs.
        anew: a delivery that is back at its beginning is not at work, if it can begin at any time.
    """

    turns: bool = True
    rests: bool = True
    versions: bool = True
    quiet: bool = True
    anew: bool = True


ALL = Reductions()
NONE = Reductions(turns=False, rests=False, versions=False, quiet=False, anew=False)
