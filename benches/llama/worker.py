"""The side of llama.cpp in `cargo xtask bench lm`: commands on standard input, one line of JSON for each.

    worker.py FILE THREADS

`decode N`: reads a prompt of 32 tokens, then N tokens greedily; seconds of each.
`prefill N`: reads N tokens; seconds.
`pass M`: reads M tokens after 128 others, logits for all of them; seconds.
`memory`: resident bytes. `about`: the version. `quit`.

Only the library's own call is timed, not Python around it; logits are left where the library has them.
"""

import json
import sys
import time

import llama_cpp
import numpy

CONTEXT = 1024


def tokens(count):
    return [1000 + 37 * i for i in range(count)]


class Engine:
    def __init__(self, file, threads):
        self.model = llama_cpp.Llama(
            file, n_ctx=CONTEXT, n_batch=CONTEXT, n_ubatch=CONTEXT, n_threads=threads,
            n_threads_batch=threads, logits_all=True, verbose=False,
        )
        self.context = self.model._ctx
        self.batch = self.model._batch
        self.read = 0

    def reset(self):
        self.context.kv_cache_clear()
        self.read = 0

    def decode(self, ids, logits_all=False):
        self.batch.set_batch(batch=ids, n_past=self.read, logits_all=logits_all)
        begun = time.perf_counter()
        self.context.decode(self.batch)
        # Waits for the results, should the library be lazy.
        self.context.get_logits()
        seconds = time.perf_counter() - begun
        self.read += len(ids)
        return seconds

    def best(self, row):
        pointer = self.context.get_logits_ith(row)
        return int(numpy.ctypeslib.as_array(pointer, (self.model.n_vocab(),)).argmax())

    def answer(self, command, argument):
        if command == "about":
            return {"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode()}
        if command == "memory":
            with open("/proc/self/status") as status:
                line = next(line for line in status if line.startswith("VmRSS"))
            return int(line.split()[1]) * 1024
        count = int(argument)
        self.reset()
        if command == "decode":
            self.decode(tokens(32))
            token, seconds, made = self.best(31), [], []
            for _ in range(count):
                made.append(token)
                seconds.append(self.decode([token]))
                token = self.best(0)
            return {"seconds": seconds, "tokens": made}
        if command == "prefill":
            return {"seconds": [self.decode(tokens(count))]}
        if command == "pass":
            self.decode(tokens(128))
            return {"seconds": [self.decode(tokens(count), logits_all=True)]}
        raise ValueError(f"`{command}` is no command here")


def main():
    engine = Engine(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "quit":
            break
        try:
            reply = engine.answer(command, argument)
        except Exception as error:  # One line for whatever went wrong.
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


main()
