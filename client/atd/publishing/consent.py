"""Who agrees to what cannot be taken back, or takes much away.

Belongs here: the two questions that a publication may ask, and what is said where nobody agrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from atd.comparing import Changes
from atd.errors import NeedsConsent
from atd.publishing.planning import Plan

PUBLIC: Final = (
    "publishing makes the data public: anyone may copy it, and a copy that was made cannot be "
    "taken back"
)

Confirm = Callable[[Plan], bool]
"""Asked before the first publication of a name, and before a release that takes much away
(`Plan.changes` is set then, with its consequences); False stops it."""


@dataclass(frozen=True)
class Consent:
    """What a caller agrees to.

    Args:
        yes: to everything.
        confirm: asked instead, with the plan.
    """

    yes: bool
    confirm: Confirm | None

    def to_first(self, plan: Callable[[], Plan], name: str) -> None:
        """Go on only if somebody agrees to a first publication under ``name``.

        Args:
            plan: called only where the plan is shown: to make it, samples are encoded.

        Raises:
            NeedsConsent: nobody does.
        """
        if not (self.yes if self.confirm is None else self.confirm(plan())):
            raise NeedsConsent(f"nothing is published under {name} yet; {PUBLIC}")

    def to_changes(self, changes: Changes, plan: Callable[[], Plan], name: str) -> None:
        """Go on only if ``changes`` take little away, or somebody agrees to it.

        Raises:
            NeedsConsent: nobody does.
        """
        if not changes.consequences:
            return
        if self.yes if self.confirm is None else self.confirm(replace(plan(), changes=changes)):
            return
        raise NeedsConsent(
            f"{name} stays at {changes.before}: in what would follow, "
            f"{'; '.join(changes.consequences)}",
            next_step="if that is meant, agree to it: yes=True, or --yes",
        )
