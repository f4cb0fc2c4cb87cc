"""Distances as modules, with pytorch-metric-learning's names and arguments."""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from . import functional as F

__all__ = ["CosineSimilarity", "LpDistance"]


class _Distance(torch.nn.Module):
    """normalize_embeddings: rows are divided by their norms first. is_inverted: larger values are nearer."""

    is_inverted = False
    metric: str  # what the kernels call it

    def __init__(self, normalize_embeddings: bool = True, p: float = 2, power: float = 1) -> None:
        super().__init__()
        if p != 2:
            raise ValueError(f"p: expected 2, got {p}")
        self.normalize_embeddings, self.p, self.power = normalize_embeddings, p, power

    def forward(self, query_emb: Tensor, ref_emb: Optional[Tensor] = None) -> Tensor:
        """n x m, of query_emb (n x d) and ref_emb (m x d; None: query_emb)."""
        for each in (query_emb, ref_emb):
            if each is not None and each.ndim != 2:
                raise ValueError("embeddings must be a 2D tensor of shape (batch_size, embedding_size)")
        query = self.maybe_normalize(query_emb)
        ref = query if ref_emb is None else self.maybe_normalize(ref_emb)
        return self.compute_mat(query, ref)

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Of rows as they are; with the power."""
        raise NotImplementedError

    def normalize(self, embeddings: Tensor) -> Tensor:
        return F.unit_rows(embeddings)

    def maybe_normalize(self, embeddings: Tensor) -> Tensor:
        return self.normalize(embeddings) if self.normalize_embeddings else embeddings

    def get_norm(self, embeddings: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(embeddings, dim=1)
        return norms

    def smallest_dist(self, *args: Any, **kwargs: Any) -> Any:
        return (torch.max if self.is_inverted else torch.min)(*args, **kwargs)

    def largest_dist(self, *args: Any, **kwargs: Any) -> Any:
        return (torch.min if self.is_inverted else torch.max)(*args, **kwargs)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """How much farther x is than y."""
        return y - x if self.is_inverted else x - y


class LpDistance(_Distance):
    """The Euclidean distance between rows, to a power."""

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        if self.power == 2:
            return F.distance(query_emb, ref_emb, "sqeuclidean")
        out = F.distance(query_emb, ref_emb, "euclidean")
        return out if self.power == 1 else out**self.power

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Of rows of equal number (n); PyTorch's, which adds 1e-6 to each difference."""
        return torch.nn.functional.pairwise_distance(query_emb, ref_emb)

    @property
    def metric(self) -> str:  # type: ignore[override]
        if self.power not in (1, 2):
            raise ValueError(f"power: expected 1 or 2 where the distances are not stored, got {self.power}")
        return "euclidean" if self.power == 1 else "sqeuclidean"


class CosineSimilarity(_Distance):
    """The cosine of the angle between rows: a similarity."""

    is_inverted = True
    metric = "cosine"  # of the kernels that mine: 1 - similarity, which orders pairs alike

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not self.normalize_embeddings:
            raise ValueError("normalize_embeddings: expected True")

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        out = F.distance(query_emb, ref_emb, "inner")
        return out if self.power == 1 else out**self.power

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        return torch.sum(query_emb * ref_emb, dim=1)
