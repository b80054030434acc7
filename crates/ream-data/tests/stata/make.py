"""Makes the Stata files beside it with pandas: three releases of one table, one of them with texts of any length (strL)."""

from pathlib import Path

import numpy as np
import pandas as pd

table = pd.DataFrame({
    "i8": np.array([1, -2, 3], dtype=np.int8),
    "i16": np.array([1000, -2000, 3000], dtype=np.int16),
    "i32": np.array([100000, -200000, 300000], dtype=np.int32),
    "f32": np.array([0.1, np.nan, -2.5], dtype=np.float32),
    "f64": np.array([0.1, 1e-300, np.nan]),
    "name": ["ann", "b,ob", ""],
    "arm": pd.Categorical(["control", "treated", "control"]),
    "day": pd.to_datetime(["1960-01-02", "2000-01-01", "1959-12-31"]),
})
folder = Path(__file__).parent
for version in (114, 117, 118):
    convert_strl = ["name"] if version == 117 else None
    table.to_stata(folder / f"{version}.dta", version=version, write_index=False, convert_dates={"day": "td"}, convert_strl=convert_strl)
