# Runs duet-bench --json on a small shape and parses every line: the keys are there, times are above 0, a ratio comes
# with its product.
execute_process(COMMAND ${PROGRAM} --json --n 65 --m 70 --d 16 --classes 4 --repeat 2 --threads 2
                OUTPUT_VARIABLE output RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "duet-bench --json: exit code ${result}")
endif()
string(REGEX REPLACE "\n$" "" output "${output}")
string(REPLACE "\n" ";" lines "${output}")
list(LENGTH lines count)
if(count LESS 17)
  message(FATAL_ERROR "expected a line an operation at least, got ${count}")
endif()
foreach(line IN LISTS lines)
  foreach(key operation variant pass n m d threads median_s spread flops bytes extra_bytes product_s products ratio
              loop_rate limit_s share peak_flops_per_s peak_bytes_per_s simd version)
    string(JSON ${key} GET "${line}" ${key})  # an error where the line does not parse or lacks the key
  endforeach()
  if(NOT median_s GREATER 0 OR NOT bytes GREATER 0)
    message(FATAL_ERROR "no time or no bytes in ${line}")
  endif()
  if(NOT limit_s GREATER 0 OR NOT share GREATER 0)
    message(FATAL_ERROR "no limit in ${line}")
  endif()
  if(products GREATER 0 AND NOT (product_s GREATER 0 AND ratio GREATER 0))
    message(FATAL_ERROR "no product in ${line}")
  endif()
  if(NOT n EQUAL 65 OR NOT m EQUAL 70 OR NOT d EQUAL 16 OR NOT threads EQUAL 2
     OR NOT pass MATCHES "^(forward|backward)$")
    message(FATAL_ERROR "another shape or pass than asked for in ${line}")
  endif()
endforeach()
