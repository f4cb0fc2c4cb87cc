"""What the works that are compared have in common: their inputs, and when two answers are the same.

A system's form of a work, form(inputs, threads), gives (call, read): call does the work once, and nothing else; read
makes of what it returns the arrays that are compared. Only call is timed."""
import numpy as np

MARGIN, SCALE, TEACHER_SCALE = 0.2, 10.0, 10.0


def unit_rows(rng, n, d):
    x = rng.standard_normal((n, d), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distributions(rng, n, classes):
    """Half of them one-hot, as annotated samples have them."""
    p = np.exp(rng.uniform(-2, 2, (n, classes)))
    p /= p.sum(1, keepdims=True)
    return np.where(rng.random((n, 1)) < 0.5, np.eye(classes)[rng.integers(0, classes, n)], p).astype(np.float32)


def draw(n, d, classes):
    rng = np.random.default_rng(n)
    coins = lambda low: np.where(rng.random(n) < 0.5, 1, low).astype(np.float32)
    return {
        "a": unit_rows(rng, n, d),
        "v": unit_rows(rng, n, d),
        "teacher_a": unit_rows(rng, n, d),
        "teacher_v": unit_rows(rng, n, d),
        "class_a": distributions(rng, n, classes),
        "class_v": distributions(rng, n, classes),
        "trust_a": coins(0.5),
        "trust_v": coins(0.25),
        "kappa_a": coins(0.5),
        "kappa_v": coins(0.5),
        "labels_a": rng.integers(0, classes, n, dtype=np.int32),
        "labels_v": rng.integers(0, classes, n, dtype=np.int32),
    }


def upstream(n):
    """dL/dD, where a work's output is the matrix itself."""
    return np.random.default_rng(n + 1).uniform(-1, 1, (n, n)).astype(np.float32)


def sample(n):
    """Queries of the systems that take one query at a time; their time is scaled up to all."""
    return slice(0, None, max(1, n // 64))


def pair_distances(x, mined):
    """Distances of mined pairs, so that ties between equally good ones do not count as different answers."""
    step, out = 4096, {}
    for side, own, other in (("rows", x["a"], x["v"]), ("columns", x["v"], x["a"])):
        for sign, index in zip(("positive", "negative"), mined[side]):
            index, parts = np.asarray(index), (slice(i, i + step) for i in range(0, len(own), step))
            out[f"{side}_{sign}"] = np.concatenate(
                [np.linalg.norm(own[p].astype(np.float64) - other[index[p]], axis=1) for p in parts]
            )
    return out


def hinge_slack(form, x):
    """Triplets within 4e-6 of the hinge may fall on either side in float32 (docs/METHOD.md 3): the share of the largest
    gradient entry that they move, from duet's gradients with the margin moved by as much either way."""

    def gradients(margin):
        call, read = form(x, 1, margin)
        return read(call())

    wide, narrow = gradients(MARGIN + 4e-6), gradients(MARGIN - 4e-6)
    return max(
        float(np.abs(wide[name] - narrow[name]).max() / np.abs(wide[name]).max()) for name in ("grad_a", "grad_v")
    )


def difference(answer, expected, slack=0.0):
    """"" where all agree to 1e-4 of the larger of 1 (losses, distances) or of the largest entry (gradients, to which
    slack is added); else what does not."""
    for name, want in expected.items():
        if name not in answer:
            continue
        got, want = np.asarray(answer[name], np.float64), np.asarray(want, np.float64)
        gradient = name.startswith("grad")
        gap = np.abs(got - want).max() / (np.abs(want).max() if gradient else max(1.0, np.abs(want).max()))
        if not gap <= 1e-4 + (slack if gradient else 0):
            return f"{name} differs by {gap:.1e}"
    return ""
