"""Golden values for the estimators of causal effects, from linearmodels, statsmodels, rdrobust, scipy and numpy.

    python -m venv VENV && VENV/bin/pip install numpy scipy pandas statsmodels scikit-learn mpmath linearmodels rdrobust
    VENV/bin/python causal.py > causal.json

The inputs come from formulas and are stored beside the results. Versions are stored under "versions".
"""

import contextlib
import io
import json
import math
import warnings

import linearmodels
import mpmath as mp
import numpy as np
import pandas as pd
import scipy
import statsmodels
import statsmodels.api as sm
from importlib.metadata import version
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from rdrobust import rdrobust
from scipy import integrate, optimize, stats
from sklearn.isotonic import IsotonicRegression
from statsmodels.treatment.treatment_effects import TreatmentEffect

from make import bell, logistic, matrix, noise, vector

warnings.simplefilter("ignore")


# Instrumental variables


def anderson_rubin(y, x, w, z, level):
    """Ends of {b: F test of z in a regression of y - b x on [w z] does not reject}, by root finding on statsmodels' test."""
    a = np.column_stack([w, z])
    test = np.column_stack([np.zeros((z.shape[1], w.shape[1])), np.eye(z.shape[1])])

    def excess(b):
        return float(sm.OLS(y - b * x, a).fit().f_test(test).pvalue) - (1 - level)

    grid = np.concatenate([-np.geomspace(1e4, 1e-3, 4000), np.geomspace(1e-3, 1e4, 4000)])
    inside = np.array([excess(b) > 0 for b in grid])
    ends = [optimize.brentq(excess, grid[i], grid[i + 1], xtol=1e-13, rtol=1e-14) for i in np.flatnonzero(inside[1:] != inside[:-1])]
    return {"inside_left": bool(inside[0]), "ends": ends}


def iv_case(name, y, w, x, z, groups, kappa):
    frames = {k: pd.DataFrame(v, columns=[f"{k}{j}" for j in range(v.shape[1])]) for k, v in {"w": w, "x": x, "z": z}.items()}
    args = (pd.Series(y, name="y"), frames["w"], frames["x"], frames["z"])
    kinds = {
        "classical": dict(cov_type="unadjusted", debiased=True),
        "hc0": dict(cov_type="robust", debiased=False),
        "hc1": dict(cov_type="robust", debiased=True),
        "cluster": dict(cov_type="clustered", clusters=groups, debiased=True),
    }
    two = {k: IV2SLS(*args).fit(**v) for k, v in kinds.items()}
    out = {"name": name, "y": vector(y), "w": matrix(w), "x": matrix(x), "z": matrix(z), "groups": [int(g) for g in groups], "given_kappa": kappa,
           "two_stage": {"coefficients": vector(two["hc0"].params), "covariance": {k: matrix(np.asarray(r.cov)) for k, r in two.items()},
                         "r_squared": float(two["hc0"].rsquared)}}
    # linearmodels takes projected regressors for the robust scores of every kappa; only the classical covariance is comparable.
    d, a = np.column_stack([w, x]), np.column_stack([w, z])
    for label, model in {"liml": IVLIML(*args), "given": IVLIML(*args, kappa=kappa)}.items():
        fit = model.fit(cov_type="unadjusted", debiased=True)
        k = float(model._kappa) if label == "given" else float(fit.kappa)
        k = kappa if label == "given" else k
        tilde = (1 - k) * d + k * (a @ np.linalg.lstsq(a, d, rcond=None)[0])
        bread = np.linalg.inv(tilde.T @ d)
        scores = tilde * (y - d @ np.asarray(fit.params))[:, None]
        out[label] = {"kappa": k, "coefficients": vector(fit.params), "classical": matrix(np.asarray(fit.cov)),
                      "hc0": matrix(bread @ scores.T @ scores @ bread.T)}
    wu = two["hc0"].wu_hausman()
    out["wu_hausman"] = [float(wu.stat), float(wu.pval)]
    if z.shape[1] > x.shape[1]:
        sargan = two["hc0"].sargan
        gmm = IVGMM(*args, weight_type="robust").fit(cov_type="robust")
        clustered = IVGMM(*args, weight_type="clustered", clusters=groups).fit()
        out["sargan"] = [float(sargan.stat), float(sargan.pval)]
        out["hansen"] = [float(gmm.j_stat.stat), float(gmm.j_stat.pval), vector(gmm.params)]
        out["hansen_cluster"] = [float(clustered.j_stat.stat), vector(clustered.params)]
    out["first"] = []
    test = np.column_stack([np.zeros((z.shape[1], w.shape[1])), np.eye(z.shape[1])])
    # Instruments given the controls.
    rest = z - w @ np.linalg.lstsq(w, z, rcond=None)[0]
    for j in range(x.shape[1]):
        model = sm.OLS(x[:, j], a)
        plain = model.fit()
        stage = {"f": [float(plain.f_test(test).fvalue), float(plain.f_test(test).pvalue)], "robust": {}, "effective": {}}
        for kind, more in {"hc0": dict(cov_type="HC0"), "hc1": dict(cov_type="HC1"),
                           "cluster": dict(cov_type="cluster", cov_kwds={"groups": groups})}.items():
            fit = model.fit(use_t=True, **more)
            pi, cov = np.asarray(fit.params)[w.shape[1]:], np.asarray(fit.cov_params())[w.shape[1]:, w.shape[1]:]
            stage["robust"][kind] = float(fit.f_test(test).fvalue)
            stage["effective"][kind] = float(pi @ rest.T @ rest @ pi / np.trace(cov @ rest.T @ rest))
        out["first"].append(stage)
    if x.shape[1] == 1:
        out["anderson_rubin"] = anderson_rubin(y, x[:, 0], w, z, 0.95)
    return out


def instruments():
    n = 120
    hidden, control = bell(n, 101), bell(n, 102)
    z = np.column_stack([bell(n, 103), bell(n, 104), noise(n, 105) * 4])
    w = np.column_stack([np.ones(n), control])
    groups = np.minimum(np.arange(n) // 7, 15)
    x = np.column_stack([z @ [0.5, 0.3, 0.1] + hidden + 0.3 * control + bell(n, 106), z @ [0.1, -0.4, 0.3] + 0.5 * hidden + bell(n, 107)])
    y = x @ [1.0, -0.5] + 1.5 * hidden - control + bell(n, 108) * (0.5 + np.abs(z[:, 0]))
    single = y + 0.5 * x[:, 1]
    weak = np.column_stack([0.02 * z[:, 0] + hidden + bell(n, 109)])
    return [
        iv_case("over-identified", single, w, x[:, :1], z, groups, 0.4),
        iv_case("two treatments", y, w, x, z, groups, 0.9),
        iv_case("just identified", single, w, x[:, :1], z[:, :1], groups, 1.0),
        iv_case("weak", single, w, weak, z[:, :1], groups, 0.7),
        iv_case("weak, two instruments", single, w, weak, z[:, 1:], groups, 0.5),
    ]


# Regression discontinuity


def jump(n, seed, distinct=None):
    x = 2 * noise(n, seed) ** 0.8 - 1
    if distinct:
        x = np.round(x * distinct) / distinct
    y = 0.5 * np.sin(3 * x) + x**2 + np.where(x >= 0, 0.7 - 0.8 * x, 0) + 0.3 * bell(n, seed + 1) * (1 + 0.5 * np.abs(x))
    treated = (noise(n, seed + 2) < np.where(x >= 0, 0.8, 0.2) + 0.1 * x).astype(float)
    return x, y + treated, treated


def rd_fit(x, y, treated, **settings):
    with contextlib.redirect_stdout(io.StringIO()):
        fit = rdrobust(y, x, fuzzy=treated, **settings)
    return {"settings": settings, "fuzzy": treated is not None, "coefficients": vector(fit.coef), "se": vector(fit.se), "p": vector(fit.pv),
            "interval": matrix(np.asarray(fit.ci)), "bandwidths": vector(fit.bws), "rows": [int(v) for v in fit.N], "effective": [int(v) for v in fit.N_h]}


def discontinuity():
    out = []
    for name, (x, y, treated) in {"continuous": jump(400, 201), "repeated": jump(500, 211, 20)}.items():
        fits = [rd_fit(x, y, None, kernel=k, vce=v) for k in ("triangular", "epanechnikov", "uniform") for v in ("nn", "hc0", "hc1", "hc2", "hc3")]
        fits += [rd_fit(x, y, None, bwselect="cerrd"), rd_fit(x, y, None, p=2), rd_fit(x, y, None, p=0), rd_fit(x, y, None, c=0.15),
                 rd_fit(x, y, None, p=1, q=3, h=0.4, b=0.7), rd_fit(x, y, None, masspoints="off"), rd_fit(x, y, None, nnmatch=5),
                 rd_fit(x, y, None, h=0.4, b=0.7), rd_fit(x, y, None, h=0.6, b=0.5, vce="hc1"), rd_fit(x, y, None, h=0.5), rd_fit(x, y, None, p=2, h=0.7)]
        fits += [rd_fit(x, y, treated), rd_fit(x, y, treated, vce="hc2", kernel="epanechnikov"), rd_fit(x, y, treated, h=0.5, b=0.6)]
        out.append({"name": name, "x": vector(x), "y": vector(y), "treated": vector(treated), "fits": fits})
    return out


# The three-step bandwidth rule, by its formulas


KERNELS = {"triangular": lambda u: np.maximum(0, 1 - np.abs(u)), "epanechnikov": lambda u: 0.75 * np.maximum(0, 1 - u**2),
           "uniform": lambda u: 0.5 * (np.abs(u) <= 1)}


def moments(kernel, s, sign):
    def integral(f):
        return integrate.quad(lambda u: float(f(sign * u)), 0, 1, epsabs=1e-15)[0]

    k = KERNELS[kernel]
    gram = np.array([[integral(lambda u: k(u) * u ** (i + j)) for j in range(s + 1)] for i in range(s + 1)])
    lead = np.array([integral(lambda u: k(u) * u ** (i + s + 1)) for i in range(s + 1)])
    square = np.array([[integral(lambda u: k(u) ** 2 * u ** (i + j)) for j in range(s + 1)] for i in range(s + 1)])
    inverse = np.linalg.inv(gram)
    return (inverse @ lead)[0], (inverse @ square @ inverse)[0, 0]


def three_steps(x, q, kernel, s, common):
    n = len(x)
    width = 1.06 * x.std(ddof=1) * n**-0.2
    density = KERNELS[kernel](x / width).mean() / width
    constants = {1: moments(kernel, s, 1), -1: moments(kernel, s, -1)}
    sides = {1: x >= 0, -1: x < 0}

    def formula(d, v):
        bias = (constants[1][0] * d[1] - constants[-1][0] * d[-1]) / math.factorial(s + 1)
        variance = (constants[1][1] * v[1] + constants[-1][1] * v[-1]) / density
        bias, variance = (bias**2).reshape(-1), variance.reshape(-1)
        if common:
            bias, variance = bias.sum(), variance.sum()
        return (variance / (2 * (s + 1) * bias)) ** (1 / (2 * s + 3)) * n ** (-1 / (2 * s + 3))

    def derivative(fit):
        return fit * math.factorial(s + 1)

    d, v = {}, {}
    for sign, rows in sides.items():
        design = np.vander(x[rows], s + 2, increasing=True)
        b = np.linalg.lstsq(design, q[rows], rcond=None)[0]
        d[sign], v[sign] = derivative(b[s + 1]), (q[rows] - design @ b).var(axis=0, ddof=1)
    pilot = np.broadcast_to(formula(d, v), q.shape[1])
    d, v = {1: [], -1: []}, {1: [], -1: []}
    for sign, rows in sides.items():
        for j in range(q.shape[1]):
            u = x[rows] / pilot[j]
            weight = KERNELS[kernel](u)
            design = np.vander(u, s + 2, increasing=True)
            root = np.sqrt(weight)
            b = np.linalg.lstsq(design * root[:, None], q[rows, j] * root, rcond=None)[0]
            d[sign].append(derivative(b[s + 1]) / pilot[j] ** (s + 1))
            v[sign].append((weight * (q[rows, j] - design @ b) ** 2).sum() / weight.sum())
        d[sign], v[sign] = np.array(d[sign]), np.array(v[sign])
    final = np.atleast_1d(formula(d, v))
    return {"kernel": kernel, "order": s, "common": common, "density": float(density), "pilot": vector(pilot if not common else pilot[:1]), "bandwidths": vector(final)}


def bandwidths():
    n = 300
    x = 2 * noise(n, 301) - 1
    base = np.exp(x) + np.where(x >= 0, 2 * x**2 - x**3, 0)
    q = np.column_stack([base * (1 + j) + 0.4 * bell(n, 302 + j) for j in range(3)])
    cases = [three_steps(x, q, k, s, common) for k in KERNELS for s in (0, 1, 2) for common in (False, True)]
    return {"x": vector(x), "outcomes": matrix(q), "cases": cases}


# Densities


def exact_density(x, points, weights, h):
    """Logarithm of the density and score."""
    top, bottom = mp.mpf(0), mp.mpf(0)
    for p, w in zip(points, weights):
        u = (mp.mpf(float(x)) - mp.mpf(float(p))) / mp.mpf(float(h))
        part = mp.mpf(float(w)) * mp.exp(-u * u / 2)
        top, bottom = top - part * u / mp.mpf(float(h)), bottom + part
    log = mp.log(bottom) - mp.log(mp.mpf(float(h)) * mp.sqrt(2 * mp.pi))
    return float(log), float(top / bottom)


def density():
    values = np.exp(0.5 * bell(80, 401))
    weights = np.where(np.arange(80) % 6 == 0, 0.0, noise(80, 402))
    at = [-40.0, -1.0, 0.3, 1.0, 1.7, 3.0, 60.0]
    cases = []
    for rule in ("scott", "silverman", 0.35):
        for w in (None, weights):
            kde = stats.gaussian_kde(values, bw_method=rule, weights=w)
            h = float(np.sqrt(kde.covariance[0, 0]))
            share = np.ones(80) / 80 if w is None else w / w.sum()
            exact = [exact_density(a, values, share, h) for a in at]
            case = {"rule": rule if isinstance(rule, str) else h, "weights": None if w is None else vector(w), "bandwidth": h, "at": at,
                    "density": vector(kde.pdf(at[1:-1])), "log_density": [e[0] for e in exact], "score": [e[1] for e in exact]}
            cases.append(case)
    return {"values": vector(values), "cases": cases}


def density_test(x, cutoff=0.0, h=None):
    n = len(x)
    bin = 2 * x.std(ddof=1) / np.sqrt(n)
    sides = []
    for sign in (-1, 1):
        place = np.floor((x[x >= cutoff] - cutoff) / bin) if sign > 0 else np.ceil((cutoff - x[x < cutoff]) / bin) - 1
        heights = np.bincount(place.astype(int)) / (n * bin)
        sides.append((cutoff + sign * (np.arange(len(heights)) + 0.5) * bin, heights))
    if h is None:
        rules = []
        for centres, heights in sides:
            fit = np.polynomial.Polynomial.fit(centres - cutoff, heights, 4).convert()
            residual = heights - fit(centres - cutoff)
            s2 = (residual**2).sum() / (len(heights) - 5)
            span = abs(centres[-1] - centres[0])
            rules.append(3.348 * (s2 * span / (fit.deriv(2)(centres - cutoff) ** 2).sum()) ** 0.2)
        h = float(np.mean(rules))
    f = []
    for centres, heights in sides:
        w = np.sqrt(KERNELS["triangular"]((centres - cutoff) / h))
        f.append(float(np.linalg.lstsq(np.column_stack([w, w * (centres - cutoff)]), w * heights, rcond=None)[0][0]))
    theta, se = math.log(f[1] / f[0]), math.sqrt(4.8 / (n * h) * (1 / f[0] + 1 / f[1]))
    return {"cutoff": cutoff, "bin": float(bin), "bandwidth": h, "densities": f, "log_ratio": theta, "se": se, "p": float(2 * stats.norm.sf(abs(theta / se)))}


def running():
    x = bell(800, 411)
    return {"x": vector(x), "cases": [density_test(x), density_test(x, 0.5), {**density_test(x, 0.0, 0.8), "given": 0.8}]}


# Curves, weights, laws, effects


def curves():
    y, w = bell(40, 501), 0.2 + noise(40, 502)
    y = y + np.linspace(0, 3, 40)
    p = np.linspace(0.01, 0.99, 99)
    curve = np.exp(stats.norm.ppf(p))
    area = integrate.cumulative_trapezoid(curve, p, initial=0)
    gini = 1 - 2 * integrate.trapezoid(area / area[-1], (p - p[0]) / (p[-1] - p[0]))
    values, weights, q = bell(25, 503), np.where(np.arange(25) % 8 == 1, 0.0, noise(25, 504)), [0.0, 0.01, 0.25, 0.5, 0.77, 1.0]
    keep = weights > 0
    order = np.argsort(values[keep])
    v, wt = values[keep][order], weights[keep][order]
    place = np.cumsum(wt) - wt / 2
    place = (place - place[0]) / (place[-1] - place[0])
    place_of = np.round(bell(40, 505), 1)
    calibrated = IsotonicRegression(out_of_bounds="clip").fit(place_of, y, sample_weight=w)
    new = np.linspace(-4, 4, 33)
    return {"predictor": vector(place_of), "new": vector(new), "calibrated": vector(calibrated.predict(new)), "y": vector(y), "weights": vector(w), "isotonic": vector(optimize.isotonic_regression(y).x),
            "isotonic_weighted": vector(optimize.isotonic_regression(y, weights=w).x), "curve": vector(curve), "probabilities": vector(p), "gini": float(gini),
            "values": vector(values), "value_weights": vector(weights), "q": q, "weighted_quantiles": vector(np.interp(q, place, v))}


def f_law():
    tails = []
    for above, below in ((1, 1), (1, 30), (3, 7), (2.5, 4.5), (10, 1e3), (1, 1e6), (40, 1e6), (31, 2016)):
        for f in (1e-3, 0.3, 1.0, 4.0, 50.0):
            a, b, x = mp.mpf(below) / 2, mp.mpf(above) / 2, mp.mpf(below) / (mp.mpf(below) + mp.mpf(above) * mp.mpf(f))
            tail = mp.betainc(a, b, 0, x, regularized=True)
            if tail > mp.mpf(10) ** -250:
                tails.append([f, above, below, float(tail)])
    quantiles = [[p, above, below, float(stats.f.ppf(p, above, below))] for above, below in ((1, 1), (1, 30), (3, 7), (10, 1e3), (40, 1e5)) for p in (0.05, 0.5, 0.95, 0.999)]
    return {"tails": tails, "quantiles": quantiles}


def imbens_manski():
    out = []
    for low, se_low, high, se_high, level in ((0, 1, 0, 1, 0.95), (0, 1, 0.5, 2, 0.95), (-1, 0.2, 3, 0.1, 0.9), (0, 0.5, 100, 0.5, 0.99)):
        gap = (high - low) / max(se_low, se_high)
        c = optimize.brentq(lambda c: stats.norm.cdf(c + gap) - stats.norm.cdf(-c) - level, 0, 10, xtol=1e-15, rtol=1e-15)
        out.append([low, se_low, high, se_high, level, low - c * se_low, high + c * se_high])
    return out


def effects():
    n = 250
    x = np.column_stack([np.ones(n), bell(n, 601), noise(n, 602)])
    treated = (noise(n, 603) < logistic(x @ [-0.3, 0.6, 0.8])).astype(int)
    y = x @ [1.0, 0.7, -0.5] + 0.4 * treated * (1 + x[:, 1]) + bell(n, 604)
    select = sm.Logit(treated, x).fit(disp=0, tol=1e-14, method="newton", maxiter=100)
    effect = TreatmentEffect(sm.OLS(y, x), treated, results_select=select)
    ipw = effect.ipw(disp=False)
    e = np.asarray(select.predict(x))
    mu1 = x @ np.linalg.lstsq(x[treated == 1], y[treated == 1], rcond=None)[0]
    mu0 = x @ np.linalg.lstsq(x[treated == 0], y[treated == 0], rcond=None)[0]
    psi = mu1 - mu0 + treated * (y - mu1) / e - (1 - treated) * (y - mu0) / (1 - e)
    return {"x": matrix(x), "treated": [int(t) for t in treated], "y": vector(y), "hajek": [float(np.ravel(ipw.effect)[0]), float(np.ravel(ipw.sd)[0])],
            "mu1": vector(mu1), "mu0": vector(mu0), "aipw": [float(psi.mean()), float(psi.std() / np.sqrt(n))],
            "aipw_statsmodels": float(effect.aipw(return_results=False)[0]), "propensity": vector(e)}


if __name__ == "__main__":
    mp.mp.dps = 50
    print(json.dumps({
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "linearmodels": linearmodels.__version__,
                     "rdrobust": version("rdrobust"), "mpmath": mp.__version__},
        "instruments": instruments(), "discontinuity": discontinuity(), "bandwidths": bandwidths(), "density": density(), "running": running(),
        "curves": curves(), "f_law": f_law(), "imbens_manski": imbens_manski(), "effects": effects(),
    }, separators=(",", ":"), allow_nan=False))
