"""Blocks and numbers of the `gguf` package, for tests/quants.rs.

    pip install gguf
    python quants.py > quants.json

`read`: random blocks of every type with scales of ordinary size, and the numbers that they stand for. `write`: normal numbers (with a block of
zeros and a lonely large one among them), and the blocks that they become. Numbers are little-endian f32, everything is hexadecimal.
"""

import importlib.metadata
import json

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

# Bytes of a block, and where its half-precision scales are.
READ = {
    "F16": (2, [0]),
    "BF16": (2, []),
    "Q4_0": (18, [0]),
    "Q4_1": (20, [0, 2]),
    "Q8_0": (34, [0]),
    "Q4_K": (144, [0, 2]),
    "Q6_K": (210, [208]),
}
WRITE = ["F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]


def main() -> None:
    draw = np.random.default_rng(1)
    read, write = [], []
    for name, (size, scales) in READ.items():
        blocks = draw.integers(0, 256, (3 if size > 100 else 8, size), dtype=np.uint8)
        for at in scales:
            values = (draw.normal(size=len(blocks)) * 0.1).astype(np.float16)
            blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)
        if name == "BF16":
            blocks = draw.normal(size=len(blocks)).astype("<f4").view(np.uint8).reshape(-1, 4)[:, 2:].copy()
        kind = gguf.GGMLQuantizationType[name]
        numbers = dequantize(blocks.reshape(-1), kind).astype("<f4")
        read.append({"kind": name, "blocks": blocks.tobytes().hex(), "numbers": numbers.tobytes().hex()})
    numbers = draw.normal(size=(8, 32)).astype("<f4") * np.float32(0.05)
    numbers[2] = 0
    numbers[3, 7] = 9.5
    numbers[4] = np.abs(numbers[4])
    for name in WRITE:
        blocks = quantize(numbers, gguf.GGMLQuantizationType[name])
        write.append({"kind": name, "numbers": numbers.tobytes().hex(), "blocks": blocks.tobytes().hex()})
    record = {"gguf": importlib.metadata.version("gguf"), "read": read, "write": write}
    lines = {key: ",\n".join(map(json.dumps, record[key])) for key in ("read", "write")}
    print(f'{{"gguf": "{record["gguf"]}",\n"read": [\n{lines["read"]}\n],\n"write": [\n{lines["write"]}\n]}}')


if __name__ == "__main__":
    main()
