"""The works that are compared: inputs, and how each system's users write them. Every form is a function of the inputs that gives a function to
call; what that returns is checked against duet's answer before anything is timed."""
import numpy as np

import duet

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
    return {"a": unit_rows(rng, n, d), "v": unit_rows(rng, n, d), "teacher_a": unit_rows(rng, n, d), "teacher_v": unit_rows(rng, n, d),
            "class_a": distributions(rng, n, classes), "class_v": distributions(rng, n, classes), "trust_a": coins(0.5), "trust_v": coins(0.25),
            "kappa_a": coins(0.5), "kappa_v": coins(0.5), "labels_a": rng.integers(0, classes, n, dtype=np.int32),
            "labels_v": rng.integers(0, classes, n, dtype=np.int32)}


def upstream(n):
    """dL/dD, where a work's output is the matrix itself."""
    return np.random.default_rng(n + 1).uniform(-1, 1, (n, n)).astype(np.float32)


class OnDuet:
    """Each method prepares a work; buffers are made by the first call and kept, as an engine keeps them."""

    def __init__(self, library):
        self.library = library

    def distance(self, x, threads, backward=False):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make(duet.DistanceInputs, x=x["a"], y=x["v"], metric=duet.EUCLIDEAN)
        above = upstream(n) if backward else None

        def run():
            if not state:
                state.update(out=np.empty((n, n), np.float32), workspace=lib.workspace("distance", inputs))
                if backward:
                    state.update(grad_a=np.zeros_like(x["a"]), grad_v=np.zeros_like(x["v"]))
            lib.run("distance_forward", inputs, state["out"], state["workspace"])
            if backward:
                lib.run("distance_backward", inputs, state["out"], above, state["grad_a"], state["grad_v"], state["workspace"])
                return {"D": state["out"][:64].copy(), "grad_a": state["grad_a"].copy(), "grad_v": state["grad_v"].copy()}
            return {"D": state["out"][:64].copy()}

        return run

    def distance_both(self, x, threads):
        return self.distance(x, threads, backward=True)

    def alignment(self, x, threads):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make(duet.AlignmentInputs, a=x["a"], v=x["v"], scale=np.array([SCALE], np.float32), score=duet.INNER)

        def run():
            if not state:
                state.update(rows=np.empty(n, np.float32), columns=np.empty(n, np.float32), workspace=lib.workspace("alignment", inputs))
            lib.run("alignment_forward", inputs, state["rows"], state["columns"], state["workspace"])
            return {"rows": state["rows"].copy(), "columns": state["columns"].copy()}

        return run

    def _two_sided(self, x, threads, operation, inputs, statistics, row_weight, column_weight, trailing):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}

        def run():
            if not state:
                state.update(workspace=lib.workspace(operation, inputs), rows=np.empty(n, np.float32), columns=np.empty(n, np.float32),
                             row_statistics=np.empty((n, statistics), np.float32), column_statistics=np.empty((n, statistics), np.float32),
                             grad_a=np.zeros_like(x["a"]), grad_v=np.zeros_like(x["v"]))
            s = state
            lib.run(operation + "_forward", inputs, s["rows"], s["columns"], s["row_statistics"], s["column_statistics"], s["workspace"])
            loss = float(s["rows"].astype(np.float64) @ row_weight + s["columns"].astype(np.float64) @ column_weight)
            lib.run(operation + "_backward", inputs, s["row_statistics"], s["column_statistics"], row_weight, column_weight, s["grad_a"],
                    s["grad_v"], *trailing, s["workspace"])
            return {"loss": loss, "grad_a": s["grad_a"].copy(), "grad_v": s["grad_v"].copy()}

        return run

    def infonce(self, x, threads):
        n = len(x["a"])
        inputs = duet.make(duet.ContrastiveInputs, kind=duet.INFONCE, a=x["a"], v=x["v"], scale=np.array([SCALE], np.float32))
        half = np.full(n, 0.5 / n, np.float32)
        return self._two_sided(x, threads, "contrastive", inputs, 2, half, half, [duet.Vector(), duet.Vector()])

    def distillation(self, x, threads):
        n = len(x["a"])
        inputs = duet.make(duet.DistillationInputs, student_a=x["a"], student_v=x["v"], teacher_a=x["teacher_a"], teacher_v=x["teacher_v"],
                           class_a=x["class_a"], class_v=x["class_v"], trust_a=x["trust_a"], trust_v=x["trust_v"], kappa_a=x["kappa_a"],
                           kappa_v=x["kappa_v"], scale=np.array([SCALE], np.float32), teacher_scale=np.array([TEACHER_SCALE], np.float32), paired=1)
        return self._two_sided(x, threads, "distillation", inputs, 3, x["trust_a"] / np.float32(2 * n), x["trust_v"] / np.float32(2 * n),
                               [duet.Vector()])

    def mining(self, x, threads):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make(duet.MiningInputs, x=x["a"], y=x["v"], labels_x=x["labels_a"], labels_y=x["labels_v"], metric=duet.EUCLIDEAN)

        def run():
            if not state:
                for side in ("rows", "columns"):
                    state[side] = {name: np.empty(n, np.int32 if "index" in name else np.float32) for name, _ in duet.MiningHardOutputs._fields_[1:]}
                    state[side + "_outputs"] = duet.make(duet.MiningHardOutputs, **state[side])
                state["workspace"] = lib.workspace("mining", inputs)
            lib.run("mining_hard", inputs, duet.byref(state["rows_outputs"]), duet.byref(state["columns_outputs"]), state["workspace"])
            return {side + "_" + sign: pair_distances(x, side, state[side][sign + "_index"])
                    for side in ("rows", "columns") for sign in ("positive", "negative")}

        return run

    def _triplet(self, x, threads, inputs):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}
        one = np.ones(1, np.float32)

        def run():
            if not state:
                state.update(workspace=lib.workspace("triplet", inputs), loss_rows=np.empty(n, np.float32), active_rows=np.empty(n, np.float32),
                             loss=np.empty(1, np.float32), active=np.empty(1, np.float32), grad_a=np.zeros_like(x["a"]), grad_v=np.zeros_like(x["v"]))
            s = state
            lib.run("triplet_forward", inputs, s["loss_rows"], s["active_rows"], s["workspace"])
            lib.call("triplet_loss", lib.context, s["loss_rows"], s["active_rows"], s["loss"], s["active"])
            lib.run("triplet_backward", inputs, s["active"], one, s["grad_a"], s["grad_v"], s["workspace"])
            return {"loss": float(s["loss"][0]), "grad_a": s["grad_a"].copy(), "grad_v": s["grad_v"].copy()}

        return run

    def triplet_soft(self, x, threads, margin=MARGIN):
        return self._triplet(x, threads, duet.make(duet.TripletInputs, x=x["a"], y=x["v"], class_x=x["class_a"], class_y=x["class_v"],
                                                   trust_x=x["trust_a"], trust_y=x["trust_v"], metric=duet.SQEUCLIDEAN, mining=duet.ALL,
                                                   margin=margin, paired=1))

    def triplet_labels(self, x, threads, margin=MARGIN):
        return self._triplet(x, threads, duet.make(duet.TripletInputs, x=x["a"], y=x["v"], labels_x=x["labels_a"], labels_y=x["labels_v"],
                                                   metric=duet.SQEUCLIDEAN, mining=duet.ALL, margin=margin))

    def retrieval(self, x, threads):
        lib, n, state = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make(duet.RetrievalInputs, queries=x["a"], gallery=x["v"], query_labels=x["labels_a"], gallery_labels=x["labels_v"])

        def run():
            if not state:
                state.update(precision=np.empty(n, np.float32), workspace=lib.workspace("retrieval", inputs))
            outputs = duet.make(duet.RetrievalOutputs, average_precision=state["precision"])
            lib.run("retrieval_forward", inputs, duet.byref(outputs), state["workspace"])
            return {"precision": state["precision"].copy(), "sample": state["precision"][sample(n)]}

        return run


def sample(n):
    """Queries of the systems that take one query at a time; their time is scaled up to all."""
    return slice(0, None, max(1, n // 64))


def pair_distances(x, side, index):
    """Distances of mined pairs, so that ties between equally good ones do not count as different answers."""
    own, other = (x["a"], x["v"]) if side == "rows" else (x["v"], x["a"])
    step, out = 4096, np.empty(len(own))
    for i in range(0, len(own), step):
        part = slice(i, i + step)
        out[part] = np.linalg.norm(own[part].astype(np.float64) - other[index[part]], axis=1)
    return out


def hinge_slack(form, x):
    """Triplets within 4e-6 of the hinge may fall on either side in float32 (docs/METHOD.md 3): the share of the largest gradient entry that
    they move, from duet's gradients with the margin moved by as much either way."""
    wide, narrow = (form(x, 1, MARGIN + step)() for step in (4e-6, -4e-6))
    return max(float(np.abs(wide[name] - narrow[name]).max() / np.abs(wide[name]).max()) for name in ("grad_a", "grad_v"))


def difference(answer, expected, slack=0.0):
    """"" where all agree to 1e-4 of the larger of 1 (losses, distances) or of the largest entry (gradients, to which slack is added); else what
    does not."""
    for name, want in expected.items():
        if name not in answer:
            continue
        got, want = np.asarray(answer[name], np.float64), np.asarray(want, np.float64)
        gradient = name.startswith("grad")
        gap = np.abs(got - want).max() / (np.abs(want).max() if gradient else max(1.0, np.abs(want).max()))
        if not gap <= 1e-4 + (slack if gradient else 0):
            return f"{name} differs by {gap:.1e}"
    return ""
