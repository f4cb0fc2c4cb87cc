# The emulator itself, and our kernels under its checks.
file(GLOB simt_files CONFIGURE_DEPENDS simt/*_test.cpp simt/*.cu)
file(GLOB simt_kernels CONFIGURE_DEPENDS simt/*.cu)
if(simt_files)
  set_source_files_properties(${simt_kernels} PROPERTIES LANGUAGE CXX)
  add_executable(duet_simt_tests support/main.cpp ${simt_files})
  target_link_libraries(duet_simt_tests PRIVATE duet_test_support duet_emulated)
  add_test(NAME emulated.simt COMMAND duet_simt_tests --source-file-exclude=*/walk_test.cpp)
  # Device memory is protected in another way where the processor has no keys for it.
  add_test(NAME emulated.without_keys COMMAND duet_simt_tests
           --source-file=*/simt/device_test.cpp,*/simt/graph_test.cpp)
  set_tests_properties(emulated.simt emulated.without_keys PROPERTIES LABELS emulated)
  set_property(TEST emulated.without_keys PROPERTY ENVIRONMENT DUET_SIMT_KEYS=off)
  if(NOT DUET_SANITIZE)  # it compares bits; the operations' tests walk under sanitizers too
    add_test(NAME emulated.walk COMMAND duet_simt_tests --source-file=*/walk_test.cpp)
    set_tests_properties(emulated.walk PROPERTIES LABELS emulated)
  endif()
  # The same test on kernels of ours that are compiled with a barrier left out: their objects stand before the
  # library's.
  set(planted_kernels ${PROJECT_SOURCE_DIR}/kernels/cuda/pack.cu ${PROJECT_SOURCE_DIR}/kernels/cuda/scores.cu
                      ${PROJECT_SOURCE_DIR}/kernels/cuda/sweep.cu)
  set_source_files_properties(${planted_kernels} PROPERTIES LANGUAGE CXX)
  add_executable(duet_planted_tests support/main.cpp simt/planted_barrier_test.cpp ${planted_kernels})
  target_compile_definitions(duet_planted_tests PRIVATE DUET_PLANT_MISSING_BARRIER)
  target_link_libraries(duet_planted_tests PRIVATE duet_test_support duet_emulated)
  add_test(NAME emulated.planted_barrier COMMAND duet_planted_tests)
  set_tests_properties(emulated.planted_barrier PROPERTIES LABELS emulated)
  if(DUET_SANITIZE MATCHES thread)  # which finds it too, in most schedules, and then exits with its own status
    set_tests_properties(emulated.planted_barrier PROPERTIES PASS_REGULAR_EXPRESSION
                         "SUMMARY: ThreadSanitizer: data race;Status: SUCCESS")
  endif()
  # The kernels' tests and the planted bugs once more, every access to memory checked.
  if(TARGET duet_checked_kernels)
    add_library(duet_checked_planted OBJECT EXCLUDE_FROM_ALL simt/planted_test.cpp)
    target_link_libraries(duet_checked_planted PRIVATE duet_emulated doctest::doctest)
    target_compile_options(duet_checked_planted PRIVATE $<TARGET_PROPERTY:duet_checked_kernels,COMPILE_OPTIONS>)
    add_executable(duet_checked_tests EXCLUDE_FROM_ALL support/emulated_main.cpp
                   $<TARGET_OBJECTS:duet_kernels_tests_objects> $<TARGET_OBJECTS:duet_checked_kernels>
                                      $<TARGET_OBJECTS:duet_checked_planted>)
    target_link_libraries(duet_checked_tests PRIVATE duet_test_support duet_checker duet_emulated)
    foreach(target duet_checked_planted duet_checked_tests)
      target_compile_definitions(${target} PRIVATE DUET_CHECKED)
    endforeach()
    add_test(NAME checked.planted COMMAND duet_checked_tests --source-file=*/simt/planted_test.cpp)
    foreach(operation IN LISTS cuda_operations)
      add_test(NAME checked.${operation} COMMAND duet_checked_tests --source-file=*/kernels/${operation}*_test.cpp)
      list(APPEND checked_tests checked.${operation})
    endforeach()
    set_tests_properties(checked.planted ${checked_tests} PROPERTIES LABELS "emulated;thorough")
  else()
    add_custom_target(duet_checked_tests)  # nothing
  endif()
endif()
