"""Claims that cannot be meant are refused when they are declared."""

import pytest

from lstm_lab.studies import Best, Claim, Equivalent, Matters, Reproduces, Scores
from lstm_lab.utils.errors import UserError


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Claim("np", "np"), "Claim: worse: got 'np', expected another variant"),
        (lambda: Claim("np", "gru", alpha=5.0), "Claim: alpha: got 5.0, expected more than 0 and"),
        (lambda: Equivalent("np", "np", 0.1), "Equivalent: b: got 'np', expected another variant"),
        (lambda: Equivalent("np", "gru", -1.0), "margin: got -1.0, expected more than 0"),
        (lambda: Equivalent("np", "gru", 0.1, alpha=0.0), "Equivalent: alpha: got 0.0"),
        (lambda: Best(8.4, -0.1, "a paper"), "Best: tolerance: got -0.1, expected 0 or more"),
        (lambda: Matters("optim.lr", at_least=1.5), "Matters: at_least: got 1.5, expected 0 to 1"),
        (lambda: Matters("optim.lr", 0.5, 0.4), "Matters: at_most: got 0.4, expected 0.5 to 1"),
        (lambda: Scores("np", "mse"), "Scores: at_least: got None, expected a bound, or at_most"),
        (lambda: Scores("np", "mse", 0.5, 0.4), "Scores: at_most: got 0.4, expected 0.5 or more"),
        (lambda: Reproduces("np", "nll", 8.4, 0.0, ""), "tolerance: got 0.0, expected more than 0"),
        (lambda: Reproduces("np", "nll", 8.4, 0.1, "", 1.0), "Reproduces: alpha: got 1.0"),
    ],
)
def test_a_claim_that_cannot_be_meant_is_refused(declare, message):
    with pytest.raises(UserError, match=message):
        declare()
