"""Words and token ids of the `tokenizers` library, for tests/tokenizer.rs.

    pip install tokenizers
    python tokenizer.py SmolLM2-135M-Instruct.Q4_1.gguf > tokenizer.json

The tokenizer is built from the vocabulary and the merges of the GGUF file, which is read here. Texts are the listed ones and mixtures
of their kinds drawn with a fixed seed. The library takes text only, so nothing here is invalid UTF-8; unpaired surrogates cannot occur.
Characters that Unicode assigned lately are avoided: the library's tables may be older than ours.
"""

import json
import random
import struct
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
PRE = {
    "gpt-2": GPT2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    "llama-bpe": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated"), BYTES]),
}

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog, and it's the dog's 3rd day; they'll say I'd've DON'T 'S 'Re 'ſ 'x.",
    "fn main() {\n    let x: Vec<u32> = (0..10).map(|i| i * i).collect();\n\tprintln!(\"{x:?}\"); // done\n}\n",
    "def f(a, b=None):\n    return {**a, 'b': b}  # \\n\n\n\nif __name__ == \"__main__\":\r\n    f({})\r\n",
    "SELECT * FROM t WHERE a >= 10 AND b <> 'it''s' ORDER BY 1;-- end",
    "1234567890 3.14159 -2.5e-10 0xDEADBEEF 1,000,000 v2.0.1 2024-11-27T15:04:05Z ¼ ½ ² ³ ⅷ ٣٤٥ १२३ 四",
    "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo; ¿qué? ¡Sí, señor! año pingüino",
    "emoji 😀🚀 👩‍🔬 👨‍👩‍👧‍👦 🏳️‍🌈 🇪🇸🇯🇵 \U0001f972 ☺️ 1️⃣ end",
    "combining: e\u0301 n\u0303 Z\u0351\u036b\u0343a\u0300\u0300\u0300lgo कि़ न\u093eम ก\u0e33ลัง \u0301alone",
    "日本語とカタカナ、漢字。한국어 문장입니다. 中文没有空格，怎么分？ 𠀀𠀁",
    "русский язык, ελληνικά, עברית, العربية, ไทย, հայերեն, ქართული, አማርኛ",
    "control \x00\x01\x02\x03\x05\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x15\x17\x18\x19\x1a\x1b\x1c\x1e\x1f\x7f\x80\x85\x9f end",
    "bytes without a token \x04\x06\x13\x14\x16\x1d, a\x04b \U00050000 \U000c0000 end",
    "spaces\u00a0nbsp\u2003em\u2009thin\u200bzero\u3000ideographic\u2028line\u2029paragraph\ufeffbom\u180emongolian",
    "a  b   c    d\t\te\n\nf\r\n\r\ng \n h\t\n i   \n   j\n \n \n k  ",
    "\n", "\n\n\n", "   ", " \n ", "\t\t\t\tx", "x" + " " * 70 + "y", " " * 100, "\n" * 50 + "z", "\r\n" * 20,
    "pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "a" * 300, "ab" * 200, "=" * 200, "-" * 77 + ">" + "_" * 33, "🚀" * 40, "é" * 100, "0" * 40,
    "https://example.org/path?q=a%20b&c=%F0%9F%98%80#frag user.name+tag@example.co.uk C:\\Users\\x /usr/local/bin",
    "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|endoftext|> <|im_end|><|im_endx|> <|im_start |> a<|im_end|>b <repo_name>x<file_sep>y<filename>",
    "$\\alpha_{t+1} = \\sqrt{\\beta^2 - 4ac}$ ≤ ≥ ∑∏∫ ∀x∈ℝ: x² ≥ 0 ⇒ ⟨ψ|φ⟩ 𝒜𝔅ℂ",
    "{\"key\": [1, 2.5, null, true], \"näm\": \"va\\u00e9lue\\n\"}",
    "ALL CAPS camelCase snake_case kebab-case PascalCaseXMLHttp iPhone15 3D 2nd x86_64 GPT-4o",
    "“quotes” ‘single’ «guillemets» — em – en … ellipsis • bullet © ® ™ ° № § ¶ † ‡ ‰ €£¥₹",
    "\ue000 private \uf8ff \U000f0000 \ufffd replacement \ufffc \u0378 unassigned",
]

PIECES = [
    " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "a", "the", " the", "ing", "Z", "é", "ñ", "ß", "İ", "ſ", "'s", "'ll", "'", "'D", "1", "42", "²",
    "٣", "Ⅷ", ".", ",", "...", "(", ")", "{", "}", "_", "-", "--", "==", "#", "\\", "/", "<|im_end|>", "<", "|", "日", "本", "語", "한", "글", "я", "ω",
    "ا", "न", "\u093f", "\u0301", "😀", "\u200d", "\ufe0f", "🏽", "\x00", "\x1b", "\x04", "\x7f", "\u0085", "\ufeff", "𝒜", "function", " return", " int", "0x", "self", ";",
]


def read_gguf(path: str) -> dict:
    data = open(path, "rb").read()
    at = 8
    formats = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def number(form: str):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def value(kind: int):
        nonlocal at
        if kind == 8:
            length = number("Q")
            at += length
            return data[at - length : at].decode()
        if kind == 9:
            kind, length = number("I"), number("Q")
            return [value(kind) for _ in range(length)]
        return number(formats[kind])

    number("Q")
    return {value(8): value(number("I")) for _ in range(number("Q"))}


def byte_letters() -> dict:
    """GPT-2's letter for each byte, by its rule."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def words(pre, text: str) -> list:
    """The bytes of each word, in hexadecimal."""
    letters = byte_letters()
    return [bytes(letters[c] for c in word).hex() for word, _ in pre.pre_tokenize_str(text)]


def main() -> None:
    keys = read_gguf(sys.argv[1])
    tokens, kinds = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    vocab = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds))}
    merges = [tuple(merge.split(" ")) for merge in keys["tokenizer.ggml.merges"]]
    plain = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    plain.pre_tokenizer = PRE[keys["tokenizer.ggml.pre"]]
    special = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    special.pre_tokenizer = plain.pre_tokenizer
    special.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3]
    )
    draw = random.Random(1)
    mixed = ["".join(draw.choice(PIECES) for _ in range(draw.randint(2, 40))) for _ in range(200)]
    cases = []
    for text in TEXTS + mixed:
        case = {"text": text, "tokens": plain.encode(text).ids}
        if "<" in text:
            case["special"] = special.encode(text).ids
        cases.append(case)
    cut = [{"text": text} | {name: words(pre, text) for name, pre in PRE.items()} for text in TEXTS + mixed[:60]]
    print(f'{{"tokenizers": "{tokenizers.__version__}",\n"texts": [')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
    print('],\n"words": [')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cut))
    print("]}")


if __name__ == "__main__":
    main()
