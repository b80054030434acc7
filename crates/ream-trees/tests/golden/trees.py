"""Golden values for ream-trees, from scikit-learn's histogram gradient boosting.

    python -m venv VENV && VENV/bin/pip install numpy scikit-learn
    VENV/bin/python trees.py > trees.json

Columns have fewer distinct values than there are bins, so that both sides cut at the same places. Rows are integers, made by a formula, and are
stored beside the predictions; the version is stored under "version".
"""

import json

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

ROWS = 500
i = np.arange(ROWS)
columns = [(i * 37 + i * i) % 41, (i * 101 + 7 * (i // 9)) % 60, (i * i * i + 3 * i) % 23]
x = np.column_stack(columns).astype(float)
noise = np.sin(12.9898 * i) * 43758.5453
noise -= np.floor(noise)
y = np.sin(x[:, 0] / 6) + np.where(x[:, 1] > 25, 1.0, x[:, 2] / 10) + noise
paid = (y > np.median(y)).astype(int)

settings = {
    "few leaves": {"max_iter": 30, "max_leaf_nodes": 8, "min_samples_leaf": 20, "l2_regularization": 0.0},
    "a penalty": {"max_iter": 20, "max_leaf_nodes": 15, "min_samples_leaf": 5, "l2_regularization": 2.0},
    "shallow": {"max_iter": 25, "max_leaf_nodes": 31, "max_depth": 3, "min_samples_leaf": 10, "l2_regularization": 0.5},
}
fits = []
for name, options in settings.items():
    for sample_weight in [None, 0.5 + (i % 4)]:
        common = {"learning_rate": 0.1, "early_stopping": False, "max_bins": 255, **options}
        squared = HistGradientBoostingRegressor(**common).fit(x, y, sample_weight=sample_weight)
        logistic = HistGradientBoostingClassifier(**common).fit(x, paid, sample_weight=sample_weight)
        fits.append(
            {
                "name": name,
                "options": options,
                "weighted": sample_weight is not None,
                "squared": squared.predict(x).tolist(),
                "logistic": logistic.predict_proba(x)[:, 1].tolist(),
            }
        )
golden = {
    "version": sklearn.__version__,
    "columns": [c.tolist() for c in columns],
    "y": y.tolist(),
    "paid": paid.tolist(),
    "fits": fits,
}
print(json.dumps(golden))
