"""Golden values for ream-stats, from statsmodels, scipy, scikit-learn and (where those are not exact enough) mpmath.

    python -m venv VENV && VENV/bin/pip install numpy scipy pandas statsmodels scikit-learn mpmath
    VENV/bin/python make.py > golden.json

Estimators of causal effects have a file of their own, from `causal.py` beside this one.

The inputs come from the formulas below and are stored beside the results. Versions are stored under "versions".
"""

import json
import warnings

import mpmath as mp
import numpy as np
import scipy
import sklearn
import statsmodels
import statsmodels.api as sm
from fractions import Fraction
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

warnings.simplefilter("ignore")
mp.mp.dps = 50


def noise(n, seed):
    """Uniform on [0, 1): a linear congruential generator modulo 2^31 - 1, so the same everywhere."""
    state, out = seed, []
    for _ in range(n):
        state = state * 48271 % 2147483647
        out.append(state / 2147483647)
    return np.array(out)


def bell(n, seed):
    """Roughly normal: the sum of twelve uniforms less 6."""
    return noise(12 * n, seed).reshape(n, 12).sum(axis=1) - 6


def logistic(eta):
    return 1 / (1 + np.exp(-eta))


def matrix(m):
    return [[float(v) for v in row] for row in m]


def vector(v):
    return [float(x) for x in np.asarray(v).ravel()]


def exact_sandwiches(x, information_weight, residual, groups, scale):
    """Covariances in 50 digits: the information is sum_i information_weight_i x_i x_i', the score residual_i x_i."""
    n, p = x.rows, x.cols
    weighted = mp.matrix(n, p)
    for i in range(n):
        for j in range(p):
            weighted[i, j] = information_weight[i] * x[i, j]
    bread = (weighted.T * x) ** -1
    h = [information_weight[i] * (x[i, :] * bread * x[i, :].T)[0] for i in range(n)]

    def sandwich(vectors, factor=1):
        meat = mp.matrix(p, p)
        for v in vectors:
            meat += v * v.T
        return bread * meat * bread * factor

    scores = [residual[i] * x[i, :].T for i in range(n)]
    sums = [sum((scores[i] for i in range(n) if groups[i] == g), mp.matrix(p, 1)) for g in sorted(set(groups))]
    count = mp.mpf(len(sums))
    cov = {
        "classical": bread * scale,
        "hc0": sandwich(scores),
        "hc1": sandwich(scores, mp.mpf(n) / (n - p)),
        "hc2": sandwich([scores[i] / mp.sqrt(1 - h[i]) for i in range(n)]),
        "hc3": sandwich([scores[i] / (1 - h[i]) for i in range(n)]),
        "cluster": sandwich(sums, count / (count - 1) * mp.mpf(n - 1) / (n - p)),
        "cluster_uncorrected": sandwich(sums),
    }
    return {k: [[float(m[i, j]) for j in range(p)] for i in range(p)] for k, m in cov.items()}


def exact_matrix(x):
    return mp.matrix([[mp.mpf(float(v)) for v in row] for row in x])


def exact_ols(x, y, w, groups):
    """Coefficients and covariances of weighted least squares in 50 digits, for rows of positive weight."""
    n, p = x.shape
    xm, ym, wm = exact_matrix(x), [mp.mpf(float(v)) for v in y], [mp.mpf(float(v)) for v in w]
    weighted = exact_matrix(x)
    for i in range(n):
        for j in range(p):
            weighted[i, j] *= wm[i]
    b = (weighted.T * xm) ** -1 * (weighted.T * mp.matrix(ym))
    e = [ym[i] - (xm[i, :] * b)[0] for i in range(n)]
    sigma = sum(wm[i] * e[i] ** 2 for i in range(n)) / (n - p)
    return vector([float(v) for v in b]), exact_sandwiches(xm, wm, [wm[i] * e[i] for i in range(n)], groups, sigma)


def exact_logistic(x, y, w, groups, start):
    """Coefficients and covariances of the logistic regression in 50 digits: Newton's method from a good start."""
    n, p = x.shape
    xm, ym, wm = exact_matrix(x), [mp.mpf(float(v)) for v in y], [mp.mpf(float(v)) for v in w]
    b = mp.matrix([mp.mpf(float(v)) for v in start])
    for _ in range(12):
        mu = [1 / (1 + mp.exp(-(xm[i, :] * b)[0])) for i in range(n)]
        residual = [wm[i] * (ym[i] - mu[i]) for i in range(n)]
        weight = [wm[i] * mu[i] * (1 - mu[i]) for i in range(n)]
        information, score = mp.matrix(p, p), mp.matrix(p, 1)
        for i in range(n):
            information += weight[i] * (xm[i, :].T * xm[i, :])
            score += residual[i] * xm[i, :].T
        step = information**-1 * score
        b += step
    assert mp.norm(step) < mp.mpf(10) ** -35
    return vector([float(v) for v in b]), exact_sandwiches(xm, weight, residual, groups, 1)


def linear_case(name, x, y, w, groups, packages=True):
    keep = w > 0
    xk, yk, wk, gk = x[keep], y[keep], w[keep], groups[keep]
    exact_b, exact_cov = exact_ols(xk, yk, wk, gk)
    case = {"name": name, "x": matrix(x), "y": vector(y), "weights": vector(w), "groups": [int(g) for g in groups],
            "exact": {"coefficients": exact_b, "covariance": exact_cov}}
    if packages:
        model = sm.WLS(yk, xk, weights=wk)
        plain = model.fit()
        ours = {"coefficients": vector(plain.params), "r_squared": float(plain.rsquared), "covariance": {}, "p": {}}
        for kind, args in {
            "classical": {"cov_type": "nonrobust"},
            "hc0": {"cov_type": "HC0", "use_t": True},
            "hc1": {"cov_type": "HC1", "use_t": True},
            "hc2": {"cov_type": "HC2", "use_t": True},
            "hc3": {"cov_type": "HC3", "use_t": True},
            "cluster": {"cov_type": "cluster", "cov_kwds": {"groups": gk}, "use_t": True},
            "cluster_uncorrected": {"cov_type": "cluster", "cov_kwds": {"groups": gk, "use_correction": False}, "use_t": True},
        }.items():
            fit = model.fit(**args)
            ours["covariance"][kind] = matrix(fit.cov_params())
            ours["p"][kind] = vector(fit.pvalues)
        ours["interval"] = matrix(plain.conf_int(0.05))
        case["statsmodels"] = ours
    return case


def linear():
    n = 60
    x = np.column_stack([np.ones(n), bell(n, 11), noise(n, 12) * 10, (noise(n, 13) > 0.6).astype(float)])
    y = x @ [1.0, -2.0, 0.3, 0.7] + bell(n, 14) * (0.3 + noise(n, 15))
    groups = np.minimum(np.arange(n) // 5, 9)
    groups[57:] = [20, 21, 22]  # clusters of one row
    zeros = np.where(np.arange(n) % 7 == 3, 0.0, 0.25 + 2 * noise(n, 16))
    near = x.copy()
    near[:, 2] = x[:, 1] + 1e-6 * bell(n, 17)
    longley = sm.datasets.longley.load_pandas()
    lx = np.column_stack([np.ones(16), longley.exog.to_numpy()])
    return [
        linear_case("plain", x, y, np.ones(n), groups),
        linear_case("no constant", x[:, 1:3], y, np.ones(n), groups),
        linear_case("weights with zeros", x, y, zeros, groups),
        linear_case("near-collinear", near, y, np.ones(n), groups, packages=False),
        linear_case("Longley", lx, longley.endog.to_numpy(), np.ones(16), np.arange(16), packages=False),
    ]


def ridge():
    n = 40
    x = np.column_stack([np.ones(n), bell(n, 21), bell(n, 22), bell(n, 23)])
    x[:, 3] = x[:, 2] + 1e-3 * x[:, 3]
    y = x @ [2.0, 1.0, -1.0, 0.5] + bell(n, 24)
    out = {"x": matrix(x), "y": vector(y), "cases": []}
    for strength in ([0.5] * 4, [0.0, 1.0, 10.0, 0.1], [100.0] * 4):
        s = np.array(strength)
        # sklearn takes one strength: penalise scaled columns, or (strength 0) solve the normal equations below.
        hat = x @ np.linalg.solve(x.T @ x + np.diag(s), x.T)
        b = np.linalg.solve(x.T @ x + np.diag(s), x.T @ y)
        if len(set(strength)) == 1:
            b = Ridge(alpha=strength[0], fit_intercept=False, solver="svd").fit(x, y).coef_
        rss = float(((y - x @ b) ** 2).sum())
        trace = float(np.trace(hat))
        out["cases"].append({"strength": strength, "coefficients": vector(b), "trace": trace, "rss": rss, "gcv": n * rss / (n - trace) ** 2})
    return out


def glm_case(name, x, y, w, groups):
    keep = w > 0
    xk, yk, wk, gk = x[keep], y[keep], w[keep], groups[keep]
    model = sm.GLM(yk, xk, family=sm.families.Binomial(), var_weights=wk)
    # start from the optimum of a first fit so that the coefficients are accurate to rounding
    first = model.fit(tol=1e-15, maxiter=200)
    args = dict(tol=1e-15, maxiter=200, start_params=first.params)
    cov = {}
    # For GLM statsmodels takes HC1, HC2 and HC3 to mean HC0: those only have exact values.
    for kind, extra in {
        "classical": {},
        "hc0": {"cov_type": "HC0"},
        "cluster": {"cov_type": "cluster", "cov_kwds": {"groups": gk}},
        "cluster_uncorrected": {"cov_type": "cluster", "cov_kwds": {"groups": gk, "use_correction": False}},
    }.items():
        cov[kind] = matrix(model.fit(**args, **extra).cov_params())
    fit = model.fit(**args)
    exact_b, exact_cov = exact_logistic(xk, yk, wk, gk, fit.params)
    mu = np.asarray(fit.mu)
    ll = float((wk * (yk * np.log(mu) + (1 - yk) * np.log1p(-mu))).sum())
    return {"name": name, "x": matrix(x), "y": vector(y), "weights": vector(w), "groups": [int(g) for g in groups],
            "coefficients": vector(fit.params), "log_likelihood": ll, "exact": {"coefficients": exact_b, "covariance": exact_cov}, "covariance": cov}


def glm():
    n = 80
    x = np.column_stack([np.ones(n), bell(n, 31), noise(n, 32) * 4 - 2])
    eta = x @ [0.3, 0.9, -0.6]
    fraction = np.round(logistic(eta + bell(n, 33)), 3)
    fraction[:4] = [0.0, 1.0, 0.5, 1.0]
    binary = (noise(n, 34) < logistic(eta)).astype(float)
    groups = np.minimum(np.arange(n) // 6, 10)
    groups[77:] = [30, 31, 32]
    zeros = np.where(np.arange(n) % 5 == 2, 0.0, 0.5 + noise(n, 35))
    near = np.column_stack([x, x[:, 1] + 1e-5 * bell(n, 36)])
    return [
        glm_case("binary", x, binary, np.ones(n), groups),
        glm_case("fractional", x, fraction, np.ones(n), groups),
        glm_case("weights with zeros", x, fraction, zeros, groups),
        glm_case("near-collinear", near, fraction, np.ones(n), groups),
    ]


def exact_root(x, y, w, strength, centre, start):
    """Root of the penalised score in 50 digits."""
    n, p = x.shape

    def score(*b):
        out = [mp.mpf(strength[j]) * (b[j] - mp.mpf(centre[j])) for j in range(p)]
        for i in range(n):
            eta = sum(mp.mpf(float(x[i, j])) * b[j] for j in range(p))
            r = mp.mpf(float(w[i])) * (1 / (1 + mp.exp(-eta)) - mp.mpf(float(y[i])))
            for j in range(p):
                out[j] += r * mp.mpf(float(x[i, j]))
        return out

    root = mp.findroot(score, [mp.mpf(float(s)) for s in start], tol=1e-60, maxsteps=50)
    return [float(v) for v in root]


def penalised():
    cases = glm()
    x, fraction = np.array(cases[1]["x"]), np.array(cases[1]["y"])
    binary = np.array(cases[0]["y"])
    w = np.array(cases[2]["weights"])
    out = []
    strength, centre = [0.0, 4.0, 1.5], [0.0, 2.0, -1.0]
    out.append({"name": "l2 towards a centre, weighted", "x": matrix(x), "y": vector(fraction), "weights": vector(w), "kind": "l2",
                "strength": strength, "centre": centre, "digits": 12,
                "coefficients": exact_root(x, fraction, w, strength, centre, cases[2]["coefficients"])})
    for c in (0.05, 1.0):
        fit = LogisticRegression(C=c, fit_intercept=False, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, binary)
        out.append({"name": f"l2 sklearn C={c}", "x": matrix(x), "y": vector(binary), "weights": vector(np.ones(len(x))), "kind": "l2",
                    "strength": [1 / c] * 3, "centre": [0.0] * 3, "digits": 8, "coefficients": vector(fit.coef_)})
    wide = np.column_stack([x] + [bell(len(x), 40 + k) for k in range(5)])
    for c in (0.1, 0.3, 2.0):
        fit = LogisticRegression(C=c, l1_ratio=1, penalty="l1", fit_intercept=False, solver="saga", tol=1e-14, max_iter=1_000_000).fit(wide, binary)
        out.append({"name": f"l1 sklearn C={c}", "x": matrix(wide), "y": vector(binary), "weights": vector(np.ones(len(x))), "kind": "l1",
                    "strength": [1 / c] * 8, "centre": [], "digits": 8, "coefficients": vector(fit.coef_)})
    return out


def intervals():
    a, b = bell(12, 51) + 0.4, bell(15, 52) * 3
    one = stats.ttest_1samp(a, 0).confidence_interval(0.9)
    pair = stats.ttest_rel(a, b[:12]).confidence_interval(0.95)
    ind = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    wilson = [[k, n, level, *map(float, proportion_confint(k, n, 1 - level, method="wilson"))]
              for k, n, level in [(0, 10, 0.95), (10, 10, 0.95), (1, 3, 0.9), (403, 805, 0.99)]]
    z = stats.norm.ppf
    return {"a": vector(a), "b": vector(b), "mean_90": vector(one), "paired_95": vector(pair), "welch_95": vector(ind), "wilson": wilson,
            "mde_se2_95_80": float(2 * (z(0.975) + z(0.8)))}


def laws():
    def tail(t, v):
        v, t = mp.mpf(v), mp.mpf(t)
        return float(mp.betainc(v / 2, mp.mpf(1) / 2, 0, v / (v + t * t), regularized=True))

    t_tail = [[t, v, tail(t, v)] for v in (0.7, 1, 2.5, 3, 30, 804, 4999, 5001, 99970, 10**7) for t in (0.0009765625, 0.5, 2, 4, 30)]
    t_quantile = [[p, v, float(stats.t.ppf(p, v))] for v in (1, 3, 30, 804) for p in (0.6, 0.9, 0.975, 0.9995)]
    z = [[p, float(mp.sqrt(2) * mp.erfinv(2 * mp.mpf(p) - 1))] for p in (1e-10, 0.001, 0.2, 0.75, 0.975, 0.99999)]
    return {"t_two_sided": t_tail, "t_quantile": t_quantile, "normal_quantile": z}


def rank():
    out = []
    n = 200
    x = bell(n, 61)
    for name, a, b in [
        ("continuous", x, x + 2 * bell(n, 62)),
        ("ties", np.round(x * 2), np.round(-x + bell(n, 63))),
        ("heavy ties", (noise(n, 64) > 0.5).astype(float), np.floor(noise(n, 65) * 3)),
        ("negative zero", np.array([0.0, -0.0, 1.0, -1.0, 0.0, 2.0]), np.array([-0.0, 1.0, 0.0, 3.0, -2.0, 2.0])),
        ("large offset", 1e9 + x, 1e9 - x + bell(n, 66)),
    ]:
        spearman, kendall, pearson = stats.spearmanr(a, b), stats.kendalltau(a, b, method="asymptotic"), stats.pearsonr(a, b)
        case = {"name": name, "x": vector(a), "y": vector(b), "ranks": vector(stats.rankdata(a)),
                "spearman": [float(spearman.statistic), float(spearman.pvalue)],
                "kendall": [float(kendall.statistic), float(kendall.pvalue)],
                "pearson": [float(pearson.statistic), float(pearson.pvalue)],
                "pearson_95": vector(pearson.confidence_interval(0.95))}
        out.append(case)
    return out


def bootstrap():
    values = np.exp(bell(25, 71))
    out = {"values": vector(values), "cases": []}
    for name, statistic in (("mean", np.mean), ("median", np.median), ("sd", lambda v, axis=-1: np.std(v, axis=axis, ddof=1))):
        full = stats.bootstrap((values,), statistic, n_resamples=999, method="BCa", random_state=np.random.default_rng(1))
        # The same replicates again: no new ones are drawn.
        percentile = stats.bootstrap((values,), statistic, n_resamples=0, method="percentile", bootstrap_result=full)
        jackknife = [float(statistic(np.delete(values, i))) for i in range(len(values))]
        out["cases"].append({"name": name, "value": float(statistic(values)), "replicates": vector(full.bootstrap_distribution),
                             "jackknife": jackknife, "se": float(full.standard_error),
                             "bca": vector(full.confidence_interval), "percentile": vector(percentile.confidence_interval)})
    big = [stats.bootstrap((values,), np.mean, n_resamples=200_000, method=m, random_state=np.random.default_rng(2), batch=5000)
           for m in ("percentile", "BCa")]
    out["mean_200000"] = [vector(b.confidence_interval) for b in big]
    return out


def metrics():
    n = 100
    scores = np.round(noise(n, 81), 1)
    labels = (noise(n, 82) < 0.2 + 0.6 * scores).astype(int)
    p = np.clip(0.05 + 0.9 * noise(n, 83), 0.01, 0.99)
    w = np.where(np.arange(n) % 9 == 0, 0.0, noise(n, 84))
    return {"labels": [int(v) for v in labels], "scores": vector(scores), "probability": vector(p), "weights": vector(w),
            "auc": float(roc_auc_score(labels, scores)), "log_loss": float(log_loss(labels, p)),
            "weighted_log_loss": float(log_loss(labels, p, sample_weight=w)), "brier": float(brier_score_loss(labels, p))}


def descriptive():
    values = 1e8 + bell(1000, 91)
    exact = [Fraction(float(v)) for v in values]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / (len(exact) - 1)
    qs = [0.0, 0.025, 0.3333, 0.5, 0.9, 1.0]
    short = vector(bell(11, 92))
    return {"values": vector(values), "mean": float(mean), "variance": float(variance), "short": short, "q": qs,
            "quantiles": vector(np.quantile(short, qs))}


if __name__ == "__main__":
    print(json.dumps({
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "sklearn": sklearn.__version__,
                     "mpmath": mp.__version__},
        "linear": linear(), "ridge": ridge(), "glm": glm(), "penalised": penalised(), "intervals": intervals(), "laws": laws(),
        "rank": rank(), "bootstrap": bootstrap(), "metrics": metrics(), "descriptive": descriptive(),
    }, separators=(",", ":")))
