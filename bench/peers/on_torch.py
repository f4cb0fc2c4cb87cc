"""The works as PyTorch's users write them, eager or compiled, and as pytorch-metric-learning's do."""
import functools
import logging

import torch
import torch.nn.functional as F

from works import MARGIN, SCALE, TEACHER_SCALE, pair_distances, upstream

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns where CUDA is installed without a GPU


def tensors(x, leaves=("a", "v")):
    """Views of the same memory that duet reads."""
    out = {name: torch.from_numpy(array) for name, array in x.items()}
    for name in leaves:
        out[name] = torch.from_numpy(x[name]).requires_grad_()
    return out


def with_gradients(loss_of, x):
    t = tensors(x)

    def call():
        t["a"].grad = t["v"].grad = None
        loss = loss_of(t)
        loss.backward()
        return loss

    return call, lambda loss: {"loss": loss.item(), **gradients(t)}


def gradients(t):
    return {"grad_a": t["a"].grad.numpy(), "grad_v": t["v"].grad.numpy()}


def infonce_loss(t):
    scores = t["a"] @ t["v"].T * SCALE
    own = torch.arange(len(scores))
    return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))


def divergence(student, teacher, dim):
    log_student, log_teacher = F.log_softmax(student, dim), F.log_softmax(teacher, dim)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim)


def soft_divergence(student, teacher, agreement, kappa, dim):
    to_labels = F.kl_div(F.log_softmax(student, dim), agreement, reduction="none").sum(dim)
    return torch.lerp(divergence(student, teacher, dim), to_labels, kappa)


def agreement_weights(t):
    return t["class_a"] @ t["class_v"].T


def with_own_pairs(weights, own):
    weights.fill_diagonal_(own)
    return weights


def scores_of(t):
    return t["a"] @ t["v"].T * SCALE, t["teacher_a"] @ t["teacher_v"].T * TEACHER_SCALE


def trusted(by_row, by_column, t):
    return 0.5 * ((t["trust_a"] * by_row).mean() + (t["trust_v"] * by_column).mean())


def teacher_loss(t):
    student, teacher = scores_of(t)
    return trusted(divergence(student, teacher, 1), divergence(student, teacher, 0), t)


def distillation_loss(t):
    student, teacher = scores_of(t)
    together = agreement_weights(t)
    rows = with_own_pairs(together * t["trust_v"], 1.0)
    columns = with_own_pairs(together * t["trust_a"][:, None], 1.0)
    by_row = soft_divergence(student, teacher, rows / rows.sum(1, keepdim=True), t["kappa_a"], 1)
    by_column = soft_divergence(student, teacher, columns / columns.sum(0, keepdim=True), t["kappa_v"], 0)
    return trusted(by_row, by_column, t)


class SortedTriplets(torch.autograd.Function):
    """All triplets of every row of D at once: rows sorted, sums up to each reach. Its derivative by D is known once the
    sums are."""

    @staticmethod
    def forward(ctx, D, positive, negative, trust):
        near, order = (each.contiguous() for each in D.sort(dim=1))
        p, w = positive.gather(1, order).double(), negative.gather(1, order).double()
        reach = near + MARGIN
        before = torch.searchsorted(near, reach)  # how many columns are nearer than the reach of each
        weight = F.pad(w.cumsum(1), (1, 0)).gather(1, before)
        nearness = F.pad((w * near).cumsum(1), (1, 0)).gather(1, before)
        active = trust[:, None] * p * weight
        total = active.sum()
        per_weight = torch.where(total > 0, 1 / total, 0)
        short = F.pad(p.cumsum(1), (1, 0))
        reached_by = short[:, -1:] - short.gather(1, torch.searchsorted(reach, near, right=True))
        slope = (active - trust[:, None] * w * reached_by) * per_weight
        ctx.save_for_backward(torch.zeros_like(D).scatter_(1, order, slope.to(D.dtype)))
        return ((trust[:, None] * p * (reach * weight - nearness)).sum() * per_weight).to(D.dtype)

    @staticmethod
    def backward(ctx, above):
        return above * ctx.saved_tensors[0], None, None, None


def squared_distances(x, y):
    return x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T


def triplet_soft_loss(t):
    together = agreement_weights(t)
    positive = with_own_pairs(together * t["trust_v"], 1.0)
    negative = with_own_pairs((1 - together) * t["trust_v"], 0.0)
    return SortedTriplets.apply(squared_distances(t["a"], t["v"]), positive, negative, t["trust_a"])


def triplet_labels_loss(t):
    same = (t["labels_a"][:, None] == t["labels_v"]).float()
    return SortedTriplets.apply(squared_distances(t["a"], t["v"]), same, 1 - same, torch.ones(len(same)))


def hardest(x, y, labels_x, labels_y):
    D = torch.cdist(x, y)
    same = labels_x[:, None] == labels_y
    return D.masked_fill(~same, -torch.inf).argmax(1), D.masked_fill(same, torch.inf).argmin(1)


def logsumexps(t):
    scores = t["a"] @ t["v"].T * SCALE
    return scores.logsumexp(1), scores.logsumexp(0)


compiled = functools.lru_cache(maxsize=None)(torch.compile)


class OnTorch:
    def __init__(self, compiles):
        self.wrap = compiled if compiles else lambda function: function

    def _forward(self, x, function, *names):
        t, function = tensors(x, leaves=()), self.wrap(function)
        return lambda: function(*(t[name] for name in names)) if names else function(t)

    def distance(self, x, threads):
        return self._forward(x, torch.cdist, "a", "v"), lambda D: {"D": D[:64].numpy()}

    def distance_both(self, x, threads):
        t, cdist, above = tensors(x), self.wrap(torch.cdist), torch.from_numpy(upstream(len(x["a"])))

        def call():
            t["a"].grad = t["v"].grad = None
            D = cdist(t["a"], t["v"])
            D.backward(above)
            return D

        return call, lambda D: {"D": D[:64].detach().numpy(), **gradients(t)}

    def alignment(self, x, threads):
        return self._forward(x, logsumexps), lambda sums: {"rows": sums[0].numpy(), "columns": sums[1].numpy()}

    def infonce(self, x, threads):
        return with_gradients(self.wrap(infonce_loss), x)

    def distillation_teacher(self, x, threads):
        return self._forward(x, teacher_loss), lambda loss: {"loss": loss.item()}

    def distillation_forward(self, x, threads):
        return self._forward(x, distillation_loss), lambda loss: {"loss": loss.item()}

    def distillation(self, x, threads):
        return with_gradients(self.wrap(distillation_loss), x)

    def triplet_soft(self, x, threads):
        return with_gradients(self.wrap(triplet_soft_loss), x)

    def triplet_labels(self, x, threads):
        return with_gradients(self.wrap(triplet_labels_loss), x)

    def mining(self, x, threads):
        t, mine = tensors(x, leaves=()), self.wrap(hardest)

        def call():
            return {
                "rows": mine(t["a"], t["v"], t["labels_a"], t["labels_v"]),
                "columns": mine(t["v"], t["a"], t["labels_v"], t["labels_a"]),
            }

        return call, lambda mined: pair_distances(x, mined)

    def retrieval(self, x, threads):
        """1024 queries at a time: all at once would take 8 bytes an entry for the order alone."""
        t = tensors(x, leaves=())

        def precision(queries, labels):
            order = (queries @ t["v"].T).argsort(dim=1, descending=True)
            relevant = (t["labels_v"][order] == labels[:, None]).float()
            at = relevant.cumsum(1) / torch.arange(1, relevant.shape[1] + 1)
            return (at * relevant).sum(1) / relevant.sum(1)

        def call():
            return torch.cat([precision(q, l) for q, l in zip(t["a"].split(1024), t["labels_a"].split(1024))])

        return call, lambda precision: {"precision": precision.numpy()}

    def product(self, x, threads):
        """Into memory that is there already, as the bare product of duet-bench stores its result."""
        t, out = tensors(x, leaves=()), torch.zeros(len(x["a"]), len(x["v"]))
        return lambda: torch.mm(t["a"], t["v"].T, out=out), lambda D: {}


class OnMetricLearning:
    """pytorch-metric-learning; cross-modal by its reference embeddings."""

    def mining(self, x, threads):
        from pytorch_metric_learning import distances, miners
        t = tensors(x, leaves=())
        miner = miners.BatchHardMiner(distance=distances.LpDistance(normalize_embeddings=False))

        def mine(own, labels, other, other_labels):
            anchors, positives, negatives = miner(own, labels, other, other_labels)
            if len(anchors) != len(own):
                raise RuntimeError("an anchor without positive or negative")
            return positives, negatives

        def call():
            return {
                "rows": mine(t["a"], t["labels_a"], t["v"], t["labels_v"]),
                "columns": mine(t["v"], t["labels_v"], t["a"], t["labels_a"]),
            }

        return call, lambda mined: pair_distances(x, mined)

    def triplet_labels(self, x, threads):
        from pytorch_metric_learning import distances, losses
        loss = losses.TripletMarginLoss(
            margin=MARGIN, distance=distances.LpDistance(normalize_embeddings=False, power=2)
        )
        return with_gradients(lambda t: loss(t["a"], t["labels_a"], ref_emb=t["v"], ref_labels=t["labels_v"]), x)
