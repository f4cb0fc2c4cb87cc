"""Miners as modules, with pytorch-metric-learning's names and arguments: indices of anchors, positives, negatives.

One set mined with itself leaves out each row's own pair.
"""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .. import _interface as c
from ..distances import METRICS
from ..triplets import _DISTANCE_WEIGHTED, _HARD
from ._labels import check_labels, compact, label_sides, relation
from ._tensors import TensorCall, matrix, numbers, step_number, words
from .distances import LpDistance, _Distance

__all__ = ["BatchHardMiner", "DistanceWeightedMiner", "TripletMarginMiner"]

Triplets = tuple[Tensor, Tensor, Tensor]
_READS = ((matrix, "embeddings"), (matrix, "ref_emb"), (numbers, "labels"), (numbers, "ref_labels"), (numbers, "group"),
          (numbers, "group"), (words, "label_sets"))
_hard_call = TensorCall(_HARD, _READS, ("metric", "exclude_own"))
_drawn_call = TensorCall(_DISTANCE_WEIGHTED, (*_READS, (step_number, "step")),
                         ("draw.seed", "draw.slots", "metric", "exclude_own"))
_ANCHORS_OF_BLOCK = 256  # whose distances to all rows are held at a time


class _Miner(torch.nn.Module):
    def __init__(self, distance: Optional[_Distance] = None) -> None:
        super().__init__()
        self.distance = LpDistance() if distance is None else distance

    def forward(self, embeddings: Tensor, labels: Tensor, ref_emb: Optional[Tensor] = None,
                ref_labels: Optional[Tensor] = None) -> Triplets:
        """Triplets (three vectors of int64) of anchors among embeddings (n x d) and others among ref_emb (m x d).

        labels: n; or n x C of 0 and 1: rows that share a class are positives, a row without one takes no part.
        """
        if (ref_emb is None) != (ref_labels is None):
            raise ValueError("ref_emb, ref_labels: expected both or neither")
        check_labels(labels, embeddings, "labels", "embeddings")
        if ref_emb is not None and ref_labels is not None:
            check_labels(ref_labels, ref_emb, "ref_labels", "ref_emb")
        with torch.no_grad():
            alone = ref_emb is None or ref_emb is embeddings
            x = self.distance.maybe_normalize(embeddings.detach()).float()
            y = x if ref_emb is None else self.distance.maybe_normalize(ref_emb.detach()).float()
            labels = labels.to(embeddings.device)
            of_ref = labels if ref_labels is None else ref_labels.to(embeddings.device)
            return self.mine(x, y, *compact(labels, of_ref), alone)

    def mine(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool) -> Triplets:
        raise NotImplementedError


class BatchHardMiner(_Miner):
    """For each anchor its farthest positive and nearest negative, where it has both; ties to the lowest index."""

    def mine(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool) -> Triplets:
        found = torch.empty((2, x.shape[0]), dtype=torch.int32, device=x.device)
        of_x, of_y, sets = label_sides(labels_x, labels_y, "labels", "ref_labels")
        _hard_call((x, y, of_x, of_y, None, None, sets), (METRICS[self.distance.metric], alone),
                   (*found, None, None))
        (anchors,) = torch.where((found >= 0).all(dim=0))
        return anchors, found[0, anchors].long(), found[1, anchors].long()


class TripletMarginMiner(_Miner):
    """Every triplet that violates the margin: "all", of them those whose negative is nearer than the positive ("hard")
    or not ("semihard"); or those that do not violate it ("easy"). Distances are held for some anchors at a time."""

    def __init__(self, margin: float = 0.2, type_of_triplets: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type_of_triplets not in ("all", "hard", "semihard", "easy"):
            raise ValueError(f"type_of_triplets: expected all, hard, semihard or easy, got {type_of_triplets!r}")
        self.margin, self.type_of_triplets = margin, type_of_triplets

    def mine(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool) -> Triplets:
        blocks = []
        columns = torch.arange(y.shape[0], device=x.device)
        for first in range(0, x.shape[0], _ANCHORS_OF_BLOCK):
            rows = slice(first, first + _ANCHORS_OF_BLOCK)
            distances = self.distance.compute_mat(x[rows], y)
            positive, negative = relation(labels_x[rows], labels_y)
            if alone:
                positive &= columns != columns[rows, None]
            # Of each positive pair the negatives of its anchor.
            anchors, positives = torch.where(positive)
            for part in torch.split(torch.arange(anchors.shape[0], device=x.device), _ANCHORS_OF_BLOCK):
                of, at = anchors[part], positives[part]
                gap = -self.distance.margin(distances[of, at][:, None], distances[of])
                kept = gap > self.margin if self.type_of_triplets == "easy" else gap <= self.margin
                if self.type_of_triplets == "hard":
                    kept &= gap <= 0
                elif self.type_of_triplets == "semihard":
                    kept &= gap > 0
                pair, negatives = torch.where(kept & negative[of])
                blocks.append(torch.stack([of[pair] + first, at[pair], negatives]))
        found = torch.cat(blocks, dim=1) if blocks else torch.empty((3, 0), dtype=torch.int64, device=x.device)
        return found[0], found[1], found[2]


class DistanceWeightedMiner(_Miner):
    """With each positive of an anchor a negative, drawn by its distance on the unit sphere; distances are raised to
    cutoff, and from nonzero_loss_cutoff on no negative is drawn. Draws come from PyTorch's generator
    (torch.manual_seed). The kernel's constants are 0.5 and 1.4; of others distances are held for some anchors at a
    time."""

    def __init__(self, cutoff: float = 0.5, nonzero_loss_cutoff: float = 1.4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if (not isinstance(self.distance, LpDistance) or not self.distance.normalize_embeddings
                or self.distance.power != 1):
            raise ValueError("distance: expected LpDistance(normalize_embeddings=True, p=2, power=1)")
        self.cutoff, self.nonzero_loss_cutoff = cutoff, nonzero_loss_cutoff

    def mine(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, alone: bool) -> Triplets:
        blocks = [slice(first, first + _ANCHORS_OF_BLOCK) for first in range(0, x.shape[0], _ANCHORS_OF_BLOCK)]
        counts = [relation(labels_x[rows], labels_y)[0].sum(dim=1).max() for rows in blocks if y.shape[0]]
        slots = int(torch.stack(counts).max()) if counts else 0
        by_kernel = (self.cutoff, self.nonzero_loss_cutoff) == (0.5, 1.4)
        draw = self._drawn_by_kernel if by_kernel else self._drawn
        drawn = (draw(x, y, labels_x, labels_y, slots, alone) if slots else
                 torch.empty((x.shape[0], 0), dtype=torch.int64, device=x.device))
        columns = torch.arange(y.shape[0], device=x.device)
        found = [torch.empty((3, 0), dtype=torch.int64, device=x.device)]
        for rows in blocks:
            positive, _ = relation(labels_x[rows], labels_y)
            if alone:
                positive &= columns != columns[rows, None]
            anchors, positives = torch.where(positive)
            # The k-th positive of an anchor goes with its k-th draw.
            place = positive.cumsum(dim=1)[anchors, positives] - 1
            negatives = drawn[rows][anchors, place].long()
            kept = negatives >= 0
            found.append(torch.stack([anchors[kept] + rows.start, positives[kept], negatives[kept]]))
        triplets = torch.cat(found, dim=1)
        return triplets[0], triplets[1], triplets[2]

    def _drawn_by_kernel(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, slots: int,
                         alone: bool) -> Tensor:
        """Negatives of each anchor (n x slots, int32), -1 for none."""
        drawn = torch.empty((x.shape[0], slots), dtype=torch.int32, device=x.device)
        step = torch.randint(2**32, (1,)).to(x.device)
        of_x, of_y, sets = label_sides(labels_x, labels_y, "labels", "ref_labels")
        _drawn_call((x, y, of_x, of_y, None, None, sets, step), (0, slots, METRICS["euclidean"], alone),
                    (drawn, None))
        return drawn

    def _drawn(self, x: Tensor, y: Tensor, labels_x: Tensor, labels_y: Tensor, slots: int, alone: bool) -> Tensor:
        """The same of any cutoffs, by the density of docs/METHOD.md, section 3."""
        drawn = torch.full((x.shape[0], slots), -1, dtype=torch.int64, device=x.device)
        d = x.shape[1]
        # Equal rows of different classes have the distance 0; 1e-30 keeps its logarithm finite.
        least = max(self.cutoff, 1e-30)
        for first in range(0, x.shape[0], _ANCHORS_OF_BLOCK):
            rows = slice(first, first + _ANCHORS_OF_BLOCK)
            distances = self.distance.compute_mat(x[rows], y).clamp(min=least)
            _, negative = relation(labels_x[rows], labels_y)
            outside = ~(negative & (distances < self.nonzero_loss_cutoff))
            log_p = (2 - d) * distances.log() - (d - 3) / 2 * (1 - distances**2 / 4).clamp(min=1e-8).log()
            log_p = log_p.masked_fill(outside, -torch.inf)
            (some,) = torch.where(~outside.all(dim=1))
            if some.numel():
                drawn[first + some] = torch.multinomial(log_p[some].softmax(dim=1), slots, replacement=True)
        return drawn
