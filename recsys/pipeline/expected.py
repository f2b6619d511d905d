"""What the owner expects: read when a run begins, and asked of the challenger at the gate."""

from __future__ import annotations

from recsys.base import config
from recsys.bundle import Bundle
from recsys.evaluation.gate import Check, Condition
from recsys.recommend.expectations import Expectations, check_expectations, read_expectations
from recsys.recommend.house_rules import HouseRules, read_rules
from recsys.recommend.recommender import Recommender


def read_expected(
    options: config.Gate, batch: config.Batch
) -> tuple[Expectations | None, HouseRules | None]:
    """The expectations of a run's configuration, and the house rules that they are asked under.

    What was shown lately says nothing of a model, so a rule that hides it is left out.

    Raises
    ------
    InputError, NotFoundError
        If a file is missing, or not as it has to be.
    """
    if options.expectations is None:
        return None, None
    expectations = read_expectations(options.expectations)
    if batch.rules is None:
        return expectations, None
    return expectations, read_rules(batch.rules).model_copy(update={"hide_shown": None})


def expected_checks(
    challenger: Bundle, expectations: Expectations | None, rules: HouseRules | None
) -> tuple[Check, ...]:
    """One check for each expectation."""
    if expectations is None:
        return ()
    found = check_expectations(Recommender(challenger, rules=rules), expectations)
    return tuple(
        Check(Condition.EXPECTATION, one.met, one.found, "as expected", one.expected)
        for one in found
    )
