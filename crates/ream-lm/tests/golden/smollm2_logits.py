"""Writes smollm2_logits.json: what llama.cpp makes of a text with SmolLM2-135M-Instruct in 4 bits.

    pip install llama-cpp-python==0.3.36; python smollm2_logits.py SmolLM2-135M-Instruct.Q4_1.gguf
"""

import json
import pathlib
import sys

import llama_cpp
import numpy

TEXT = (
    "The meaning of life is to be found in the search for truth, and the old king said to his son: go to the sea. "
    "There the boats come home in the evening, and the men carry the fish up the hill to the market."
)

model = llama_cpp.Llama(sys.argv[1], n_ctx=256, n_threads=2, logits_all=True, verbose=False)
tokens = model.tokenize(TEXT.encode(), add_bos=False)
model.eval(tokens)
logits = numpy.array(model.scores[: len(tokens)], dtype=numpy.float64)
law = logits - numpy.log(numpy.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(1, keepdims=True)
losses = [-law[i, tokens[i + 1]] for i in range(len(tokens) - 1)]
best = logits.argsort(1)[:, ::-1][:, :5]
golden = {
    "text": TEXT,
    "tokens": tokens,
    "losses": [round(x, 5) for x in losses],
    "best": best.tolist(),
    "best_logits": [[round(float(logits[i, t]), 4) for t in row] for i, row in enumerate(best)],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
