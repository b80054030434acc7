"""Golden fits for lc-alpacaeval: pip install numpy scipy statsmodels; python3 lc_alpacaeval.py

Reads the annotation table beside the crate, fits three models with statsmodels (no penalty) and with scipy (ridge on the
length slope), and writes lc_alpacaeval.json. Difficulties are cos(index), so that they depend on nothing else.
"""

import csv
import gzip
import json
import pathlib

import numpy as np
import scipy.optimize
import statsmodels
import statsmodels.api as sm

here = pathlib.Path(__file__).parent
rows = list(csv.DictReader(gzip.open(here / "../../data/alpaca_eval_annotations.csv.gz", "rt")))
fits = []
for model in ["claude", "vicuna-7b", "FuseChat-Gemma-2-9B-Instruct"]:
    own = [r for r in rows if r["model"] == model]
    index = np.array([int(r["index"]) for r in own])
    y = np.array([float(r["preference"]) for r in own])
    y = np.where(y == 0, 0.5, y - 1)
    delta = np.array([float(r["len_baseline"]) - float(r["len_model"]) for r in own])
    x = np.column_stack([np.tanh(delta / delta.std(ddof=1)), np.cos(index), np.ones(len(y))])
    plain = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=100)

    def loss(b):
        z = x @ b
        return np.sum(np.logaddexp(0, z) - y * z) + 0.5 * 10 * (b[0] + 1.5) ** 2

    def gradient(b):
        p = 1 / (1 + np.exp(-(x @ b)))
        return x.T @ (p - y) + np.array([10 * (b[0] + 1.5), 0, 0])

    ridge = scipy.optimize.minimize(loss, np.zeros(3), jac=gradient, method="BFGS", options={"gtol": 1e-10}).x
    rate = lambda b: 100 * np.mean(1 / (1 + np.exp(-(x[:, 1] * b[1] + b[2]))))
    fits.append({
        "model": model,
        "noreg": list(plain.params),
        "noreg_rate": rate(plain.params),
        "ridge": list(ridge),
        "ridge_rate": rate(ridge),
        "raw_rate": 100 * y.mean(),
    })
versions = {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__}
(here / "lc_alpacaeval.json").write_text(json.dumps({"versions": versions, "fits": fits}, indent=1) + "\n")
