"""Suites of tests for plug-ins: inherit one in your own tests, and pytest does the rest.

    from trainables.testing import Conformance

    class TestMine(Conformance):
        name = "mine"             # as registered in the entry-point group `trainables.optimizers`
        fields = {"gamma": 0.01}  # with which it trains

They need pytest, which nothing else here does: `pip install generalization-gap[testing]`.
"""

import pytest

pytest.register_assert_rewrite("trainables.testing.optimizers")

from trainables.testing.optimizers import Conformance  # noqa: E402 - after the line above, so that assertions explain

__all__ = ["Conformance"]
