"""Claims: when each kind holds, fails or is inconclusive."""

import numpy as np
import pytest

from lstm_lab.report.fanova import Importance
from lstm_lab.report.runs import scores_of
from lstm_lab.report.verdicts import hyperparameter_importances, judge_claim, to_unit
from lstm_lab.statistics.hypotheses import equivalence_test
from tests.helpers.report import RANGES, row, study


def verdict(claim, scores=None, importances=None):
    return judge_claim(claim, study(), scores or {}, importances or {}).verdict


def test_equivalence_needs_evidence():
    rng = np.random.default_rng(0)
    a = rng.normal(8.4, 0.02, 20)
    assert equivalence_test(a, a + 0.01, 0.1, 0.05).verdict == "holds"
    assert equivalence_test(a, a + 0.5, 0.1, 0.05).verdict == "fails"
    noisy = rng.normal(8.4, 1.0, 4)
    assert equivalence_test(noisy, noisy[::-1] + 0.01, 0.1, 0.05).verdict == "inconclusive"
    assert equivalence_test([8.4], [8.4], 0.1, 0.05).verdict == "inconclusive"


def test_equivalence_equals_two_one_sided_tests():
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 12), rng.normal(0.1, 2, 9)
    low = ttest_ind(a + 0.7, b, equal_var=False, alternative="greater").pvalue
    high = ttest_ind(a - 0.7, b, equal_var=False, alternative="less").pvalue
    assert equivalence_test(a, b, 0.7, 0.05).p == pytest.approx(max(low, high))


MEANS = [
    {"kind": "better", "better": "a", "worse": "b", "alpha": 0.05},
    {"kind": "equivalent", "a": "a", "b": "b", "margin": 0.5, "alpha": 0.05},
]


def judge_means(claim, a, b, stage="final", due=None, **options):
    """Judges a claim on a and b; a score that is a word is the status of a run without one."""
    runs = []
    for variant, scores in {"a": a, "b": b}.items():
        for seed, score in enumerate(scores):
            ended = {"valid": score, "test": score}
            if isinstance(score, str):
                ended = {"status": score, "valid": None, "test": None}
            runs.append(row(stage, seed, variant=variant, **ended))
    declared = study(runs, due, **{"direction": "max", "variants": {"a": {}, "b": {}}, **options})
    scores = {variant: scores_of(declared.compared_runs(variant)) for variant in "ab"}
    return judge_claim(claim, declared, scores, {})


@pytest.mark.parametrize("claim", MEANS)
@pytest.mark.parametrize(
    ("a", "evidence"),
    [
        ([0.95, 0.951, *["diverged"] * 3], "a: 2 runs, 3 diverged"),
        (
            [0.95, 0.951, "failed", "running", "missing"],
            "a: 2 runs, 1 failed, 1 running, 1 missing",
        ),
        ([0.95, 0.951], "a: 2 runs, 3 missing"),  # not planned yet
        ([], "a: 0 runs, 5 missing"),
    ],
)
def test_a_claim_on_means_needs_all_planned_scores(claim, a, evidence):
    b, seeds = [0.90, 0.901, 0.902, 0.899, 0.9], list(range(5))
    judged = judge_means(claim, a, b, seeds=seeds)
    assert (judged.verdict, judged.evidence) == ("inconclusive", evidence)
    both = judge_means(claim, a, b[:1], seeds=seeds)
    assert both.evidence == f"{evidence}; b: 1 run, 4 missing"
    complete = [0.95, 0.951, 0.949, 0.95, 0.95]
    assert judge_means(claim, complete, b, seeds=seeds).verdict == "holds"


def test_seeds_that_are_not_due_are_not_missing():
    scores, seeds = ([0.95, 0.951, 0.949], [0.90, 0.901, 0.902]), list(range(12))
    assert judge_means(MEANS[0], *scores, seeds=seeds, due={"a": 3, "b": 3}).verdict == "holds"
    judged = judge_means(MEANS[0], *scores, seeds=seeds, due={"a": 3, "b": 6})
    assert judged.evidence == "b: 3 runs, 3 missing"


@pytest.mark.parametrize("claim", MEANS)
def test_diverged_trials_count_only_if_the_others_do_not_fill_the_share(claim):
    a = [*(0.95 + k / 1e3 for k in range(8)), "diverged", "diverged"]
    b = [0.90 + k / 1e3 for k in range(10)]
    assert judge_means(claim, a, b, "tuning", top=0.8).verdict == "holds"
    judged = judge_means(claim, a, b, "tuning", top=0.9)
    assert (judged.verdict, judged.evidence) == ("inconclusive", "a: 8 runs, 1 diverged")
    # A pruned trial was worse than those that completed.
    assert (
        judge_means(claim, [*a[:-2], "pruned", "pruned"], b, "tuning", top=1.0).verdict == "holds"
    )
    # Any trial that has not ended may be one of the best.
    judged = judge_means(claim, [*a[:-1], "interrupted"], b, "tuning", top=0.2)
    assert (judged.verdict, judged.evidence) == ("inconclusive", "a: 2 runs, 1 interrupted")


def test_a_best_claim_compares_with_the_published_score():
    claim = {"kind": "best", "published": 8.38, "tolerance": 0.1, "source": "a paper"}
    assert verdict(claim, {"np": [8.5, 8.45], "nfg": [9.0]}) == "holds"
    assert verdict(claim, {"np": [8.5]}) == "fails"
    assert verdict(claim, {"np": [8.1]}) == "fails"
    assert verdict(claim, {"np": []}) == "inconclusive"


def test_a_best_claim_waits_for_runs_that_may_change_it():
    claim = {"kind": "best", "published": 0.9, "tolerance": 0.1, "source": "a paper"}

    def judge(*scores, due, **options):
        judged = judge_means(claim, scores, [], due=due, seeds=[*range(10)], **options)
        return judged.verdict, judged.evidence

    assert judge(0.5, due={"a": 1, "b": 1}) == ("inconclusive", "0.5000, a, 1 missing")
    due = {"a": 2, "b": 0}
    assert judge(0.5, due=due) == ("inconclusive", "0.5000, a, 1 missing")
    assert judge(0.9, due=due)[0] == "inconclusive"
    # The best of more runs is not worse.
    assert judge(1.1, due=due) == ("fails", "1.1000, a, 1 missing")
    assert judge(0.5, due=due, direction="min")[0] == "fails"
    assert judge(1.1, due=due, direction="min")[0] == "inconclusive"
    assert judge(0.5, "diverged", due=due) == ("fails", "0.5000, a")
    assert judge("failed", "missing", due=due) == ("inconclusive", "no run, 1 failed, 1 missing")


def test_a_best_claim_on_trials_waits_for_all_of_them():
    """A trial that is better on validation takes the place of a compared one."""
    claim = {"kind": "best", "published": 0.9, "tolerance": 0.1, "source": "a paper"}
    for score in (0.5, 0.9, 1.1):
        judged = judge_means(claim, [score, "running"], [0.1], "tuning")
        assert (judged.verdict, judged.evidence) == ("inconclusive", f"{score:.4f}, a, 1 running")


def test_a_matters_claim_is_judged_by_its_interval_over_variants():
    def effects(*shares):
        return {str(k): Importance({"lr": s}, {}, {}, {}, {}) for k, s in enumerate(shares)}

    claim = {"kind": "matters", "setting": "lr", "at_least": 0.6, "at_most": 1.0}
    assert verdict(claim, importances=effects(0.7, 0.71, 0.72)) == "holds"
    assert verdict(claim, importances=effects(0.3, 0.31, 0.32)) == "fails"
    assert verdict(claim, importances=effects(0.3, 0.6, 0.9)) == "inconclusive"
    assert verdict(claim, importances=effects(0.7)) == "inconclusive"
    # Student's intervals reach from -0.9 % and to 111.5 %; no share does.
    small, large = effects(0.0002, 0.0004, 0.009), effects(0.8, 0.95, 0.95)
    assert verdict({**claim, "at_least": 0.0, "at_most": 0.02}, importances=small) == "holds"
    assert verdict(claim, importances=large) == "holds"


def test_a_matters_claim_waits_for_all_trials():
    importances = {str(k): Importance({"lr": 0.7 + k / 100}, {}, {}, {}, {}) for k in range(3)}
    claim = {"kind": "matters", "setting": "lr", "at_least": 0.6, "at_most": 1.0}
    runs = [row("tuning", 0), row("tuning", 1, status="running", test=None)]
    judged = judge_claim(claim, study(runs), {}, importances)
    assert (judged.verdict, judged.evidence) == ("inconclusive", "trials: 1 running")


@pytest.mark.parametrize("setting", ["optim.lrr", "noise", "constant"])
def test_a_matters_claim_on_a_setting_without_a_share_is_inconclusive(setting):
    """Such as a study of an earlier version declares; the report has all other claims."""
    rng = np.random.default_rng(0)
    trials = []
    for k in range(12):
        point = {"optim.lr": float(10 ** rng.uniform(-4, 0)), "cell": "a", "constant": 2.0}
        noise = {"noise": 1.5} if k % 2 else {}
        trials.append(row("tuning", k, point | noise, test=float(rng.normal())))
    ranges = {**RANGES, "constant": {**RANGES["noise"], "low": 2.0, "high": 2.0}}
    importances = hyperparameter_importances(study(trials, tuning={"ranges": ranges}))
    claim = {"kind": "matters", "setting": setting, "at_least": 0.6, "at_most": 1.0}
    judged = judge_claim(claim, study(), {}, importances)
    assert judged.verdict == "inconclusive"
    assert judged.evidence == f"no share for np: not every trial varies {setting}"


def test_trials_without_a_common_setting_have_no_importances():
    runs = [row("tuning", k, {"noise": 1.5} if k % 2 else {}, test=float(k)) for k in range(12)]
    ranges = {"noise": RANGES["noise"]}
    assert hyperparameter_importances(study(runs, tuning={"ranges": ranges})) == {}


def test_a_scores_claim_needs_every_run_within_its_bounds():
    runs = [row(seed=k, test_metrics={"bleu": score}) for k, score in enumerate((31.0, 33.0))]
    unscored = row(seed=2, status="diverged", test=None, test_metrics={})

    def judge(runs=runs, **bounds):
        bounds = {"at_least": None, "at_most": None, **bounds}
        claim = {"kind": "scores", "variant": "np", "metric": "bleu", "source": "", **bounds}
        return judge_claim(claim, study(runs, seeds=[0, 1]), {}, {})

    assert judge(at_least=30.0).verdict == "holds"
    assert judge(at_least=32.0).verdict == "inconclusive"
    assert judge(at_least=32.0).evidence == "1 of 2 runs, 31.0000 to 33.0000"
    assert judge(at_least=34.0).verdict == "fails"
    assert judge(at_most=32.0).verdict == "inconclusive"
    assert judge(at_least=30.0, at_most=33.0).verdict == "holds"
    assert judge([*runs, unscored], at_least=30.0).verdict == "inconclusive"
    assert judge([], at_least=30.0).verdict == "inconclusive"


@pytest.mark.parametrize("status", ["missing", "running", "failed"])
def test_a_scores_claim_waits_for_runs_that_may_change_it(status):
    runs = [row(seed=0, test_metrics={"bleu": 31.0})]
    runs += [row(seed=k, status=status, test=None) for k in range(1, 5)]
    claim = {"kind": "scores", "variant": "np", "metric": "bleu", "source": "", "at_most": None}
    for bound, within in ((34.0, 0), (30.0, 1)):
        judged = judge_claim({**claim, "at_least": bound}, study(runs, seeds=[*range(5)]), {}, {})
        assert judged.verdict == "inconclusive"
        assert judged.evidence == f"{within} of 1 runs, 4 {status}, 31.0000 to 31.0000"


def test_a_reproduces_claim_needs_an_interval_within_the_tolerance():
    def judge(*scores, seeds=3, tolerance=0.2):
        runs = [row(seed=k, test_metrics={"nll": score}) for k, score in enumerate(scores)]
        claim = {
            "kind": "reproduces",
            "variant": "np",
            "metric": "nll",
            "published": 8.45,
            "tolerance": tolerance,
            "source": "a paper",
            "alpha": 0.05,
        }
        return judge_claim(claim, study(runs, seeds=list(range(seeds))), {}, {})

    near = judge(8.44, 8.46, 8.48)
    # Student's quantile of 95 % with two degrees of freedom is 2.92.
    half_width = 2.92 * 0.02 / 3**0.5
    assert near.verdict == "holds"
    assert near.evidence == f"8.4600 ({8.46 - half_width:.4f} to {8.46 + half_width:.4f}, n = 3)"
    assert judge(8.44, 8.46, 8.48, tolerance=0.04).verdict == "inconclusive"
    assert judge(8.94, 8.96, 8.98).verdict == "fails"
    # Better by more than the tolerance, which hints at another protocol.
    assert judge(7.94, 7.96, 7.98).verdict == "fails"
    assert judge(8.44, 8.46, 8.48, seeds=4).verdict == "inconclusive"
    assert judge(8.45, seeds=1).verdict == "inconclusive"


@pytest.mark.parametrize("kind", ["reproduces", "scores"])
def test_a_diverged_run_counts_as_one_without_a_score(kind):
    """It may have test metrics: those of its best weights, from before it diverged."""
    ended = [row(seed=k, test_metrics={"nll": 8.45 + k / 100}) for k in range(4)]
    diverged = row(seed=4, status="diverged", test_metrics={"nll": 8.46})
    claim = {"kind": kind, "variant": "np", "metric": "nll", "source": "a paper", "alpha": 0.05}
    claim |= {"published": 8.45, "tolerance": 0.2, "at_least": None, "at_most": 9.0}
    judged = judge_claim(claim, study([*ended, diverged], seeds=list(range(5))), {}, {})
    assert judged.verdict == "inconclusive"
    evidence = {"reproduces": "4 runs, 1 diverged", "scores": "4 of 5 runs, 8.4500 to 8.4800"}
    assert judged.evidence == evidence[kind]


def test_to_unit_scales_every_range_to_zero_to_one():
    assert to_unit(RANGES["optim.lr"], 1e-2) == pytest.approx(0.5)
    assert to_unit({**RANGES["optim.lr"], "one_minus": True}, 0.9) == pytest.approx(0.75)
    assert to_unit(RANGES["noise"], 1.5) == pytest.approx(0.25)
    assert to_unit(RANGES["cell"], "b") == 0.75


def test_a_diverged_trial_counts_as_the_worst_score():
    rng = np.random.default_rng(0)

    def run(k):
        lr = float(10 ** rng.uniform(-4, 0))
        point = {"optim.lr": lr, "noise": float(rng.uniform(1, 3)), "cell": "ab"[k % 2]}
        if k % 3:
            point.pop("noise")  # a conditional setting
        if lr > 0.1:
            return row("tuning", k, point, status="diverged", valid=None, test=None)
        return row("tuning", k, point, test=1.0 + float(rng.normal(0, 0.01)))

    result = hyperparameter_importances(study([run(k) for k in range(300)]))
    assert result["np"].main_effects["optim.lr"] > 0.4
    assert set(result["np"].main_effects) == {"optim.lr", "cell"}
    assert hyperparameter_importances(study([run(k) for k in range(5)])) == {}


def test_equal_scores_have_no_importances():
    points = [{"optim.lr": 10.0 ** -(k % 4), "noise": 1 + k / 20, "cell": "a"} for k in range(20)]
    runs = [row("tuning", k, point) for k, point in enumerate(points)]
    assert hyperparameter_importances(study(runs)) == {}
