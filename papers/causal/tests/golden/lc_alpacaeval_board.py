"""Reference fits for tests/lc_board_golden.rs, by libraries that share no code with ours.

    python -m venv /somewhere/outside && . /somewhere/outside/bin/activate
    pip install scikit-learn==1.9.1 statsmodels==0.15.0
    python papers/causal/tests/golden/lc_alpacaeval_board.py > papers/causal/tests/golden/lc_alpacaeval_board.json

Joint fit: dense Newton in numpy. `noreg`, `minimal`: statsmodels GLM. `ridge_phi`: scipy trust-exact. `v1`: scikit-learn
liblinear on the two weighted rows of every pair. Standard error (b): stacked estimating equations of coefficients and rate.
"""
import csv, gzip, json, pathlib, sys
import numpy as np, scipy, scipy.optimize, sklearn, statsmodels, statsmodels.api as sm
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

MODELS = ["NullModel", "claude-2", "phi-2"]
table = pathlib.Path(__file__).parents[2] / "data" / "alpaca_eval_annotations.csv.gz"
by_model = {}
for r in csv.DictReader(gzip.open(table, "rt")):
    by_model.setdefault(r["model"], []).append(
        (int(r["index"]), float(r["preference"]), float(r["len_baseline"]) - float(r["len_model"])))

names, data = sorted(by_model), {}
for name in names:
    x, raw, delta = (np.array(v) for v in zip(*by_model[name]))
    sd = np.std(delta, ddof=1)
    t = np.tanh(delta / sd) if sd > 0 else np.zeros_like(delta)
    data[name] = (x, np.where(raw == 0, 0.5, raw - 1), t)

# min sum CE(y, theta_m + phi_m t + gamma_x) + 0.25 sum gamma^2
n_x, n_m, lam = 805, len(names), 0.5
size = 2 * n_m + n_x
b = np.zeros(size)
def parts(b, hessian=True):
    value, g, h = 0.5 * lam * np.sum(b[2 * n_m:] ** 2), np.zeros(size), np.zeros((size, size))
    g[2 * n_m:] = lam * b[2 * n_m:]
    h[range(2 * n_m, size), range(2 * n_m, size)] = lam
    for k, name in enumerate(names):
        x, y, t = data[name]
        z = b[2 * k] + b[2 * k + 1] * t + b[2 * n_m + x]
        value += np.sum(np.logaddexp(0, z) - y * z)
        p = expit(z)
        cols = [np.full(len(x), 2 * k), np.full(len(x), 2 * k + 1), 2 * n_m + x]
        vals = [np.ones(len(x)), t, np.ones(len(x))]
        for ci, vi in zip(cols, vals):
            np.add.at(g, ci, (p - y) * vi)
            for cj, vj in zip(cols, vals):
                np.add.at(h, (ci, cj), p * (1 - p) * vi * vj)
    return value, g, h
for _ in range(60):
    value, g, h = parts(b)
    if np.abs(g).max() < 1e-10:
        break
    flat = np.abs(h).sum(1) == 0          # the baseline's own slope: nothing to find
    h[flat, flat] = 1
    step = -np.linalg.solve(h, g)
    b = b + step * min(1, 3 / np.abs(step).max())
gamma = b[2 * n_m:]
print("joint gradient", np.abs(g).max(), file=sys.stderr)

def noreg(X, y):
    return sm.GLM(y, X, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=300).params

def ridge(X, y, kappa, centre):
    f = lambda b: np.sum(np.logaddexp(0, X @ b) - y * (X @ b)) + 0.5 * kappa * (b[0] - centre) ** 2
    def d(b):
        g = X.T @ (expit(X @ b) - y); g[0] += kappa * (b[0] - centre); return g
    def hess(b):
        p = expit(X @ b); H = X.T @ (X * (p * (1 - p))[:, None]); H[0, 0] += kappa; return H
    b = scipy.optimize.minimize(f, np.zeros(X.shape[1]), jac=d, hess=hess, method="trust-exact", options={"gtol": 1e-9}).x
    return b - np.linalg.solve(hess(b), d(b))

def lasso(X, y, c):
    two, label, weight = np.vstack([X, X]), np.r_[np.ones(len(y)), np.zeros(len(y))], np.r_[y, 1 - y]
    fit = LogisticRegression(l1_ratio=1.0, solver="liblinear", C=c, fit_intercept=False, tol=1e-12, max_iter=200000)
    return fit.fit(two, label, sample_weight=weight).coef_[0]

def errors(X, y, b, kappa):
    flat = X.copy(); flat[:, 0] = 0
    p, n = expit(flat @ b), len(y)
    psi = np.column_stack([X * (y - expit(X @ b))[:, None], p - p.mean()])
    k = X.shape[1]
    A = np.zeros((k + 1, k + 1))
    w = expit(X @ b) * (1 - expit(X @ b))
    A[:k, :k] = X.T @ (X * w[:, None]); A[0, 0] += kappa
    A[k, :k] = -(flat * (p * (1 - p))[:, None]).sum(0); A[k, k] = n
    cov = np.linalg.inv(A) @ (psi.T @ psi) @ np.linalg.inv(A).T
    return 100 * p.std(ddof=1) / n ** 0.5, 100 * (cov[k, k] * n / (n - 1)) ** 0.5

def design(name):
    x, y, t = data[name]
    return np.column_stack([t, gamma[x], np.ones(len(x))]), y

slopes = [noreg(*design(m))[0] for m in names if m != "gpt4_1106_preview"]
centre = float(np.median(slopes))
out = {"versions": {m.__name__: m.__version__ for m in (np, scipy, sklearn, statsmodels)},
       "gamma_first": gamma[:20].tolist(), "gamma_squares": float(np.sum(gamma ** 2)), "centre": centre, "v1_c": 0.046415888336127774, "models": {}}
for name in MODELS:
    k = names.index(name)
    X, y = design(name)
    fits = {"noreg": noreg(X, y), "minimal": noreg(X[:, [0, 2]], y), "ridge_phi": ridge(X, y, 10.0, centre), "v1": lasso(X, y, out["v1_c"])}
    se = errors(X, y, fits["ridge_phi"], 10.0)
    flat = X.copy(); flat[:, 0] = 0
    out["models"][name] = {"joint": b[2 * k:2 * k + 2].tolist(), **{v: c.tolist() for v, c in fits.items()},
        "raw": 100 * y.mean(), "lc": 100 * expit(flat @ fits["ridge_phi"]).mean(), "se_predictions": se[0], "se_delta": se[1]}
json.dump(out, sys.stdout, indent=1)
