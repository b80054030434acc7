"""Prompts rendered from a model's own chat template, and their token ids, for tests/smollm2.rs.

    pip install tokenizers jinja2
    python chat.py SmolLM2-135M-Instruct.Q4_1.gguf > chat.json
"""

import json
import sys

import jinja2.sandbox
from tokenizers import AddedToken, Tokenizer, models

from tokenizer import PRE, read_gguf

CONVERSATIONS = [
    [("user", "Hi")],
    [("user", "What is 17 * 3?"), ("assistant", "51"), ("user", "Are you sure?")],
    [("system", "Answer in one word."), ("user", "Capital of France?")],
    [("user", "Say \"quoted\" & <b>bold</b>\n\nwith lines  "), ("assistant", " ok\n"), ("user", "¿Y en español? 😀")],
    [("system", ""), ("user", "")],
    [("assistant", "I begin."), ("system", "late"), ("user", "x")],
    [],
]


def main() -> None:
    keys = read_gguf(sys.argv[1])
    tokens, kinds = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in keys["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = PRE[keys["tokenizer.ggml.pre"]]
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3]
    )
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(keys["tokenizer.chat_template"])
    cases = []
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        prompt = template.render(messages=messages, add_generation_prompt=True)
        transcript = template.render(messages=messages, add_generation_prompt=False)
        ids = tokenizer.encode(prompt).ids
        cases.append({"messages": conversation, "prompt": prompt, "transcript": transcript, "tokens": ids})
    print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
