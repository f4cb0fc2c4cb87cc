"""Labels of two sides: a number a row; or rows of 0 and 1, where a row may have several classes (docs/METHOD.md 2 and
6.12)."""
from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

__all__ = ["alike", "check_labels", "compact", "label_sides", "relation"]

_BITS = 32  # classes of a word


def check_labels(labels: Tensor, embeddings: Tensor, name: str, of: str) -> None:
    if labels.ndim not in (1, 2) or labels.shape[0] != embeddings.shape[0]:
        raise ValueError(f"{name}: expected a label a row of {of}, or a row of 0 and 1, got the shape "
                         f"{tuple(labels.shape)}")


def label_sides(x: Optional[Tensor], y: Optional[Tensor], name_x: str,
                name_y: str) -> tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]:
    """Labels as they came, without sets; or, where x is n x C and y m x C, of 0 and 1, for each row the number of its
    set, -1 without a class, and the sets as words of bits ((n + m) x C / 32, int32): every row has a set of its own.

    On a CPU other values than 0 and 1 are refused; on a device, where nothing waits for them, they count as 1.
    """
    if x is None or y is None or (x.dim() != 2 and y.dim() != 2):
        return x, y, None
    x, y = _column(x), _column(y)
    if x.dim() == y.dim() == 1:
        return x, y, None
    _check(x, y, name_x, name_y)
    both = torch.cat([x != 0, y.to(x.device) != 0])
    count, classes = both.shape
    padded = torch.nn.functional.pad(both, (0, -classes % _BITS)).view(count, (classes + _BITS - 1) // _BITS, _BITS)
    places = torch.arange(_BITS, dtype=torch.int64, device=x.device)
    words = (padded.to(torch.int64) << places).sum(dim=2)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    own = torch.arange(count, dtype=torch.int32, device=x.device)
    rows = torch.where(both.any(dim=1), own, torch.full_like(own, -1))
    return rows[: x.shape[0]], rows[x.shape[0]:], words


def _column(labels: Tensor) -> Tensor:
    """A column of numbers (n x 1) as a vector."""
    return labels[:, 0] if labels.dim() == 2 and labels.shape[1] == 1 else labels


def _check(x: Tensor, y: Tensor, name_x: str, name_y: str) -> None:
    if x.dim() != y.dim():
        raise ValueError(f"{name_y}: expected rows of several labels on both sides, or on neither")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{name_y}: expected rows of {x.shape[1]} classes, as in {name_x}, got {y.shape[1]}")
    if not torch.compiler.is_compiling():
        for each, name in ((x, name_x), (y, name_y)):
            if each.is_cpu and not bool(((each == 0) | (each == 1)).all()):
                raise ValueError(f"{name}: expected 0 and 1 in rows of several labels")


def compact(labels: Tensor, ref_labels: Tensor) -> tuple[Tensor, Tensor]:
    """The labels as 0, 1, ...: every value is a class here, -1 too. Rows of 0 and 1 stay such rows. On a device nothing
    waits, so that a CUDA graph may hold it."""
    labels, ref_labels = _column(labels), _column(ref_labels)
    if labels.dim() == 2 or ref_labels.dim() == 2:
        _check(labels, ref_labels, "labels", "ref_labels")
        return labels != 0, ref_labels != 0
    ordered, order = torch.cat([labels, ref_labels]).sort()
    ranks = torch.zeros_like(order)
    ranks[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    inverse = torch.empty_like(order).scatter_(0, order, ranks).to(torch.int32)
    return inverse[: labels.shape[0]], inverse[labels.shape[0]:]


def alike(x: Tensor, y: Tensor) -> Tensor:
    """Which rows (n x m) have the same label, or of compact() rows of 0 and 1 share a class."""
    if x.dim() == 1:
        return x[:, None] == y[None]
    out: Tensor = x.float() @ y.float().T > 0.5  # numbers of classes, which float32 holds
    return out


def relation(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are alike, and which are labelled and are not."""
    same = alike(x, y)
    if x.dim() == 1:
        return same, ~same
    return same, ~same & x.any(dim=1)[:, None] & y.any(dim=1)[None]
