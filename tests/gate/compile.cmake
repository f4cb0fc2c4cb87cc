# One source of the gate: compiled for the targets of targets.txt that say always; what ptxas says of it to LOG, its PTX
# and its object beside it. LOG stands for success; what it spills is for the table to judge, by plan.txt. Of what the
# emulator's build compiles too, the device code alone (nvcc looks at the host code all the same).
get_filename_component(name ${SOURCE} NAME)
get_filename_component(stem ${SOURCE} NAME_WE)
get_filename_component(dir ${LOG} DIRECTORY)
set(kept ${dir}/${name}.files)
file(REMOVE ${LOG})
file(REMOVE_RECURSE ${kept})
file(MAKE_DIRECTORY ${kept})
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/targets.txt targets REGEX "^sm_[0-9a-z]+ +always ")
list(TRANSFORM targets REPLACE " .*" "")
list(JOIN targets "," targets)
if(name MATCHES "\\.cpp$|^(conformance|device|sort_cub)\\.cu$")
  set(stage -c)
  set(object ${dir}/${name}.o)
else()
  set(stage -fatbin)
  set(object ${dir}/${name}.fatbin)
endif()
execute_process(
  COMMAND ${NVCC} -ccbin ${CXX} -std=c++20 -O3 -I${ROOT} -I${ROOT}/kernels/cuda/nvcc -Xptxas -v
          -Werror all-warnings -gencode arch=compute_80,code=[${targets}] --keep --keep-dir ${kept}
          -MD -MT ${LOG} -MF ${LOG}.d ${stage} ${SOURCE} -o ${object}
  OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE result)
file(GLOB temporaries ${kept}/*)
list(FILTER temporaries EXCLUDE REGEX "\\.ptx$")
file(REMOVE ${temporaries})
if(NOT result EQUAL 0)
  # Without what ptxas says of the kernels that are well.
  string(REGEX REPLACE "[^\n]*(ptxas info|bytes stack frame, 0 bytes spill)[^\n]*\n" "" said "${said}")
  file(REMOVE ${object})
  file(WRITE ${kept}/said "${said}")
  execute_process(COMMAND c++filt -p INPUT_FILE ${kept}/said OUTPUT_VARIABLE readable RESULT_VARIABLE result)
  if(result EQUAL 0)
    set(said "${readable}")
  endif()
  message("${said}")
  message(FATAL_ERROR "cuda gate: ${SOURCE}")
endif()
file(WRITE ${LOG} "${said}")
