# Training on the CPU beside training on the emulated device, in one program. The whole archive stands before the
# library's.
if(DUET_PROGRAM AND TARGET duet_emulated AND DUET_CPU)
  file(GLOB device_files CONFIGURE_DEPENDS device/*_test.cpp)
  if(DUET_SANITIZE)  # 44 steps of 128 rows: minutes; the smaller ones are watched
    list(FILTER device_files EXCLUDE REGEX "/avdigits_test\\.cpp$")
  endif()
  add_executable(duet_device_tests support/main.cpp ranks/device_cases.cpp ${device_files})
  target_link_libraries(duet_device_tests PRIVATE duet_test_support $<LINK_LIBRARY:WHOLE_ARCHIVE,duet_emulated>
                        duet_trainer duet_device_ranks)
  target_compile_definitions(duet_device_tests PRIVATE DUET_PROJECT_DIR="${PROJECT_SOURCE_DIR}"
                             DUET_BINARY_DIR="${PROJECT_BINARY_DIR}")
  duet_precompile_test_headers(duet_device_tests)
  add_dependencies(duet_device_tests duet_program duet_emulated_program)  # which program_test.cpp runs
  foreach(file IN LISTS device_files)
    get_filename_component(stem ${file} NAME_WE)
    string(REPLACE "_test" "" name ${stem})
    add_test(NAME device.${name} COMMAND duet_device_tests --source-file=*/device/${stem}.cpp)
    set_tests_properties(device.${name} PROPERTIES LABELS emulated ENVIRONMENT
                         "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0")
  endforeach()
endif()
