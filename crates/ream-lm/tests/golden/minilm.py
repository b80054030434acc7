"""Token ids and embeddings of all-MiniLM-L6-v2 from the reference libraries, for tests/minilm.rs.

    pip install torch transformers
    HF_HUB_OFFLINE=1 python minilm.py "$REAM_HOME/data/minilm/files" > minilm.json

Versions that made the stored file are in it. Pooling and scaling are those of the model's own configuration: mean of the last hidden
states of all tokens, length 1, 256 tokens at most.
"""

import json
import sys

import torch
import transformers

TEXTS = [
    "A fast decoder for large language models.",
    "Speculative decoding speeds up generation without changing the distribution.",
    "Crème brûlée naïveté in São Paulo, Ångström, İstanbul",
    "自然语言处理 and 機械学習 カタカナ 한국어",
    "I love it 😀🚀 👩‍🔬 \U0001f972!",
    "In 2024, accuracy rose from 41.8% to 44.2% (p < 0.05) on 1,234,567 tokens.",
    "Let $x_{t+1} = \\alpha x_t + \\epsilon$; see https://arxiv.org/abs/1908.10084v2 and `f(x)`.",
    "A masked token is written [MASK], and [SEP] ends a sentence.",
    "pneumonoultramicroscopicsilicovolcanoconiosis " + "x" * 101,
    "tabs\tand\nlines\r\nand\u00a0spaces\u200b with\u0000nothing \u201cquoted\u201d \u2014 dash",
    "",
    "The quick brown fox jumps over the lazy dog while researchers measure embeddings. " * 30,
]


def main() -> None:
    folder = sys.argv[1]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", mask_token="[MASK]",
    )
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()
    vectors, ids = [], []
    with torch.inference_mode():
        for text in TEXTS:
            tokens = tokenizer(text, truncation=True, max_length=256, padding=False)["input_ids"]
            hidden = model(torch.tensor([tokens])).last_hidden_state[0]
            ids.append(tokens)
            vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0))
    matrix = torch.stack(vectors)
    cosines = matrix @ matrix.T
    record = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "texts": [
            {
                "text": text,
                "tokens": tokens,
                "first": [round(x, 7) for x in vector[:8].tolist()],
                "cosines": [round(x, 7) for x in row.tolist()],
            }
            for text, tokens, vector, row in zip(TEXTS, ids, matrix, cosines)
        ],
    }
    lines = ",\n".join(json.dumps(text, ensure_ascii=True) for text in record["texts"])
    print(f'{{"versions": {json.dumps(record["versions"])},\n"texts": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
