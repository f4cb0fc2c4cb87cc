# cmake -DBUILD_DIR=... -DGENERATOR=... -DC_COMPILER=... -DNM=... -P run.cmake
# Installs the component `kernels` of a build into a prefix of its own, builds the consumer against that, outside the
# tree, and runs it; then reads what the library exports, the C interface and nothing else, and that it holds no BLAS.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: ${result}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(mktemp -d)
string(STRIP "${output}" work)
set(c_api ${CMAKE_CURRENT_LIST_DIR}/../c_api)
file(COPY ${CMAKE_CURRENT_LIST_DIR}/CMakeLists.txt ${c_api}/c_api_test.c ${c_api}/operations.c ${c_api}/operations.h
     DESTINATION ${work}/consumer)
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --component kernels --prefix ${work}/built)
file(RENAME ${work}/built ${work}/moved)  # a package that knows where it was built would break here
run(${CMAKE_COMMAND} -S ${work}/consumer -B ${work}/build -G ${GENERATOR} -DCMAKE_C_COMPILER=${C_COMPILER}
    -DCMAKE_PREFIX_PATH=${work}/moved)
run(${CMAKE_COMMAND} --build ${work}/build)
run(${work}/build/consumer)
message(STATUS "${output}")

file(GLOB_RECURSE libraries ${work}/moved/*/libduet.so)
list(LENGTH libraries count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "expected one libduet.so in the prefix, found: ${libraries}")
endif()
run(${NM} -D --defined-only ${libraries})
string(REGEX MATCHALL "[^\n]+" symbols "${output}")
set(exported 0)
foreach(symbol IN LISTS symbols)
  if(NOT symbol MATCHES " duet_[a-z0-9_]+$")
    message(FATAL_ERROR "exported beside the C interface: ${symbol}")
  endif()
  math(EXPR exported "${exported} + 1")
endforeach()
if(exported LESS 40)
  message(FATAL_ERROR "the C interface has more than ${exported} calls")
endif()
# The rival of the benchmark (bench/cpu/blas.cpp) is no part of the library.
run(${NM} ${libraries})
if(output MATCHES "sgemm|openblas")
  message(FATAL_ERROR "the library contains OpenBLAS")
endif()
file(REMOVE_RECURSE ${work})
