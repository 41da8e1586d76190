"""Makes tests/oracles/statistics.json with SciPy and statsmodels: run by hand, its output is committed.

    pip install scipy==1.17.1 statsmodels==0.15.0
    python tests/oracles/report_statistics.py

Intervals by t; paired comparisons (t, Wilcoxon, sign flips, Hedges' d_z, Cliff's delta) of samples of 2 to 12 pairs, with ties
and zeros among them; Holm's adjustment; effects of a 2^3 design as regression coefficients; the bootstrap's BCa interval; the
share of variance between groups.
"""

import json
import math
import pathlib

import numpy as np
import scipy
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests


def interval(numbers):
    low, high = stats.t.interval(0.95, len(numbers) - 1, loc=np.mean(numbers), scale=stats.sem(numbers))
    return [float(low), float(high)]


def sign_flip(differences):
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf)
    return float(result.pvalue)


def wilcoxon(differences):
    kept = differences[differences != 0]
    if len(kept) == 0:
        return 1.0
    ranks = stats.rankdata(np.abs(kept)) * np.sign(kept)
    return sign_flip(ranks)


def compared(before, after):
    differences = after - before
    result = dict(before=before.tolist(), after=after.tolist(), mean=float(np.mean(differences)),
                  sign_flip_p=sign_flip(differences), wilcoxon_p=wilcoxon(differences))
    delta = np.sign(after[:, None] - before[None, :]).mean()
    result["cliffs_delta"] = float(delta)
    n = len(differences)
    if np.std(differences) > 0:
        result["interval"] = interval(differences)
        result["t_p"] = float(stats.ttest_rel(after, before).pvalue)
        if n >= 3:
            m = n - 1
            correction = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
            result["hedges"] = float(correction * np.mean(differences) / np.std(differences, ddof=1))
    return result


def factorial(random):
    names, cells, rows, targets = ["a", "b", "c"], [], [], []
    for code in range(8):
        levels = [bool(code >> i & 1) for i in range(3)]
        numbers = random.normal(size=4) + code
        cells.append(dict(levels=dict(zip(names, levels)), by_seed=numbers.tolist()))
    effects = {}
    subsets = [[i for i in range(3) if code >> i & 1] for code in range(1, 8)]
    for subset in subsets:
        by_seed = []
        for seed in range(4):
            signs = np.array([[np.prod([1 if cell["levels"][names[i]] else -1 for i in other]) for other in subsets]
                              for cell in cells], dtype=float)
            numbers = np.array([cell["by_seed"][seed] for cell in cells])
            fit = OLS(numbers, np.column_stack([np.ones(8), signs])).fit()
            by_seed.append(2 * fit.params[1 + subsets.index(subset)])
        effects[" × ".join(names[i] for i in subset)] = dict(mean=float(np.mean(by_seed)), interval=interval(by_seed))
    return dict(factors=names, cells=cells, effects=effects)


def bootstrapped(numbers):
    result = stats.bootstrap((numbers,), np.mean, n_resamples=200_000, method="BCa", rng=np.random.default_rng(3))
    return dict(numbers=numbers.tolist(), interval=[float(result.confidence_interval.low), float(result.confidence_interval.high)])


def grouped(groups):
    numbers = np.concatenate(groups)
    between = sum(len(g) * (g.mean() - numbers.mean()) ** 2 for g in groups)
    shuffled = stats.permutation_test(groups, lambda *g: stats.f_oneway(*g).statistic, n_resamples=20_000,
                                      alternative="greater", rng=np.random.default_rng(5), vectorized=False)
    return dict(groups=[g.tolist() for g in groups], explained=float(between / ((numbers - numbers.mean()) ** 2).sum()),
                p=float(shuffled.pvalue))


def main():
    random = np.random.default_rng(11)
    comparisons = []
    for n in (2, 3, 5, 8, 12):
        comparisons.append(compared(random.normal(size=n), random.normal(size=n) + 0.8))
    comparisons.append(compared(np.array([1.0, 2, 3, 4, 5, 6]), np.array([1.0, 3, 2, 5, 7, 6])))  # ties and zeros
    comparisons.append(compared(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])))
    comparisons.append(compared(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])))  # no spread
    p_values = [0.01, 0.04, 0.03, 0.005, 0.9, 0.04]
    document = dict(
        scipy=scipy.__version__,
        samples=[dict(numbers=x.tolist(), mean=float(x.mean()), deviation=float(x.std(ddof=1)), interval=interval(x))
                 for x in (random.normal(size=n) * 10 ** k for n, k in ((2, 0), (3, -3), (7, 4), (40, 1)))],
        comparisons=comparisons,
        holm=dict(p=p_values, adjusted=multipletests(p_values, method="holm")[1].tolist()),
        factorial=factorial(random),
        bootstrap=[bootstrapped(random.gamma(2, size=n)) for n in (10, 25, 40)],
        groups=[grouped([random.normal(size=n) + 0.7 * i for i, n in enumerate(sizes)]) for sizes in ((4, 4, 4), (2, 5, 3))],
    )
    file = pathlib.Path(__file__).with_suffix(".json")
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
