# The operations on the emulator.
add_executable(duet_emulated_tests support/emulated_main.cpp $<TARGET_OBJECTS:duet_kernels_tests_objects>)
target_link_libraries(duet_emulated_tests PRIVATE duet_test_support duet_emulated)
foreach(operation IN LISTS cuda_operations)
  set(run_operation duet_emulated_tests --source-file=*/kernels/${operation}*_test.cpp)
  add_test(NAME emulated.${operation} COMMAND ${run_operation})
  if(DUET_SANITIZE)
    # A stack for every CUDA thread that AddressSanitizer keeps after its return: twenty times the time.
    set_tests_properties(emulated.${operation} PROPERTIES LABELS emulated
                                                          ENVIRONMENT
                                                          "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0")
  else()
    set_tests_properties(emulated.${operation} PROPERTIES LABELS emulated ENVIRONMENT DUET_SIMT_SCHEDULES=forward)
    add_test(NAME schedules.${operation} COMMAND ${run_operation})
    set_tests_properties(schedules.${operation} PROPERTIES LABELS "emulated;thorough" ENVIRONMENT
                         DUET_SIMT_SCHEDULES=other)
  endif()
endforeach()
# The longest start first, so that no core waits for them at the end.
foreach(operation contrastive triplet distillation alignment distance retrieval)
  set_tests_properties(emulated.${operation} PROPERTIES COST 100)
  if(NOT DUET_SANITIZE)
    set_tests_properties(schedules.${operation} PROPERTIES COST 100)
  endif()
endforeach()
