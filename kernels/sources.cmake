# The sources of kernels/. A file that stands in no list stops the configuration (CMakeLists.txt).

# A folder each, with its public header of the same name.
set(operations
    activation
    alignment
    contrastive
    cross_entropy
    decorrelation
    distance
    distillation
    gather
    head
    linear
    mining
    normalization
    optimizer
    random
    reduction
    retrieval
    step
    supervision
    triplet)

# What knows no backend.
set(neutral_sources
    core/arguments.cpp core/context.cpp core/devices.cpp core/dlpack.cpp core/memory.cpp core/status.cpp
    core/stream.cpp)

# What chooses one: compiled for each set of backends.
set(choosing_sources
    backends.cpp
    core/halves.cpp
    activation/activation.cpp
    alignment/alignment.cpp
    contrastive/contrastive.cpp
    cross_entropy/cross_entropy.cpp
    decorrelation/decorrelation.cpp
    distance/distance.cpp
    distillation/distillation.cpp
    gather/gather.cpp
    head/head.cpp
    linear/linear.cpp
    mining/mining.cpp
    normalization/normalization.cpp
    optimizer/optimizer.cpp
    random/random.cpp
    reduction/reduction.cpp
    retrieval/retrieval.cpp
    step/step.cpp
    supervision/supervision.cpp
    triplet/triplet.cpp)

# The CPU backend.
set(cpu_sources
    cpu/agreement.cpp cpu/backend_cpu.cpp cpu/halves.cpp cpu/outside.cpp cpu/row_product.cpp cpu/softmax_sweep.cpp
    cpu/softmax_tile.cpp cpu/sweep.cpp cpu/target_sweep.cpp cpu/thread_pool.cpp cpu/tile_product.cpp
    activation/activation_cpu.cpp activation/dropout_cpu.cpp
    alignment/alignment_cpu.cpp
    contrastive/contrastive_cpu.cpp contrastive/contrastive_sums_cpu.cpp contrastive/relation_cpu.cpp
    contrastive/relation_tile_cpu.cpp contrastive/sigmoid_tile_cpu.cpp
    cross_entropy/cross_entropy_cpu.cpp
    decorrelation/decorrelation_cpu.cpp
    distance/distance_cpu.cpp distance/distance_gradient_cpu.cpp distance/distance_tile_cpu.cpp
    distillation/distillation_cpu.cpp distillation/distillation_sums_cpu.cpp
    gather/gather_cpu.cpp
    head/head_cpu.cpp
    linear/linear_cpu.cpp linear/linear_epilogue_cpu.cpp linear/linear_parameters_cpu.cpp
    mining/mining_cpu.cpp mining/mining_draw_cpu.cpp mining/mining_rows_cpu.cpp mining/row_sort_cpu.cpp
    normalization/normalization_cpu.cpp
    optimizer/clip_cpu.cpp optimizer/optimizer_cpu.cpp
    random/random_cpu.cpp
    reduction/reduction_cpu.cpp reduction/terms_cpu.cpp
    retrieval/retrieval_cpu.cpp retrieval/retrieval_loops_cpu.cpp retrieval/retrieval_measures_cpu.cpp
    retrieval/retrieval_ranks_cpu.cpp
    step/step_cpu.cpp
    supervision/supervision_cpu.cpp
    triplet/triplet_all_cpu.cpp triplet/triplet_cpu.cpp triplet/triplet_row_cpu.cpp)

# The CUDA backend, of nvcc and of the emulator.
set(kernel_sources
    cuda/agreement.cu cuda/backend_cuda.cpp cuda/halves.cu cuda/outside.cu cuda/pack.cu cuda/scores.cu
    cuda/small_pairs_backward.cu cuda/sweep.cu
    activation/activation_cuda.cu activation/dropout_cuda.cu
    alignment/alignment_cuda.cu
    contrastive/contrastive_cuda.cu contrastive/contrastive_gradient_cuda.cu contrastive/contrastive_relation_cuda.cu
    contrastive/contrastive_small_cuda.cu
    cross_entropy/cross_entropy_cuda.cu
    decorrelation/decorrelation_cuda.cu decorrelation/decorrelation_small_cuda.cu
    distance/distance_cuda.cu distance/distance_gradient_cuda.cu distance/distance_small_cuda.cu
    distance/distance_tile_cuda.cu
    distillation/distillation_cuda.cu distillation/distillation_gradient_cuda.cu
    distillation/distillation_small_cuda.cu
    gather/gather_cuda.cu
    head/head_cuda.cu head/head_small_cuda.cu
    linear/linear_cuda.cu linear/linear_small_cuda.cu
    mining/mining_cuda.cu mining/mining_hard_cuda.cu
    normalization/normalization_cuda.cu
    optimizer/clip_cuda.cu optimizer/optimizer_cuda.cu
    random/random_cuda.cu
    reduction/reduction_cuda.cu reduction/terms_cuda.cu
    retrieval/retrieval_cuda.cu retrieval/retrieval_top_k_cuda.cu
    step/step_cuda.cu
    supervision/supervision_cuda.cu supervision/supervision_small_cuda.cu
    triplet/triplet_all_cuda.cu triplet/triplet_cuda.cu triplet/triplet_mined_cuda.cu triplet/triplet_small_cuda.cu)

# What stands on CUDA's libraries; simt/ has a twin of each.
set(native_sources
    cuda/dense_cublas.cpp cuda/device.cu cuda/sort_cub.cu)

# The emulator.
set(simt_sources
    simt/capture.cpp simt/dense_plain.cpp simt/device.cpp simt/fiber.cpp simt/global_memory.cpp simt/memory.cpp
    simt/schedule.cpp simt/scheduler.cpp simt/sort_std.cpp)
