"""The Python side of `cargo xtask bench causal`: the usual packages' estimators behind a line protocol.

    list                   -> ["ols-hc1", ...]
    about                  -> versions of the packages
    setup NAME ROWS FILE   -> {"bytes": of the columns that were read}; FILE has the columns of `COLUMNS`, one after another, as f64
    step                   -> {"seconds": ..., "values": [...]}: the estimate, to be held against the other side's
    memory                 -> peak resident bytes of this process
    quit

One worker serves one workload, so that its peak of memory is that workload's. Every call is what the package's own documentation shows:
no data frame where arrays are taken, no summary, no printing.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np

COLUMNS = [f"x{j:02}" for j in range(20)] + ["y", "d", "z0", "z1", "binary", "running", "jump", "cluster"]
PACKAGES = ["numpy", "scipy", "statsmodels", "linearmodels", "rdrobust", "scikit-learn"]


class Table:
    def __init__(self, rows, file):
        self.rows, self.file, self.bytes = rows, file, 0

    def __getitem__(self, name):
        self.bytes += 8 * self.rows
        return np.fromfile(self.file, dtype=np.float64, count=self.rows, offset=8 * self.rows * COLUMNS.index(name))

    def x(self, count=20):
        """`[rows, 1 + count]`, the intercept first."""
        return np.column_stack([np.ones(self.rows)] + [self[name] for name in COLUMNS[:count]])


def ols(covariance):
    def make(table):
        import statsmodels.api as sm

        x, y = table.x(), table["y"]
        how = {"cov_type": covariance}
        if covariance == "cluster":
            how["cov_kwds"] = {"groups": table["cluster"].astype(np.int64)}

        def step():
            fit = sm.OLS(y, x).fit(**how)
            return [*fit.params, *fit.bse]

        return step

    return make


def instrumental(name):
    def make(table):
        from linearmodels.iv import IV2SLS, IVLIML

        model = {"2sls": IV2SLS, "liml": IVLIML}[name]
        y, d, x = table["y"], table["d"], table.x(16)
        z = np.column_stack([table["z0"], table["z1"]])

        def step():
            fit = model(y, x, d, z).fit(cov_type="robust")
            return [*np.asarray(fit.params), *np.asarray(fit.std_errors)]

        return step

    return make


def logit(table):
    import statsmodels.api as sm

    x, y = table.x(), table["binary"]

    def step():
        fit = sm.Logit(y, x).fit(disp=0, cov_type="HC0")
        return [*fit.params, *fit.bse]

    return step


def rd(table):
    from rdrobust import rdrobust

    x, y = table["running"], table["jump"]

    def step():
        fit = rdrobust(y, x)
        return [float(fit.coef.iloc[0, 0]), float(fit.coef.iloc[1, 0]), float(fit.se.iloc[2, 0])]

    return step


def local_linear(table):
    """No package fits a compact kernel at given points: weighted least squares of the rows of the window, in numpy."""
    x, y, width = table["running"], table["jump"], 0.2
    points = np.linspace(-0.9, -0.1, 50)

    def at(point):
        near = np.abs(x - point) < width
        u = x[near] - point
        root = np.sqrt(1 - np.abs(u) / width)
        design = np.column_stack([root, root * u])
        return np.linalg.lstsq(design, root * y[near], rcond=None)[0][0]

    return lambda: [float(at(point)) for point in points]


def kde(table):
    from scipy.stats import gaussian_kde

    values, points = table["x00"], np.linspace(-3.0, 3.0, 200)
    return lambda: gaussian_kde(values)(points).tolist()


def isotonic(table):
    from scipy.optimize import isotonic_regression

    values = table["jump"] + np.linspace(0, 1, table.rows)

    def step():
        fitted = isotonic_regression(values).x
        return [float(fitted[0]), float(fitted[table.rows // 2]), float(fitted[-1])]

    return step


def multiplier(table):
    """200 Gaussian multiplier draws of a curve of 20 points, sixteen at a time as memory wants it."""
    contributions = np.column_stack([table[name] for name in COLUMNS[:20]])

    def step():
        rng, draws = np.random.default_rng(1), []
        for begin in range(0, 200, 16):
            draws.append(rng.standard_normal((min(16, 200 - begin), table.rows)) @ contributions)
        return [float(np.concatenate(draws).std(axis=0, ddof=1).mean() / np.sqrt(table.rows))]

    return step


def aipw(table):
    """Propensity by Logit, two outcome regressions, augmented weights and their influence values."""
    import statsmodels.api as sm

    x, y, treated = table.x(), table["y"], table["binary"] > 0.5

    def step():
        e = sm.Logit(treated.astype(float), x).fit(disp=0).predict(x)
        mu1 = sm.OLS(y[treated], x[treated]).fit().predict(x)
        mu0 = sm.OLS(y[~treated], x[~treated]).fit().predict(x)
        score = mu1 - mu0 + treated * (y - mu1) / e - ~treated * (y - mu0) / (1 - e)
        return [float(score.mean()), float(score.std() / np.sqrt(table.rows))]

    return step


def trees(table):
    from sklearn.ensemble import HistGradientBoostingRegressor

    x = np.column_stack([table[name] for name in COLUMNS[:20]])
    y = table["y"]
    options = {"max_iter": 50, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20, "early_stopping": False}

    def step():
        fitted = HistGradientBoostingRegressor(**options).fit(x, y).predict(x)
        return [float(np.mean((y - fitted) ** 2))]

    return step


def cross_fit(table):
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold, cross_val_predict

    x, y = table.x()[:, 1:], table["y"]
    folds = KFold(5, shuffle=True, random_state=1)

    def step():
        residuals = y - cross_val_predict(LinearRegression(), x, y, cv=folds)
        return [float(np.mean(residuals**2))]

    return step


WORKLOADS = {
    "ols-hc1": ols("HC1"),
    "ols-hc3": ols("HC3"),
    "ols-cluster": ols("cluster"),
    "2sls": instrumental("2sls"),
    "liml": instrumental("liml"),
    "logit": logit,
    "rd": rd,
    "local-linear": local_linear,
    "kde": kde,
    "isotonic": isotonic,
    "multiplier": multiplier,
    "aipw": aipw,
    "trees": trees,
    "cross-fit": cross_fit,
}


def peak_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main():
    step = None
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "quit":
            break
        if command == "list":
            reply = list(WORKLOADS)
        elif command == "about":
            reply = {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}
        elif command == "memory":
            reply = peak_bytes()
        elif command == "setup" and len(rest) == 3 and rest[0] in WORKLOADS:
            table = Table(int(rest[1]), rest[2])
            step = WORKLOADS[rest[0]](table)
            reply = {"bytes": table.bytes}
        elif command == "step" and step is not None:
            begun = time.perf_counter()
            values = step()
            reply = {"seconds": time.perf_counter() - begun, "values": values}
        else:
            reply = {"error": f"`{line.strip()}` is no command here; see the top of worker.py"}
        print(json.dumps(reply, default=float), flush=True)


if __name__ == "__main__":
    main()
