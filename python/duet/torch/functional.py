"""duet's operations on tensors, differentiable where they are in mathematics; docs/METHOD.md has the formulas.

Inputs of float16 and bfloat16 stand for the float32 of the same value; results are float32. CPU and CUDA tensors; CUDA
calls go to PyTorch's current stream and wait for nothing.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Optional, Union

import torch
from torch import Tensor

from .. import losses as _losses
from .._results import of_choices, real
from ..distances import METRICS
from ..triplets import _MININGS, _metric
from . import _ops, _pair_ops
from ._eager import watched
from ._labels import label_sides

__all__ = ["alignment", "contrastive", "cross_entropy", "decorrelation", "distance", "distillation", "triplet",
           "unit_rows"]

Temperature = Union[float, Tensor]


def _float(tensor: Tensor) -> Tensor:
    """Types that the kernels do not read become float32; autograd follows."""
    return tensor if tensor.dtype in (torch.float32, torch.float16, torch.bfloat16) else tensor.float()


def _still(tensor: Tensor) -> Tensor:
    """Without a gradient to come."""
    return tensor.detach() if tensor.requires_grad else tensor


def _scale(temperature: Temperature, like: Tensor, name: str = "temperature") -> Tensor:
    """1 / temperature, a vector of one number on the device of like; autograd follows a tensor."""
    if isinstance(temperature, Tensor):
        return (1.0 / temperature.float()).reshape(1).to(like.device)
    if not temperature > 0:
        raise ValueError(f"{name}: expected a number above 0, got {temperature}")
    return _number(1.0 / temperature, like)


def _number(value: float, like: Tensor) -> Tensor:
    """A vector of one number, where like lies."""
    if like.is_cpu and not watched():
        return _constant(value)
    return torch.full((1,), value, dtype=torch.float32, device=like.device)


@lru_cache(maxsize=64)
def _constant(value: float) -> Tensor:
    with torch.inference_mode(False):  # what inference makes autograd does not save
        return torch.tensor([value], dtype=torch.float32, device="cpu")


def distance(x: Tensor, y: Tensor, metric: str = "euclidean") -> Tensor:
    """Distances (n x m) between the rows of x (n x d) and y (m x d): "euclidean", "sqeuclidean", "cosine", "inner"."""
    out: Tensor = _ops.distance(_float(x), _float(y), of_choices(METRICS, metric, "metric"))
    return out


def unit_rows(x: Tensor) -> Tensor:
    """x (n x d) with each row divided by its norm, or by 1e-12 where that is larger."""
    out: Tensor = _ops.unit_rows(_float(x))
    return out


def decorrelation(a: Tensor, v: Tensor) -> Tensor:
    """The mean square of the off-diagonal cross-correlations of the columns of a and v (n x d): a scalar."""
    out: Tensor = _ops.decorrelation(_float(a), _float(v))
    return out.reshape(())


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_c targets_ic log softmax(logits_i)_c of each row (n); targets (n x C): distributions, without gradient."""
    out: Tensor = _ops.cross_entropy(_float(logits), _float(targets))
    return out


def contrastive(a: Tensor, v: Tensor, kind: str = "infonce", *, temperature: Temperature = 0.1,
                bias: Union[float, Tensor] = 0.0, class_a: Optional[Tensor] = None, class_v: Optional[Tensor] = None,
                trust_a: Optional[Tensor] = None, trust_v: Optional[Tensor] = None, labels_a: Optional[Tensor] = None,
                labels_v: Optional[Tensor] = None, group_a: Optional[Tensor] = None, group_v: Optional[Tensor] = None,
                annotated_a: Optional[Tensor] = None, annotated_v: Optional[Tensor] = None, paired: bool = True,
                exclude_own: bool = False, margin: float = 0.0, first_row: int = 0,
                first_column: int = 0) -> tuple[Tensor, Optional[Tensor]]:
    """The terms of a contrastive loss: of each row of a (n x d), and of each row of v (m x d; None of "sigmoid").

    kind and the other arguments: as of duet.contrastive(). temperature and bias may be tensors of one number and then
    have gradients.
    """
    of_kind = of_choices(_losses._KINDS, kind, "kind")
    a, v = _float(a), _float(v)
    of_bias = None
    if kind == "sigmoid":
        of_bias = (bias.float().reshape(1).to(a.device) if isinstance(bias, Tensor) else _number(bias, a))
    elif isinstance(bias, Tensor) or bias != 0:
        raise ValueError(f"bias: expected 0 with kind {kind!r}, which has none")
    labels_a, labels_v, sets = label_sides(labels_a, labels_v, "labels_a", "labels_v")
    rows, columns = _pair_ops.contrastive(
        a, v, _scale(temperature, a), of_bias, class_a, class_v, trust_a, trust_v, labels_a, labels_v, group_a, group_v,
        annotated_a, annotated_v, sets, of_kind, paired and class_a is not None and kind == "multi_positive",
        exclude_own, real(margin, "margin"), first_row, first_column)[:2]
    return rows, None if kind == "sigmoid" else columns


def distillation(student_a: Tensor, student_v: Tensor, teacher_a: Tensor, teacher_v: Tensor, *,
                 temperature: Temperature = 0.1, teacher_temperature: Optional[float] = None,
                 class_a: Optional[Tensor] = None, class_v: Optional[Tensor] = None, trust_a: Optional[Tensor] = None,
                 trust_v: Optional[Tensor] = None, kappa_a: Optional[Tensor] = None, kappa_v: Optional[Tensor] = None,
                 group_a: Optional[Tensor] = None, group_v: Optional[Tensor] = None,
                 annotated_a: Optional[Tensor] = None, annotated_v: Optional[Tensor] = None, paired: bool = True,
                 exclude_own: bool = False, first_row: int = 0, first_column: int = 0) -> tuple[Tensor, Tensor]:
    """The terms of the KL divergence of the student's alignment from its targets, of rows and of columns.

    Arguments as of duet.distillation(). No gradient flows into teacher, classes, trust or kappa.
    """
    a, v = _float(student_a), _float(student_v)
    scale = _scale(temperature, a)
    teacher_scale = _still(scale if teacher_temperature is None else _scale(teacher_temperature, a,
                                                                            "teacher_temperature"))
    rows, columns = _pair_ops.distillation(
        a, v, scale, class_a, class_v, trust_a, trust_v, kappa_a, kappa_v, group_a, group_v,
        _still(_float(teacher_a)), _still(_float(teacher_v)), teacher_scale, annotated_a, annotated_v, paired,
        exclude_own, first_row, first_column)[:2]
    return rows, columns


def alignment(a: Tensor, v: Tensor, *, temperature: Temperature = 0.1, score: str = "inner",
              exclude_own: bool = False) -> tuple[Tensor, Tensor]:
    """Log-sum-exps of the scores of a (n x d) and v (m x d) over rows (n) and over columns (m)."""
    a, v = _float(a), _float(v)
    rows, columns = _pair_ops.alignment(a, v, _scale(temperature, a), of_choices(METRICS, score, "score"), exclude_own)
    return rows, columns


def triplet(x: Tensor, y: Tensor, labels_x: Optional[Tensor] = None, labels_y: Optional[Tensor] = None, *,
            mining: str = "all", margin: float = 0.2, metric: str = "sqeuclidean", class_x: Optional[Tensor] = None,
            class_y: Optional[Tensor] = None, trust_x: Optional[Tensor] = None, trust_y: Optional[Tensor] = None,
            group_x: Optional[Tensor] = None, group_y: Optional[Tensor] = None, annotated_x: Optional[Tensor] = None,
            annotated_y: Optional[Tensor] = None, paired: bool = False, exclude_own: bool = False, seed: int = 0,
            step: int = 0, slots: int = 1) -> Tensor:
    """Mean over the active triplets of anchors x (n x d) with y (m x d): a scalar. Arguments as of duet.triplet()."""
    x, y = _float(x), _float(y)
    of_step = torch.tensor([step], dtype=torch.int64, device=x.device) if mining == "distance_weighted" else None
    labels_x, labels_y, sets = label_sides(labels_x, labels_y, "labels_x", "labels_y")
    loss: Tensor = _pair_ops.triplet(
        x, y, class_x, class_y, trust_x, trust_y, labels_x, labels_y, group_x, group_y, annotated_x, annotated_y, sets,
        of_step, _metric(metric), of_choices(_MININGS, mining, "mining"), real(margin, "margin"), paired, exclude_own,
        seed, slots)[0]
    return loss
