# The kernels of one source of the gate for the targets of targets.txt that say all, from the PTX in the folder KEPT
# that the other targets' code was made from. What ptxas says of them to LOG, which stands for success; what it spills
# is for the table to judge, by plan.txt.
get_filename_component(dir ${LOG} DIRECTORY)
file(MAKE_DIRECTORY ${dir})
file(REMOVE ${LOG})
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/targets.txt targets REGEX "^sm_[0-9a-z]+ +all ")
list(TRANSFORM targets REPLACE " .*" "")
file(GLOB sources ${KEPT}/*.ptx)
set(all_said)
foreach(source IN LISTS sources)
  foreach(target IN LISTS targets)
    execute_process(COMMAND ${PTXAS} -arch=${target} -v ${source} -o ${LOG}.cubin
                    OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE result)
    file(REMOVE ${LOG}.cubin)
    if(NOT result EQUAL 0)
      message("${said}")
      message(FATAL_ERROR "cuda gate: ${source} for ${target}")
    endif()
    string(APPEND all_said "${said}")
  endforeach()
endforeach()
file(WRITE ${LOG} "${all_said}")
