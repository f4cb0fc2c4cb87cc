# `./dev gpu-check` with the emulator as its device: on one operation, so that its script has been run before a GPU sees
# it.
if(TARGET duet_emulated_bench AND TARGET duet_emulated_program AND NOT DUET_SANITIZE)
  add_executable(duet_emulated_gpu_report gpu/report.cpp)
  add_dependencies(duet_emulated_gpu_report duet_emulated_program)  # which is built for this alone
  target_link_libraries(duet_emulated_gpu_report PRIVATE duet_emulated nlohmann_json::nlohmann_json)
  add_test(NAME gpu_check.dry_run COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/gpu/check.sh --emulated --only gather
           ${PROJECT_BINARY_DIR}
                                          ${PROJECT_BINARY_DIR}/gpu_check_results)
  set_tests_properties(gpu_check.dry_run PROPERTIES LABELS emulated ENVIRONMENT DUET_SIMT_ORDER=forward)
endif()
