"""Golden values for debias-map: pip install numpy scipy statsmodels; python3 debias_map.py

The calibration sample is made of cosines, so that it depends on nothing else: 60 truths, predictions that shrink them, 12 areas.
Line and standard errors by statsmodels, density by scipy, its derivative and the corrections by numpy. The difference in means of
corrected predictions and the delta-method error follow. Writes debias_map.json.
"""

import json
import pathlib

import numpy as np
import scipy.stats
import statsmodels.api as sm

i = np.arange(60)
truth = 10 + np.cos(1.7 * i) + 0.5 * np.cos(0.3 * i)
predictions = 9.5 + 0.4 * (truth - 10) + 0.15 * np.cos(2.9 * i + 1) + 0.05
areas = i // 5
treated = np.cos(0.9 * i) > 0.1

x = sm.add_constant(truth)
robust = sm.OLS(predictions, x).fit(cov_type="HC1")
clustered = sm.OLS(predictions, x).fit(cov_type="cluster", cov_kwds={"groups": areas})
a, b = robust.params
forward = sm.OLS(truth, sm.add_constant(predictions)).fit()
alpha, beta = forward.params
centred = alpha + beta * predictions
sigma = np.std(centred - truth)
kde = scipy.stats.gaussian_kde(centred, bw_method="scott")
h = np.sqrt(kde.covariance[0, 0])
grid = np.linspace(centred.min(), centred.max(), 512)
u = (grid[:, None] - centred[None, :]) / h
w = np.exp(-0.5 * u**2)
score = (w * -u / h).sum(1) / w.sum(1)
step = np.std(centred) * 1e-3
difference = (np.log(kde(grid + step)) - np.log(kde(grid - step))) / (2 * step)


def at(z):
    return np.interp(z, grid, score)


tweedie = centred - sigma**2 * at(centred)
naive = scipy.stats.ttest_ind(predictions[treated], predictions[~treated], equal_var=False)
effect = predictions[treated].mean() - predictions[~treated].mean()
se = np.sqrt(predictions[treated].var(ddof=1) / treated.sum() + predictions[~treated].var(ddof=1) / (~treated).sum())
assert abs(naive.statistic - effect / se) < 1e-12
out = {
    "truth": truth.tolist(),
    "predictions": predictions.tolist(),
    "areas": areas.tolist(),
    "treated": treated.tolist(),
    "line": [a, b],
    "robust": robust.bse.tolist(),
    "clustered": clustered.bse.tolist(),
    "forward": [alpha, beta],
    "sigma": sigma,
    "score": score[::37].tolist(),
    "difference": difference[::37].tolist(),
    "tweedie": tweedie.tolist(),
    "effect": [effect, se],
    "delta": [effect / b, np.sqrt(se**2 / b**2 + effect**2 * robust.bse[1] ** 2 / b**4)],
    "tweedie_effect": tweedie[treated].mean() - tweedie[~treated].mean(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")
