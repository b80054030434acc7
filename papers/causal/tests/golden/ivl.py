"""Golden values for ivl: pip install numpy scipy pandas linearmodels scikit-learn; python3 ivl.py CLOSE_COLLEGE.dta

Reads the optical device's table beside the crate and Card's data (close_college.dta of the package causaldata 0.1.5), and writes
ivl.json.
"""

import gzip
import json
import pathlib
import sys

import linearmodels
import numpy as np
import pandas as pd
import scipy
import scipy.optimize
import sklearn
from linearmodels.iv import IV2SLS, IVLIML
from sklearn.linear_model import Lasso

here = pathlib.Path(__file__).parent
device = pd.read_csv(gzip.open(here / "../../data/optical_device.csv.gz"))
pixels = [f"x{j}" for j in range(1, 10)]


def share(h, covariance):
    """Confounding share: grid and bounded search of the objective, as it is written."""
    w, q = np.linalg.eigh(covariance)
    v = q.T @ h / np.linalg.norm(h)

    def objective(log_theta):
        theta = np.exp(log_theta)
        return 0.5 * np.sum(np.log1p(theta / w)) + len(w) / 2 * np.log(np.sum(v**2 / (1 + theta / w)))

    grid = np.log(np.mean(w)) + np.linspace(-8, 8, 4001) * np.log(10)
    values = [objective(g) for g in grid]
    k = int(np.argmin(values))
    if values[k] >= 0:
        return 0.0, 1 / (1 + 1 / 0.001)
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    best = scipy.optimize.minimize_scalar(objective, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    theta = np.exp(best)
    return theta, 1 / (1 + 1 / (0.001 + theta * np.mean(1 / w)))


experiments = []
for number, rows in device.groupby("experiment"):
    x = rows[pixels].to_numpy() - rows[pixels].to_numpy().mean(axis=0)
    y = rows["y"].to_numpy() - rows["y"].mean()
    c = rows["c"].to_numpy() - rows["c"].mean()
    erm = np.linalg.lstsq(x, y, rcond=None)[0]
    truth = np.linalg.lstsq(np.column_stack([x, c]), y, rcond=None)[0][:9]
    theta, beta = share(erm, x.T @ x / len(y))
    experiments.append(
        {"number": int(number), "erm": list(erm), "truth": list(truth), "theta": float(theta), "share": float(beta)}
    )

rows = device[device["experiment"] == 70]
x = rows[pixels].to_numpy() - rows[pixels].to_numpy().mean(axis=0)
y = rows["y"].to_numpy() - rows["y"].mean()
lasso = Lasso(alpha=0.5, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(x, y)

# Single-precision cells as the doubles that they are, which is how the crate's tables keep them.
dta = pd.read_stata(sys.argv[1], convert_categoricals=False).dropna().astype(float)
controls = ["exper", "black", "south", "married", "smsa"]
exog = dta[controls].assign(const=1.0)[["const"] + controls]
card = {}
for name, fit in [
    ("ols", IV2SLS(dta.lwage, exog.assign(educ=dta.educ), None, None)),
    ("2sls", IV2SLS(dta.lwage, exog, dta[["educ"]], dta[["nearc4"]])),
    ("liml", IVLIML(dta.lwage, exog, dta[["educ"]], dta[["nearc4"]])),
]:
    found = fit.fit(cov_type="robust", debiased=True)
    card[name] = {"coef": float(found.params["educ"]), "se": float(found.std_errors["educ"])}
versions = {m.__name__: m.__version__ for m in [np, scipy, pd, linearmodels, sklearn]}
golden = {
    "versions": versions,
    "experiments": experiments,
    "lasso": {"experiment": 70, "lambda": 0.5, "coefficients": list(lasso.coef_)},
    "card": {"rows": len(dta), **card},
}
(here / "ivl.json").write_text(json.dumps(golden, indent=1) + "\n")
