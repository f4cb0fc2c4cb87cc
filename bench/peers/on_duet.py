"""The works on duet, as an engine calls it: buffers are made by the first call and kept."""
import numpy as np

import duet
from works import MARGIN, SCALE, TEACHER_SCALE, pair_distances, sample, upstream


def gradients(s):
    return {"grad_a": s["grad_a"], "grad_v": s["grad_v"]}


class OnDuet:
    def __init__(self, library):
        self.library = library

    def distance(self, x, threads, backward=False):
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make("distance_inputs", x=x["a"], y=x["v"], metric=duet.EUCLIDEAN)
        above = upstream(n) if backward else None

        def call():
            if not s:
                s.update(D=np.empty((n, n), np.float32), workspace=lib.workspace("distance", inputs))
                s["outputs"] = duet.make("distance_outputs", distances=s["D"])
                if backward:
                    s.update(grad_a=np.empty_like(x["a"]), grad_v=np.empty_like(x["v"]))
                    s["gradients"] = duet.make("distance_gradients", distances=s["D"], grad_distances=above,
                                               grad_x=s["grad_a"], grad_y=s["grad_v"])
            lib.run("distance_forward", inputs, s["outputs"], s["workspace"])
            if backward:
                s["grad_a"].fill(0), s["grad_v"].fill(0)
                lib.run("distance_backward", inputs, s["gradients"], s["workspace"])
            return s

        return call, lambda s: {"D": s["D"][:64], **(gradients(s) if backward else {})}

    def distance_both(self, x, threads):
        return self.distance(x, threads, backward=True)

    def alignment(self, x, threads):
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make("alignment_inputs", a=x["a"], v=x["v"], scale=np.array([SCALE], np.float32),
                           score=duet.INNER)

        def call():
            if not s:
                s.update(rows=np.empty(n, np.float32), columns=np.empty(n, np.float32),
                         workspace=lib.workspace("alignment", inputs))
                s["outputs"] = duet.make("alignment_outputs", lse_row=s["rows"], lse_column=s["columns"])
            lib.run("alignment_forward", inputs, s["outputs"], s["workspace"])
            return {"rows": s["rows"], "columns": s["columns"]}

        return call, dict

    def _two_sided(self, x, threads, operation, inputs, statistics, row_weight, column_weight, backward=True):
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}

        def call():
            if not s:
                s.update(workspace=lib.workspace(operation, inputs), rows=np.empty(n, np.float32),
                         columns=np.empty(n, np.float32), row_statistics=np.empty((n, statistics), np.float32),
                         column_statistics=np.empty((n, statistics), np.float32))
                told = {name: s[name] for name in ("row_statistics", "column_statistics")}
                s["outputs"] = duet.make(operation + "_outputs", row_loss=s["rows"], column_loss=s["columns"], **told)
                if backward:
                    s.update(grad_a=np.empty_like(x["a"]), grad_v=np.empty_like(x["v"]))
                    s["gradients"] = duet.make(operation + "_gradients", row_weight=row_weight,
                                               column_weight=column_weight, **told, **gradients(s))
            lib.run(operation + "_forward", inputs, s["outputs"], s["workspace"])
            s["loss"] = float(s["rows"] @ row_weight + s["columns"] @ column_weight)
            if backward:
                s["grad_a"].fill(0), s["grad_v"].fill(0)
                lib.run(operation + "_backward", inputs, s["gradients"], s["workspace"])
            return s

        return call, lambda s: {"loss": s["loss"], **(gradients(s) if backward else {})}

    def infonce(self, x, threads):
        n = len(x["a"])
        inputs = duet.make("contrastive_inputs", kind=duet.INFONCE, a=x["a"], v=x["v"],
                           scale=np.array([SCALE], np.float32))
        half = np.full(n, 0.5 / n, np.float32)
        return self._two_sided(x, threads, "contrastive", inputs, 3, half, half)

    def distillation(self, x, threads, soft=True, backward=True):
        n = len(x["a"])
        agreement = {name: x[name]
                     for name in ("class_a", "class_v", "trust_a", "trust_v", "kappa_a", "kappa_v")} if soft else {}
        inputs = duet.make("distillation_inputs", student_a=x["a"], student_v=x["v"], teacher_a=x["teacher_a"],
                           teacher_v=x["teacher_v"], scale=np.array([SCALE], np.float32),
                           teacher_scale=np.array([TEACHER_SCALE], np.float32), paired=1, **agreement)
        weights = [x[name] / np.float32(2 * n) for name in ("trust_a", "trust_v")]
        return self._two_sided(x, threads, "distillation", inputs, 5, *weights, backward=backward)

    def distillation_forward(self, x, threads):
        return self.distillation(x, threads, backward=False)

    def distillation_teacher(self, x, threads):
        return self.distillation(x, threads, soft=False, backward=False)

    def mining(self, x, threads):
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make("mining_inputs", x=x["a"], y=x["v"], labels_x=x["labels_a"], labels_y=x["labels_v"],
                           metric=duet.EUCLIDEAN)
        names = [name for name, _ in duet.STRUCTS["duet_mining_hard_side"]._fields_[1:]]

        def call():
            if not s:
                for side in ("rows", "columns"):
                    s[side] = {name: np.empty(n, np.int32 if "index" in name else np.float32) for name in names}
                    s[side + "_outputs"] = duet.make("mining_hard_side", **s[side])
                s["workspace"] = lib.workspace("mining", inputs)
                s["outputs"] = duet.make("mining_hard_outputs",
                                         **{side: duet.addressof(s[side + "_outputs"])
                                            for side in ("rows", "columns")})
            lib.run("mining_hard", inputs, s["outputs"], s["workspace"])
            return {side: (s[side]["positive_index"], s[side]["negative_index"]) for side in ("rows", "columns")}

        return call, lambda mined: pair_distances(x, mined)

    def _triplet(self, x, threads, inputs):
        """In one pass, as a training step calls it."""
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}
        one = np.ones(1, np.float32)

        def call():
            if not s:
                s.update(workspace=lib.workspace("triplet", inputs), loss_rows=np.empty(n, np.float32),
                         active_rows=np.empty(n, np.float32), loss=np.empty(1, np.float32),
                         active=np.empty(1, np.float32))
                s.update({name: np.empty_like(x["a"]) for name in ("sum_a", "sum_v", "grad_a", "grad_v")})
                rows = {"row_loss": s["loss_rows"], "row_active": s["active_rows"]}
                sums = {"sum_x": s["sum_a"], "sum_y": s["sum_v"]}
                s.update(
                    outputs=duet.make("triplet_outputs", **rows, **sums),
                    parts=duet.make("triplet_loss_inputs", **rows),
                    total=duet.make("triplet_loss_outputs", loss=s["loss"], active=s["active"]),
                    sums=duet.make("triplet_sums", **sums),
                    gradients=duet.make("triplet_gradients", active=s["active"], grad_loss=one, grad_x=s["grad_a"],
                                        grad_y=s["grad_v"]))
            s["grad_a"].fill(0), s["grad_v"].fill(0)
            lib.run("triplet_forward", inputs, s["outputs"], s["workspace"])
            lib.run("triplet_loss", s["parts"], s["total"])
            lib.run("triplet_add_gradient", s["sums"], s["gradients"])
            return s

        return call, lambda s: {"loss": float(s["loss"][0]), **gradients(s)}

    def triplet_soft(self, x, threads, margin=MARGIN):
        return self._triplet(
            x, threads,
            duet.make("triplet_inputs", x=x["a"], y=x["v"], class_x=x["class_a"], class_y=x["class_v"],
                      trust_x=x["trust_a"], trust_y=x["trust_v"], metric=duet.SQEUCLIDEAN, mining=duet.ALL,
                      margin=margin, paired=1))

    def triplet_labels(self, x, threads, margin=MARGIN):
        return self._triplet(
            x, threads,
            duet.make("triplet_inputs", x=x["a"], y=x["v"], labels_x=x["labels_a"], labels_y=x["labels_v"],
                      metric=duet.SQEUCLIDEAN, mining=duet.ALL, margin=margin))

    def retrieval(self, x, threads):
        lib, n, s = duet.Duet(self.library, threads), len(x["a"]), {}
        inputs = duet.make("retrieval_inputs", queries=x["a"], gallery=x["v"], query_labels=x["labels_a"],
                           gallery_labels=x["labels_v"])

        def call():
            if not s:
                s.update(precision=np.empty(n, np.float32), workspace=lib.workspace("retrieval", inputs))
                s["outputs"] = duet.make("retrieval_outputs", average_precision=s["precision"])
            lib.run("retrieval_forward", inputs, s["outputs"], s["workspace"])
            return s["precision"]

        return call, lambda precision: {"precision": precision, "sample": precision[sample(n)]}
