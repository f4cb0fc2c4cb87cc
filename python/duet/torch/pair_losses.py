"""Losses of two modalities as modules: pairs of rows, a teacher, class distributions."""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from . import functional as F

__all__ = ["ClipLoss", "DistillationLoss", "PsdLoss", "SigLipLoss", "SoftTripletLoss"]


class ClipLoss(torch.nn.Module):
    """InfoNCE of pairs (n x d each), the mean of both directions; rows are normalized.

    temperature: a number or a tensor.
    """

    def __init__(self, temperature: F.Temperature = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        rows, columns = F.contrastive(F.unit_rows(a), F.unit_rows(v), temperature=self.temperature)
        assert columns is not None
        return (rows.mean() + columns.mean()) / 2


class SigLipLoss(torch.nn.Module):
    """The sigmoid loss of pairs (n x d each), with a learned temperature and bias; rows are normalized."""

    def __init__(self, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = torch.nn.Parameter(torch.tensor(1.0 / temperature).log())
        self.bias = torch.nn.Parameter(torch.tensor(bias))

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        rows, _ = F.contrastive(F.unit_rows(a), F.unit_rows(v), "sigmoid", temperature=torch.exp(-self.log_scale),
                                bias=self.bias)
        return rows.mean()


class DistillationLoss(torch.nn.Module):
    """KL of the student's alignment from the teacher's, and where classes are given from their agreement: L_kl of
    docs/METHOD.md, section 5. Arguments of forward(): as of functional.distillation()."""

    def __init__(self, temperature: F.Temperature = 0.1, teacher_temperature: Optional[float] = None) -> None:
        super().__init__()
        self.temperature, self.teacher_temperature = temperature, teacher_temperature

    def forward(self, student_a: Tensor, student_v: Tensor, teacher_a: Tensor, teacher_v: Tensor,
                trust_a: Optional[Tensor] = None, trust_v: Optional[Tensor] = None, **targets: Any) -> Tensor:
        if trust_a is not None and "class_a" in targets:
            targets |= {"trust_a": trust_a, "trust_v": trust_v}
        rows, columns = F.distillation(student_a, student_v, teacher_a, teacher_v, temperature=self.temperature,
                                       teacher_temperature=self.teacher_temperature, **targets)
        n, m = max(1, rows.shape[0]), max(1, columns.shape[0])
        of_rows = rows if trust_a is None else rows * trust_a
        of_columns = columns if trust_v is None else columns * trust_v
        return (of_rows.sum() / n + of_columns.sum() / m) / 2


class SoftTripletLoss(torch.nn.Module):
    """Triplets of two modalities, weighted by the agreement of class distributions, both ways: L_cross of
    docs/METHOD.md, section 6.5."""

    def __init__(self, margin: float = 0.2, metric: str = "sqeuclidean") -> None:
        super().__init__()
        self.margin, self.metric = margin, metric

    def forward(self, a: Tensor, v: Tensor, class_a: Tensor, class_v: Optional[Tensor] = None,
                trust_a: Optional[Tensor] = None, trust_v: Optional[Tensor] = None, paired: bool = True,
                annotated_a: Optional[Tensor] = None, annotated_v: Optional[Tensor] = None) -> Tensor:
        """a, v: n x d, m x d. class_a, class_v: n x C, m x C (None: class_a); trust_a, trust_v: n, m, 0 to 1;
        annotated_a, annotated_v: n, m, not 0 where a row's classes are known (functional.contrastive())."""
        class_v = class_a if class_v is None else class_v
        trust_v = trust_a if trust_v is None else trust_v
        annotated_v = annotated_a if annotated_v is None else annotated_v
        common: dict[str, Any] = dict(margin=self.margin, metric=self.metric, paired=paired)
        there = F.triplet(a, v, class_x=class_a, class_y=class_v, trust_x=trust_a, trust_y=trust_v,
                          annotated_x=annotated_a, annotated_y=annotated_v, **common)
        back = F.triplet(v, a, class_x=class_v, class_y=class_a, trust_x=trust_v, trust_y=trust_a,
                         annotated_x=annotated_v, annotated_y=annotated_a, **common)
        return there + back


class PsdLoss(torch.nn.Module):
    """One step's loss of progressive self-distillation on embeddings: L_cross + 0.5 rho (L_kl + L_soft) + L_lab of
    docs/METHOD.md, section 6, from a teacher's embeddings and logits; without the pair term, and with lift 1 (both need
    what a run keeps from step to step)."""

    def __init__(self, margin: float = 0.2, temperature: float = 0.1, hidden_kappa: float = 0.5) -> None:
        super().__init__()
        self.cross = SoftTripletLoss(margin)
        self.distillation = DistillationLoss(temperature)
        self.hidden_kappa = hidden_kappa

    def forward(self, a: Tensor, v: Tensor, logits_a: Tensor, logits_v: Tensor, teacher_a: Tensor, teacher_v: Tensor,
                teacher_logits_a: Tensor, teacher_logits_v: Tensor, labels: Tensor, annotated: Tensor,
                rho: float = 1.0) -> Tensor:
        """a, v: unit rows, n x d, of the student; logits: n x C, of its classifier; teacher_*: likewise, of the
        teacher. labels: n, below 0: unlabelled, or n x C of 0 and 1; annotated: n, true where a row's label is used in
        this epoch."""
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        several = labels.ndim == 2
        if several and labels.shape[1] != teacher_logits_a.shape[1]:
            raise ValueError(f"labels: expected {teacher_logits_a.shape[1]} classes, as in teacher_logits_a, got "
                             f"{labels.shape[1]}")
        with torch.no_grad():
            annotated = annotated & ((labels != 0).any(dim=1) if several else labels >= 0)
            teacher = ((teacher_logits_a + teacher_logits_v) / 2).float().softmax(dim=1)
            if several:  # equal shares of a row's classes
                known = labels.to(teacher.dtype)
                known = known / known.sum(dim=1, keepdim=True).clamp(min=1)
            else:
                known = torch.nn.functional.one_hot(labels.clamp(min=0).long(), teacher.shape[1]).to(teacher.dtype)
            q = torch.where(annotated[:, None], known, teacher)
            agree = teacher_logits_a.argmax(dim=1) == teacher_logits_v.argmax(dim=1)
            trust = (annotated | agree).to(q.dtype)
            kappa = torch.where(annotated, torch.ones_like(trust), torch.full_like(trust, self.hidden_kappa))
            flags = annotated.to(q.dtype) if several else None
        loss = self.cross(a, v, q, trust_a=trust, annotated_a=flags)
        of_kl = self.distillation(a, v, teacher_a, teacher_v, trust, trust, class_a=q, class_v=q, kappa_a=kappa,
                                  kappa_v=kappa, annotated_a=flags, annotated_v=flags)
        entropy = F.cross_entropy(logits_a, q) + F.cross_entropy(logits_v, q)
        weight = annotated.to(q.dtype)
        of_labels = (entropy * weight).sum() / weight.sum().clamp(min=1)
        of_teacher = (entropy * (1 - weight) * trust).sum() / (1 - weight).sum().clamp(min=1)
        out: Tensor = loss + of_labels + 0.5 * rho * (of_kl + of_teacher)
        return out
