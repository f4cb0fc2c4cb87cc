"""Fused kernels for cross-modal metric learning, and a trainer on them.

Operations take NumPy arrays, or arrays of other libraries by DLPack or `__cuda_array_interface__`, and return new ones.
PyTorch: `duet.torch`, which is imported by itself.
"""
from typing import TYPE_CHECKING, Any

from ._context import Context, default_context
from ._device_array import DeviceArray, device_array
from ._interface import VERSION as __version__
from ._library import DuetError, OutOfMemory, Unsupported
from .distances import DistanceGradients, distance, distance_gradients, unit_rows
from .losses import (Alignment, PairGradients, PairTerms, alignment, alignment_probabilities, contrastive,
                     decorrelation, distillation)
from .retrieval import Measures, Nearest, QueryMeasures, evaluate, retrieval, top_k
from .triplets import (DistanceWeighted, HardPairs, SemihardTriplets, TripletLoss, mine_distance_weighted, mine_hard,
                       mine_semihard, triplet)

if TYPE_CHECKING:
    from .training import Run, load, train

__all__ = [
    "Alignment", "Context", "DeviceArray", "DistanceGradients", "DistanceWeighted", "DuetError", "HardPairs",
    "Measures", "Nearest", "OutOfMemory", "PairGradients", "PairTerms", "QueryMeasures", "Run", "SemihardTriplets",
    "TripletLoss", "Unsupported", "__version__", "alignment", "alignment_probabilities", "contrastive", "decorrelation",
    "default_context", "device_array", "distance", "distance_gradients", "distillation", "evaluate", "load",
    "mine_distance_weighted", "mine_hard", "mine_semihard", "retrieval", "top_k", "train", "triplet", "unit_rows",
]


def __getattr__(name: str) -> Any:
    # What runs the program draws in more of the standard library than all else, and is wanted seldom.
    if name in ("Run", "load", "train"):
        from . import training

        return getattr(training, name)
    raise AttributeError(f"module 'duet' has no attribute {name!r}")
