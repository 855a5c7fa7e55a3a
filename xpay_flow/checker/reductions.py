"""What does the search leave out, because it would show nothing new? Each can be turned off.

The argument for each stands beside its code. `turns`, `rests` and `loops` are argued for any flow.
The others are argued for our flows, our stores and our promises together: `permitted` turns them
off as soon as the user brings a flow, a store or a promise, of which nothing is known. Of a promise
it is seen while it runs whether it looks at more than `FACE`; see `promises`.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Reductions:
    """Sound ways to search less; a test turns each off and compares what is found.

    Args:
        turns: reads are put off to just before the next effect that others can see; see `turns`.
        ends: a flow begins with its first turn and ends with its last; needs `turns`; see `turns`.
        calls: a handler is called with the write before it; needs `ends`; see `turns`.
        rests: pasts that left a flow in the same rest are one; see `fingerprint`.
        essence: records are alike where our flows make no difference; see `essence`.
        versions: equal contents have one version; see `contents`.
        loops: versions begin again after some, so that what goes round has an end; see `contents`.
        quiet: situations that differ in nothing to come are one while no flow runs; needs
            `essence`; see `situations`.
        anew: a delivery that is back at its beginning is not at work, if it can begin at any time;
            see `moves`.
    """

    turns: bool = True
    ends: bool = True
    calls: bool = True
    rests: bool = True
    essence: bool = True
    versions: bool = True
    loops: bool = True
    quiet: bool = True
    anew: bool = True

    def permitted(
        self, *, own_flows: bool, own_store: bool, own_promises: bool, looks_further: bool
    ) -> Reductions:
        """Those of them whose argument holds.

        Args:
            own_flows, own_store, own_promises: the user has brought some.
            looks_further: a promise of the user's looks at more than `FACE`.
        """
        off: tuple[str, ...] = ("calls",) if own_promises else ()
        if own_flows or own_store or looks_further:
            off = FOR_OURS_ALONE
        if own_store or looks_further:
            off = (*off, "loops")
        return attrs.evolve(self, **dict.fromkeys(off, False))


FOR_OURS_ALONE = ("ends", "calls", "essence", "versions", "quiet", "anew")
ALL = Reductions()
NONE = Reductions(**dict.fromkeys((*FOR_OURS_ALONE, "turns", "rests", "loops"), False))
