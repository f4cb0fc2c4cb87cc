# The operations on a GPU.
add_executable(duet_cuda_tests support/cuda_main.cpp $<TARGET_OBJECTS:duet_kernels_tests_objects>)
target_link_libraries(duet_cuda_tests PRIVATE duet_test_support duet::kernels)
foreach(operation IN LISTS cuda_operations)
  add_test(NAME cuda.${operation} COMMAND duet_cuda_tests --source-file=*/kernels/${operation}*_test.cpp)
  set_tests_properties(cuda.${operation} PROPERTIES LABELS cuda SKIP_RETURN_CODE 77)
endforeach()
# Hardware against the emulator's model of every PTX instruction.
add_executable(duet_conformance_tests support/main.cpp simt/conformance_test.cpp simt/conformance.cu)
target_link_libraries(duet_conformance_tests PRIVATE duet_test_support duet::kernels)
add_test(NAME cuda.conformance COMMAND duet_conformance_tests)
set_tests_properties(cuda.conformance PROPERTIES LABELS cuda SKIP_REGULAR_EXPRESSION "skipped: there is no device")
add_executable(duet_gpu_report gpu/report.cpp)
target_link_libraries(duet_gpu_report PRIVATE duet::kernels nlohmann_json::nlohmann_json)
