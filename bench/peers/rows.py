"""The works, on what shapes and systems they run, and the goals that duet has set itself for them."""
from dataclasses import dataclass, field

DUET, EAGER, COMPILED, METRIC, SCIKIT = "duet", "PyTorch", "PyTorch compiled", "pytorch-metric-learning", "scikit-learn"
TORCH = (DUET, EAGER, COMPILED)
MAIN, CLASSES = 4096, 10
GROWTH = (256, 1024, 4096, 16384, 65536)
COMPILED_SIZES = (1024, 4096, 16384, 65536)  # each size is compiled anew, which takes longer than all its calls
TIME_GROWTH, MEMORY_GROWTH, YARDSTICK = 2.05, 1.0, 1.25


@dataclass
class Work:
    name: str
    title: str
    products: int  # bare products that it replaces: its operations at least
    squares: int  # n x n matrices that it has to read or write
    systems: tuple
    sizes: tuple = (MAIN,)
    d: int = 128
    bench: tuple = ()  # operation, variant and pass of duet-bench, which times it in turn with the bare product
    most: float = 0  # goal: bare products, at most
    # goal: times faster than a peer, at least; PyTorch is the faster of eager and compiled
    least: dict = field(default_factory=dict)
    memory_share: float = 0  # goal: extra memory, as a share of PyTorch's
    memory_bytes: float = 0  # goal: extra memory
    tried: str = ""  # where a goal is not reached: what was done for it, and what is in the way

    @property
    def n(self):
        """The size that the goals are for."""
        return MAIN if MAIN in self.sizes else self.sizes[-1]

    def limit_s(self, n, peaks):
        """The machine's: operations of the products at the peak, or what has to be moved at the bandwidth."""
        operations, elements = self.products * 2 * n * n * self.d, self.squares * n * n + 2 * n * self.d
        return max(operations / peaks["flops_per_s"], 4 * elements / peaks["bytes_per_s"])


WORKS = [
    Work(
        "distance",
        "distance, forward",
        1,
        1,
        TORCH,
        bench=("distance", "euclidean", "forward"),
        most=1.15,
        least={EAGER: 1.5},
    ),
    Work(
        "distance_both",
        "distance, forward and backward",
        3,
        3,
        TORCH,
        bench=("distance", "euclidean", "both"),
        most=1.3,
        least={EAGER: 2},
        tried="The factor of both products is made in one pass over D and dL/dD, block by block, where each product "
        "made its own before (1.48 of 3).",
    ),
    Work(
        "alignment",
        "alignment: log-sum-exp of rows and columns",
        1,
        0,
        TORCH,
        GROWTH,
        bench=("alignment", "log_sum_exp", "forward"),
        most=1.0,
        tried="Exponentials without a shift where the norms bound the scores, norms over all threads, tiles of 512 "
        "columns. For 16 scores the exponential and both sums are some 15 instructions beside 128 multiply-adds; not "
        "storing the scores wins back about as much.",
    ),
    Work(
        "distillation_teacher",
        "distillation, forward, kappa 0",
        2,
        0,
        TORCH,
        bench=("distillation", "teacher", "forward"),
        most=1.1,
    ),
    Work(
        "distillation_forward",
        "distillation, forward, soft agreement",
        2,
        0,
        TORCH,
        bench=("distillation", "agreement", "forward"),
        most=1.5,
    ),
    Work(
        "distillation",
        "distillation, forward and backward, soft agreement",
        6,
        0,
        TORCH,
        GROWTH,
        bench=("distillation", "agreement", "both"),
        most=1.6,
        least={EAGER: 3},
        memory_share=1 / 50,
    ),
    Work(
        "infonce",
        "InfoNCE, forward and backward",
        4,
        0,
        TORCH,
        GROWTH,
        bench=("contrastive", "infonce", "both"),
        most=1.5,
        least={EAGER: 4},
        tried="The goal was set against 337 ms; compiled PyTorch takes half of that by now, and a quarter of it is "
        "less than the machine's limit.",
    ),
    Work(
        "mining",
        "hard mining, both directions",
        1,
        0,
        (*TORCH, METRIC),
        GROWTH,
        bench=("mining", "hard", "forward"),
        most=1.2,
        least={METRIC: 20},
    ),
    Work(
        "triplet_soft",
        "triplets, all, soft, forward and backward",
        4,
        0,
        TORCH,
        GROWTH,
        bench=("triplet", "all_soft_one_pass", "both"),
        least={EAGER: 16},
        tried="The goal was set against the eager form (2.7 s then); compiling takes a third off it. Rows are sorted "
        "by bins and exchanges of neighbours, one walk over them gives both ranks, weights are looked at and idle "
        "columns left out a vector at a time. Products are over half of what is left, sort and sums the rest.",
    ),
    Work(
        "triplet_labels",
        "triplets, all, labels, forward and backward",
        4,
        0,
        (*TORCH, METRIC),
        (1024,),
        least={METRIC: 200},
    ),
    Work(
        "retrieval",
        "mean average precision",
        1,
        0,
        (DUET, EAGER, SCIKIT),
        (28103,),
        64,
        least={EAGER: 10, SCIKIT: 30},
        memory_bytes=100e6,
    ),
]


def step_limit_s(batch, peaks):
    """Products of both encoders (256, 256, 64 units on 128 and 1024 features): the teacher's, the student's, to the
    weights, and to the inputs but the first."""
    weights, first = sum(width * 256 + 256 * 256 + 256 * 64 for width in (128, 1024)), (128 + 1024) * 256
    return 2 * batch * (4 * weights - first) / peaks["flops_per_s"]


PRODUCT, STEP, RUN = "product", "training_step", "training_run"
STEP_GOALS = {128: 3, 512: 4}  # batch: times faster than PyTorch, at least
STEP_TRIED = (
    "Packed products with bias, ReLU and dropout in their epilogue, triplets whose rows are sorted by bins, one pass "
    "for loss and gradient. Six tenths of a step on one thread are the layers' products, at five sixths of the peak; "
    "the rest is triplets and passes too short to share among threads."
)
RUN_GOAL = 4
NAMES = [PRODUCT, *(work.name for work in WORKS), STEP, RUN]
