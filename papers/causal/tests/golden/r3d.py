"""Golden values for r3d: pip install numpy scipy pandas rdrobust==2.1.1; python3 r3d.py

Conventional estimates of rdrobust on the US Senate elections of that package at given kernel, order and bandwidth, to
../../data/rdrobust_senate.json; and the estimators' formulas in plain numpy (no code of ours) on made-up units, to r3d.json.
"""

import json
import pathlib

import numpy as np
import pandas as pd
import rdrobust as package
from rdrobust import rdrobust

here = pathlib.Path(__file__).parent
table = pd.read_csv(pathlib.Path(package.__file__).parent / "data" / "rdrobust_RDsenate.csv").dropna(subset=["vote"])
rows = []
for kernel in ["triangular", "epanechnikov", "uniform"]:
    for p in [1, 2]:
        for h in [10.0, 17.75, 42.5]:
            fit = rdrobust(table.vote, table.margin, p=p, h=h, b=h, kernel=kernel, masspoints="off")
            rows.append({
                "kernel": kernel,
                "p": p,
                "h": h,
                "conventional": float(fit.coef.iloc[0, 0]),
                "effective": [int(n) for n in fit.N_h],
            })
head = {"package": "rdrobust 2.1.1", "script": "tests/golden/r3d.py", "data": "rdrobust_RDsenate.csv, rows with a vote"}
text = json.dumps(head | {"rdrobust": rows}, indent=1)
(here / "../../data/rdrobust_senate.json").write_text(text + "\n")

# Made-up units: nothing random, so that Rust can make the same ones.
n, m, c = 120, 9, 0.05
x = np.array([np.sin(1.7 * i + 0.3) for i in range(n)])
y = np.array([[np.cos(0.9 * i + 2.1 * j) * (1 + x[i] ** 2) + 2 * x[i] + (x[i] >= c) * (0.5 + 0.3 * np.cos(j)) for j in range(m)] for i in range(n)])
t = np.array([1.0 if np.cos(3.3 * i) + (2 if x[i] >= c else -2) * 0.3 > 0 else 0.0 for i in range(n)])
grid = np.arange(1, 10) / 10
curves = np.quantile(y, grid, axis=1).T


def kernel(u):
    return np.maximum(0, 1 - np.abs(u))


def side(outcome, h, p, above):
    """Value at the cutoff, equivalent weights and fitted values of a local polynomial, by the normal equations."""
    u = (x - c) / h
    k = kernel(u) * ((x >= c) == above)
    r = np.vander(u, p + 1, increasing=True)
    s = r.T @ (k[:, None] * r)
    hat = np.linalg.solve(s, (k[:, None] * r).T)
    return hat[0] @ outcome, hat[0], r @ (hat @ outcome), k > 0


def pava(v):
    blocks = []
    for value in v:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            b = blocks.pop()
            a = blocks.pop()
            blocks.append([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1]])
    return np.concatenate([np.full(count, value) for value, count in blocks])


def fit(h, method, fuzzy_h=None):
    """Effect, sides, and each unit's part of the noise."""
    sides, parts = [], np.zeros((n, len(grid)))
    for above, sign in [(False, -1), (True, 1)]:
        m_side = np.zeros(len(grid))
        fitted, weights, inside = np.zeros((n, len(grid))), np.zeros((n, len(grid))), np.zeros((n, len(grid)), bool)
        for q in range(len(grid)):
            m_side[q], weights[:, q], fitted[:, q], inside[:, q] = side(curves[:, q], h[q], 2, above)
        if method == "frechet":
            m_side = pava(m_side)
            fitted = np.array([pava(row) for row in fitted])
        else:
            m_side = np.sort(m_side)
        parts += sign * np.where(inside, weights * (curves - fitted), 0)
        sides.append(m_side)
    effect = sides[1] - sides[0]
    out = {"below": sides[0], "above": sides[1]}
    if fuzzy_h is not None:
        jumps, t_parts = [], np.zeros(n)
        for above, sign in [(False, -1), (True, 1)]:
            value, weight, fitted, inside = side(t, fuzzy_h, 2, above)
            jumps.append(value)
            t_parts += sign * np.where(inside, weight * (t - fitted), 0)
        d = jumps[1] - jumps[0]
        parts = (d * parts - effect[None, :] * t_parts[:, None]) / d**2
        effect = effect / d
        out["jump"] = d
    # The bootstrap's variance of nu(q) is the sum of the squared parts.
    return out | {"effect": effect, "se": np.sqrt((parts**2).sum(axis=0))}


cases = []
for name, h, method, fuzzy in [
    ("frechet", [0.6] * 9, "frechet", None),
    ("simple", list(0.45 + 0.04 * np.arange(9)), "simple", None),
    ("fuzzy", [0.6] * 9, "frechet", 0.7),
]:
    result = fit(h, method, fuzzy)
    cases.append({"name": name, "bandwidths": h} | {k: np.asarray(v).tolist() for k, v in result.items()})
(here / "r3d.json").write_text(json.dumps({"numpy": np.__version__, "cases": cases}, indent=1) + "\n")
