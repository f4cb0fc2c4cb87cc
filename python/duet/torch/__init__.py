"""duet's kernels in PyTorch: operators with gradients (functional), losses, miners and distances as modules.

Imported by itself, so that `import duet` does not load PyTorch.
"""
from . import functional
from .distances import CosineSimilarity, LpDistance
from .functional import alignment, contrastive, cross_entropy, decorrelation, distance, distillation, triplet, unit_rows
from .losses import CircleLoss, NTXentLoss, SupConLoss, TripletMarginLoss
from .miners import BatchHardMiner, DistanceWeightedMiner, TripletMarginMiner
from .pair_losses import ClipLoss, DistillationLoss, PsdLoss, SigLipLoss, SoftTripletLoss

__all__ = [
    "BatchHardMiner", "CircleLoss", "ClipLoss", "CosineSimilarity", "DistanceWeightedMiner", "DistillationLoss",
    "LpDistance", "NTXentLoss", "PsdLoss", "SigLipLoss", "SoftTripletLoss", "SupConLoss", "TripletMarginLoss",
    "TripletMarginMiner", "alignment", "contrastive", "cross_entropy", "decorrelation", "distance", "distillation",
    "functional", "triplet", "unit_rows",
]
