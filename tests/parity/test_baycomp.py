"""The posterior over folds compared with baycomp, the library of the method's authors."""

import baycomp
import numpy as np
import pytest

from lstm_lab.statistics.bayes import posterior_of_folds


@pytest.mark.parametrize("rope", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("repetitions", [1, 3])
def test_the_posterior_over_folds_equals_baycomp(rope, repetitions):
    folds = 5
    rng = np.random.default_rng(repetitions)
    theirs, ours = rng.normal(0.80, 0.02, (2, folds * repetitions))
    # baycomp returns the probabilities that the first, neither and the second one is better.
    expected = baycomp.two_on_single(theirs, ours, rope=rope, runs=repetitions)
    posterior = posterior_of_folds(ours - theirs, folds, rope)
    if rope == 0.0:
        expected = expected[0], 0.0, expected[1]
    found = posterior.worse, posterior.equal, posterior.better
    assert found == pytest.approx(expected, abs=1e-12)
