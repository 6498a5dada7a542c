"""Claims: each kind holds, fails and stays inconclusive where it should."""

import numpy as np
import pytest

from lstm_lab.report.claims import _unit, importances, judge
from lstm_lab.report.fanova import Importance
from lstm_lab.report.hypotheses import judge_equivalence
from lstm_lab.report.runs import RunRow, StudyRuns

RANGES = {
    "optim.lr": {
        "kind": "LogUniform",
        "low": 1e-4,
        "high": 1.0,
        "integer": False,
        "one_minus": False,
    },
    "noise": {"kind": "Uniform", "low": 1.0, "high": 3.0},
    "cell": {"kind": "Choice", "values": ["a", "b"]},
}


def study(runs=(), **options):
    declared = {"direction": "min", "variants": {"np": {}}, "tuning": {"ranges": RANGES}, **options}
    return StudyRuns(declared, {}, list(runs), len(runs))


def verdict(claim, scores=None, found=None):
    return judge(claim, study(), scores or {}, found or {}).verdict


def test_equivalence_needs_evidence():
    rng = np.random.default_rng(0)
    a = rng.normal(8.4, 0.02, 20)
    assert judge_equivalence(a, a + 0.01, 0.1, 0.05).verdict == "holds"
    assert judge_equivalence(a, a + 0.5, 0.1, 0.05).verdict == "fails"
    wild = rng.normal(8.4, 1.0, 4)
    assert judge_equivalence(wild, wild[::-1] + 0.01, 0.1, 0.05).verdict == "inconclusive"
    assert judge_equivalence([8.4], [8.4], 0.1, 0.05).verdict == "inconclusive"


def test_equivalence_equals_two_tests_by_hand():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 12), rng.normal(0.1, 2, 9)
    low = ttest_ind(a + 0.7, b, equal_var=False, alternative="greater").pvalue
    high = ttest_ind(a - 0.7, b, equal_var=False, alternative="less").pvalue
    assert judge_equivalence(a, b, 0.7, 0.05).p == pytest.approx(max(low, high))


def test_the_best_score_is_held_against_a_published_one():
    claim = {"kind": "best", "published": 8.38, "tolerance": 0.1, "source": "a paper"}
    assert verdict(claim, {"np": [8.5, 8.45], "nfg": [9.0]}) == "holds"
    assert verdict(claim, {"np": [8.5]}) == "fails"
    assert verdict(claim, {"np": [8.1]}) == "fails"
    assert verdict(claim, {"np": []}) == "inconclusive"


def test_a_share_is_judged_by_its_interval_over_variants():
    def found(*shares):
        return {str(k): Importance({"lr": s}, {}, {}, {}, {}) for k, s in enumerate(shares)}

    claim = {"kind": "matters", "setting": "lr", "at_least": 0.6, "at_most": 1.0}
    assert verdict(claim, found=found(0.7, 0.71, 0.72)) == "holds"
    assert verdict(claim, found=found(0.3, 0.31, 0.32)) == "fails"
    assert verdict(claim, found=found(0.3, 0.6, 0.9)) == "inconclusive"
    assert verdict(claim, found=found(0.7)) == "inconclusive"


def test_settings_are_scaled_as_they_were_drawn():
    assert _unit(RANGES["optim.lr"], 1e-2) == pytest.approx(0.5)
    assert _unit({**RANGES["optim.lr"], "one_minus": True}, 0.9) == pytest.approx(0.75)
    assert _unit(RANGES["noise"], 1.5) == pytest.approx(0.25)
    assert _unit(RANGES["cell"], "b") == 0.75


def test_a_diverged_trial_counts_as_the_worst():
    rng = np.random.default_rng(0)

    def run(k):
        lr = float(10 ** rng.uniform(-4, 0))
        point = {"optim.lr": lr, "noise": float(rng.uniform(1, 3)), "cell": "ab"[k % 2]}
        if k % 3:
            point.pop("noise")  # a conditional setting
        diverged = lr > 0.1
        return RunRow(
            id=str(k),
            variant="np",
            stage="tuning",
            seed=k,
            point=point,
            status="diverged" if diverged else "completed",
            reason="",
            valid=None if diverged else 1.0,
            test=None if diverged else 1.0 + float(rng.normal(0, 0.01)),
            tests={},
            naive={},
            step=0,
            parameters=1,
            wall_s=1.0,
            flops=None,
            curve=[],
        )

    found = importances(study([run(k) for k in range(300)]))
    assert found["np"].single["optim.lr"] > 0.4
    assert set(found["np"].single) == {"optim.lr", "cell"}
    assert importances(study([run(k) for k in range(5)])) == {}
