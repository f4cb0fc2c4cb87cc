"""Losses of embeddings with labels as modules, with pytorch-metric-learning's names and arguments, and its numbers
where its definition is ours; docs/PEERS.md says where they are not.

By labels nothing of n x m is stored. By indices_tuple, what a miner returned, memory is that of its pairs or triplets.
"""
from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch import Tensor

from . import functional as F
from ._labels import alike, check_labels, compact, relation
from .distances import CosineSimilarity, LpDistance, _Distance

__all__ = ["CircleLoss", "NTXentLoss", "SupConLoss", "TripletMarginLoss"]

Indices = Optional[tuple[Tensor, ...]]


def _mean_of_positive(losses: Tensor) -> Tensor:
    """The mean of those above 0; 0 where there are none."""
    kept = losses > 0
    return torch.where(kept, losses, torch.zeros_like(losses)).sum() / kept.sum().clamp(min=1)


class _LabelLoss(torch.nn.Module):
    """A loss of embeddings (n x d) with labels (n), against themselves or against ref_emb (m x d) with ref_labels (m).

    Labels may be rows of 0 and 1 (n x C): rows that share a class are positives, a row without one takes no part.

    reducer: None, or what is called with the loss's parts, the embeddings and the labels, as pytorch-metric-learning's
    reducers are. Sums are float32's; the loss has the type of the embeddings.
    """

    def __init__(self, distance: Optional[_Distance] = None, reducer: Optional[Callable[..., Tensor]] = None) -> None:
        super().__init__()
        self.distance = self.default_distance() if distance is None else distance
        self.reducer = reducer

    def default_distance(self) -> _Distance:
        return CosineSimilarity()

    def forward(self, embeddings: Tensor, labels: Optional[Tensor] = None, indices_tuple: Indices = None,
                ref_emb: Optional[Tensor] = None, ref_labels: Optional[Tensor] = None) -> Tensor:
        if labels is None and indices_tuple is None:
            raise ValueError("labels or indices_tuple: expected one of them")
        if ref_emb is not None and labels is not None and ref_labels is None and indices_tuple is None:
            raise ValueError("ref_labels: expected the labels of ref_emb")
        if labels is not None:
            check_labels(labels, embeddings, "labels", "embeddings")
        if ref_emb is not None and ref_labels is not None:
            check_labels(ref_labels, ref_emb, "ref_labels", "ref_emb")
        alone = ref_emb is None or ref_emb is embeddings
        x = self.distance.maybe_normalize(embeddings)
        y = x if alone else self.distance.maybe_normalize(_given(ref_emb))
        if indices_tuple is not None:
            return self.of_indices(x, y, indices_tuple, embeddings, labels).to(embeddings.dtype)
        assert labels is not None
        labels = labels.to(embeddings.device)
        of_ref = labels if alone else _given(ref_labels).to(embeddings.device)
        return self.of_labels(x, y, *compact(labels, of_ref), alone, embeddings, labels).to(embeddings.dtype)

    def of_labels(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool, embeddings: Tensor,
                  labels: Tensor) -> Tensor:
        raise NotImplementedError

    def of_indices(self, x: Tensor, y: Tensor, indices: tuple[Tensor, ...], embeddings: Tensor,
                   labels: Optional[Tensor]) -> Tensor:
        raise NotImplementedError

    def reduced(self, losses: Tensor, indices: Any, kind: str, embeddings: Tensor, labels: Optional[Tensor]) -> Tensor:
        if self.reducer is not None:
            return self.reducer({"loss": {"losses": losses, "indices": indices, "reduction_type": kind}}, embeddings,
                                labels)
        return _mean_of_positive(losses)


def _given(value: Optional[Tensor]) -> Tensor:
    assert value is not None
    return value


def _pairs(indices: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Anchors and positives, anchors and negatives."""
    if len(indices) == 3:
        return indices[0], indices[1], indices[0], indices[2]
    if len(indices) == 4:
        return indices[0], indices[1], indices[2], indices[3]
    raise ValueError(f"indices_tuple: expected 3 or 4 vectors, got {len(indices)}")


def _triplets(indices: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs every positive of an anchor with every negative of it."""
    if len(indices) == 3:
        return indices[0], indices[1], indices[2]
    a1, p, a2, n = _pairs(indices)
    first, second = torch.where(a1[:, None] == a2[None])
    return a1[first], p[first], n[second]


class TripletMarginLoss(_LabelLoss):
    """[d(a, p) - d(a, n) + margin]_+, the mean over the triplets where it is above 0.

    swap: the negative's distance to the positive where that is smaller. smooth_loss: softplus in place of [.]_+. With
    either, or with a reducer, the triplets of the labels are held in memory.
    """

    def __init__(self, margin: float = 0.05, swap: bool = False, smooth_loss: bool = False,
                 triplets_per_anchor: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if triplets_per_anchor != "all":
            raise ValueError(f"triplets_per_anchor: expected 'all', got {triplets_per_anchor!r} (a miner chooses)")
        self.margin, self.swap, self.smooth_loss = margin, swap, smooth_loss

    def default_distance(self) -> _Distance:
        return LpDistance()

    def of_labels(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool, embeddings: Tensor,
                  labels: Tensor) -> Tensor:
        streams = self.margin >= 0 and not (self.swap or self.smooth_loss or self.reducer)
        if streams and isinstance(self.distance, (LpDistance, CosineSimilarity)) and self.distance.power in (1, 2) and (
                self.distance.power == 1 or not self.distance.is_inverted):
            return F.triplet(x, y, labels_x, labels_y, mining="all", margin=self.margin, metric=self.distance.metric,
                             exclude_own=alone)
        positive, negative = relation(labels_x, labels_y)
        if alone:
            positive.fill_diagonal_(False)
        return self.of_indices(x, y, torch.where(positive[:, :, None] & negative[:, None]), embeddings, labels)

    def of_indices(self, x: Tensor, y: Tensor, indices: tuple[Tensor, ...], embeddings: Tensor,
                   labels: Optional[Tensor]) -> Tensor:
        a, p, n = _triplets(indices)
        if a.shape[0] == 0:
            return (embeddings * 0).sum()
        near, far = self.between(x, y, a, p), self.between(x, y, a, n)
        if self.swap:
            far = self.distance.smallest_dist(far, self.between(y, y, p, n))
        gap = self.distance.margin(near, far) + self.margin
        losses = torch.nn.functional.softplus(gap) if self.smooth_loss else torch.relu(gap)
        return self.reduced(losses, (a, p, n), "triplet", embeddings, labels)

    def between(self, x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Distances of row i of x and row j of y, one a pair."""
        return _between(self.distance, x, y, i, j)


def _between(distance: _Distance, x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    if distance.is_inverted:
        out = (x[i] * y[j]).sum(dim=1)
    else:
        out = torch.linalg.vector_norm(x[i] - y[j], dim=1)
    return out if distance.power == 1 else out**distance.power


class _ScoreLoss(_LabelLoss):
    """A loss on scores: similarities, or minus distances. By labels it streams with CosineSimilarity; with another
    distance the n x m scores are held. kind is the kernel's."""

    kind = ""

    def scale(self) -> float:
        raise NotImplementedError

    def margin(self) -> float:
        return 0.0

    def rows(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool) -> Tensor:
        """A term a row; rows of equal number are no pair of their own: labels alone tell."""
        # The own pair of a row is a positive to the kernel; of two sets it is put out of reach of the rows.
        first = 0 if alone else y.shape[0]
        return F.contrastive(x, y, self.kind, temperature=1.0 / self.scale(), labels_a=labels_x, labels_v=labels_y,
                             exclude_own=alone, margin=self.margin(), first_row=first, paired=False)[0]

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        out = self.distance.compute_mat(x, y)
        return out if self.distance.is_inverted else -out

    def streams(self) -> bool:
        """Whether the kernel's scores, inner products, are those of the distance."""
        return isinstance(self.distance, CosineSimilarity) and self.distance.power == 1


class NTXentLoss(_ScoreLoss):
    """-log(e^{s_ap / t} / (e^{s_ap / t} + sum_n e^{s_an / t})), the mean over the positive pairs."""

    kind = "ntxent"

    def __init__(self, temperature: float = 0.07, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature

    def scale(self) -> float:
        return 1.0 / self.temperature

    def of_labels(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool, embeddings: Tensor,
                  labels: Tensor) -> Tensor:
        if self.reducer is not None or not self.streams():
            return self.of_indices(x, y, _all_pairs(labels_x, labels_y, alone), embeddings, labels)
        return self.rows(x, y, labels_x, labels_y, alone).sum() / _positives(labels_x, labels_y, alone).clamp(min=1)

    def of_indices(self, x: Tensor, y: Tensor, indices: tuple[Tensor, ...], embeddings: Tensor,
                   labels: Optional[Tensor]) -> Tensor:
        a1, p, a2, n = _pairs(indices)
        if a1.shape[0] == 0 or a2.shape[0] == 0:
            return (embeddings * 0).sum()
        sign = self.scale() if self.distance.is_inverted else -self.scale()
        near = _between(self.distance, x, y, a1, p) * sign
        far = _between(self.distance, x, y, a2, n) * sign
        # log sum over an anchor's negatives, about the largest of them.
        top = torch.full((x.shape[0],), -torch.inf, dtype=far.dtype, device=far.device)
        top = top.scatter_reduce(0, a2, far.detach(), "amax")
        at = torch.where(top == -torch.inf, torch.zeros_like(top), top)
        sums = torch.zeros_like(top).scatter_add(0, a2, torch.exp(far - at[a2]))
        has = sums[a1] > 0
        log_sum = torch.log(torch.where(has, sums[a1], torch.ones_like(near))) + at[a1]
        losses = torch.where(has, torch.nn.functional.softplus(log_sum - near), torch.zeros_like(near))
        if self.reducer is not None:
            return self.reduced(losses, (a1, p), "pos_pair", embeddings, labels)
        return losses.mean()


def _positives(labels_x: Tensor, labels_y: Tensor, alone: bool) -> Tensor:
    """The number of positive pairs, of compact() labels."""
    if labels_x.dim() == 2:  # some rows' pairs at a time
        blocks = torch.split(labels_x, _ROWS_OF_BLOCK)
        count = torch.stack([alike(each, labels_y).sum() for each in blocks]).sum()
        return count - (labels_x.any(dim=1).sum() if alone else 0)
    of_label = torch.zeros(labels_x.shape[0] + labels_y.shape[0], dtype=torch.int64, device=labels_y.device)
    of_label.index_add_(0, labels_y.long(), torch.ones_like(labels_y, dtype=torch.int64))
    return of_label[labels_x.long()].sum() - (labels_x.shape[0] if alone else 0)


_ROWS_OF_BLOCK = 256


def _all_pairs(labels_x: Tensor, labels_y: Tensor, alone: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    positive, negative = relation(labels_x, labels_y)
    if alone:
        positive.fill_diagonal_(False)
    return (*torch.where(positive), *torch.where(negative))  # type: ignore[return-value]


class _RowLoss(_ScoreLoss):
    """A loss with a term a row."""

    def of_labels(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool, embeddings: Tensor,
                  labels: Tensor) -> Tensor:
        if not self.streams():
            return self.of_indices(x, y, _all_pairs(labels_x, labels_y, alone), embeddings, labels)
        losses = self.rows(x, y, labels_x, labels_y, alone)
        return self.reduced(losses, torch.arange(x.shape[0], device=x.device), "element", embeddings, labels)

    def of_indices(self, x: Tensor, y: Tensor, indices: tuple[Tensor, ...], embeddings: Tensor,
                   labels: Optional[Tensor]) -> Tensor:
        a1, p, a2, n = _pairs(indices)
        positive = torch.zeros((x.shape[0], y.shape[0]), dtype=torch.bool, device=x.device)
        negative = positive.clone()
        positive[a1, p], negative[a2, n] = True, True
        if bool((positive & negative).any()):
            raise ValueError("indices_tuple: a pair is both positive and negative")
        if not bool(positive.any()):
            return (embeddings * 0).sum()
        losses = self.of_masks(self.scores(x, y), positive, negative)
        return self.reduced(losses, torch.arange(x.shape[0], device=x.device), "element", embeddings, labels)

    def of_masks(self, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        raise NotImplementedError


def _masked_log_sum(values: Tensor, kept: Tensor) -> Tensor:
    """Of each row; -inf without one."""
    return torch.logsumexp(values.masked_fill(~kept, -torch.inf), dim=1)


class SupConLoss(_RowLoss):
    """Supervised contrastive loss: of each row the mean -log softmax of its positives, the softmax over all others."""

    kind = "multi_positive"

    def __init__(self, temperature: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature

    def scale(self) -> float:
        return 1.0 / self.temperature

    def of_masks(self, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        scores = scores * self.scale()
        count = positive.sum(dim=1)
        total = torch.where(count > 0, _masked_log_sum(scores, positive | negative), torch.zeros_like(scores[:, 0]))
        mean = torch.where(positive, scores, torch.zeros_like(scores)).sum(dim=1) / count.clamp(min=1)
        return torch.where(count > 0, total - mean, torch.zeros_like(mean))


class CircleLoss(_RowLoss):
    """Circle loss with margin m and scale gamma; rows with a positive and a negative count."""

    kind = "circle"

    def __init__(self, m: float = 0.4, gamma: float = 80, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.m, self.gamma = m, gamma
        if not isinstance(self.distance, CosineSimilarity):
            raise ValueError(f"distance: expected CosineSimilarity(), got {type(self.distance).__name__}")

    def scale(self) -> float:
        return self.gamma

    def margin(self) -> float:
        return self.m

    def of_masks(self, scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        near = -self.gamma * torch.relu(1 + self.m - scores.detach()) * (scores - (1 - self.m))
        far = self.gamma * torch.relu(scores.detach() + self.m) * (scores - self.m)
        counts = positive.any(dim=1) & negative.any(dim=1)
        both = torch.where(counts, _masked_log_sum(near, positive) + _masked_log_sum(far, negative),
                           torch.zeros_like(scores[:, 0]))
        return torch.where(counts, torch.nn.functional.softplus(both), torch.zeros_like(both))
