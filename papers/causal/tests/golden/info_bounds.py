"""Makes info_bounds.json: exact f-divergence bounds of weighted samples, from the primal problem.

    pip install mpmath
    python info_bounds.py > info_bounds.json

max sum w s phi subject to sum w s = 1, sum w g(s) <= eta, with g(s) = s f(1/s) evaluated from f itself; the optimality conditions
phi = u + lambda g'(s) are solved for (u, lambda) by nested bisection in 30 digits (mpmath), and E[g(s)] is evaluated from f.
"""
import json
import mpmath as mp

mp.mp.dps = 30
half = mp.mpf(1) / 2
F = {
    "kl": lambda t: t * mp.log(t) if t > 0 else mp.mpf(0),
    "hellinger": lambda t: half * (mp.sqrt(t) - 1) ** 2,
    "chi-square": lambda t: half * (t - 1) ** 2,
    "jensen-shannon": lambda t: half * ((t * mp.log(t) if t > 0 else 0) - (t + 1) * mp.log((t + 1) / 2)),
}
# The s at which g'(s) = f(1/s) - f'(1/s) / s takes a value.
INVERSE = {
    "kl": lambda t: -1 / t,
    "hellinger": lambda t: 1 / (1 - 2 * t) ** 2,
    "chi-square": lambda t: 1 / mp.sqrt(1 - 2 * t),
    "jensen-shannon": lambda t: mp.e ** (2 * t) / (2 - mp.e ** (2 * t)),
}


def bound(name, phi, w, e):
    eta = e * F[name](1 / e) + (1 - e) * F[name](mp.mpf(0))
    # the end of the range of g': f(0)
    end = F[name](mp.mpf(0))
    top = max(phi)

    def ratios(lam):
        low, high = top - lam * end, top + 1000 * lam + 1000
        for _ in range(90):
            u = (low + high) / 2
            s = [INVERSE[name]((p - u) / lam) for p in phi]
            if sum(a * b for a, b in zip(w, s)) > 1:
                low = u
            else:
                high = u
        return s

    low, high = mp.mpf(-12), mp.mpf(12)
    for _ in range(60):
        mid = (low + high) / 2
        s = ratios(mp.e ** mid)
        if sum(a * b * F[name](1 / b) for a, b in zip(w, s)) > eta:
            low = mid
        else:
            high = mid
    return sum(a * b * c for a, b, c in zip(w, s, phi))


cases = []
phi = [mp.mpf(x) for x in ("-1.5", "0.25", "0.5", "2", "3.75")]
w = [mp.mpf(x) for x in ("0.1", "0.3", "0.25", "0.25", "0.1")]
for name in F:
    for e in ("0.3", "0.8"):
        cases.append({
            "divergence": name,
            "e": float(e),
            "upper": float(bound(name, phi, w, mp.mpf(e))),
            "lower": float(-bound(name, [-p for p in phi], w, mp.mpf(e))),
        })
print(json.dumps({"phi": [float(p) for p in phi], "weights": [float(x) for x in w], "cases": cases}, indent=1))
