"""The paper's claims, each with what would confirm and what would refute it, stated before any trial ran.

A new one is a file here and an entry point in the group `study.claims`.
"""

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, Sketch, Status
from trainables.plugins import Registry

claims: Registry[Claim | Sketch] = Registry("study.claims")

__all__ = ["Claim", "Judgement", "Missing", "Part", "Sketch", "Status", "claims"]
