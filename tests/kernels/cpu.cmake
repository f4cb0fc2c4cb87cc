# The kernels' tests name no backend but in what only the CPU has, so their objects make one program for each:
# duet_kernels_tests on the CPU, duet_cuda_tests on real hardware, and duet_emulated_tests on the CUDA backend under the
# emulator.
file(GLOB cpu_only_files CONFIGURE_DEPENDS kernels/allocations_test.cpp kernels/contrastive_gradient_parts_test.cpp
     kernels/contrastive_sums_test.cpp kernels/contrastive_targets_test.cpp kernels/core_test.cpp
     kernels/core_turns_test.cpp kernels/distillation_sums_test.cpp kernels/head_rows_test.cpp
     kernels/lanes_test.cpp kernels/linear_rows_test.cpp kernels/normalization_rows_test.cpp
     kernels/retrieval_targets_test.cpp kernels/thread_pool_test.cpp kernels/tile_product_test.cpp
     kernels/triplet_rows_test.cpp kernels/vector_test.cpp)
file(GLOB kernel_files CONFIGURE_DEPENDS kernels/*_test.cpp)
set(both_backends_file ${CMAKE_CURRENT_SOURCE_DIR}/kernels/backends_test.cpp)
list(REMOVE_ITEM kernel_files ${cpu_only_files} ${both_backends_file})
if(NOT DUET_CPU)
  set(cpu_only_files)
endif()
add_library(duet_kernels_tests_objects OBJECT ${kernel_files})
target_link_libraries(duet_kernels_tests_objects PUBLIC duet_backend_objects doctest::doctest)
duet_precompile_test_headers(duet_kernels_tests_objects)
target_compile_definitions(duet_kernels_tests_objects PRIVATE DUET_PROJECT_DIR="${PROJECT_SOURCE_DIR}"
                           DUET_BINARY_DIR="${PROJECT_BINARY_DIR}")
if(DUET_CPU)
  add_executable(duet_kernels_tests support/main.cpp ${cpu_only_files} $<TARGET_OBJECTS:duet_kernels_tests_objects>)
  target_link_libraries(duet_kernels_tests PRIVATE duet_test_support duet::kernels)
  foreach(file IN LISTS kernel_files cpu_only_files)
    get_filename_component(stem ${file} NAME_WE)
    string(REPLACE "_test" "" name ${stem})
    add_test(NAME kernels.${name} COMMAND duet_kernels_tests --source-file=*/kernels/${stem}.cpp)
  endforeach()
endif()
# The library in a host with OpenMP threads of its own; OpenMP's runtime is not compiled for ThreadSanitizer, which
# takes its barriers for races.
find_package(OpenMP QUIET COMPONENTS CXX)
if(DUET_CPU AND OpenMP_CXX_FOUND AND NOT DUET_SANITIZE MATCHES thread)
  add_executable(duet_host_tests support/main.cpp host/openmp_test.cpp)
  target_link_libraries(duet_host_tests PRIVATE duet_test_support duet::kernels OpenMP::OpenMP_CXX)
  add_test(NAME kernels.host_openmp COMMAND duet_host_tests)
endif()
