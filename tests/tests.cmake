# SPDX-License-Identifier: MIT
# Tests larger than one module, as CTest entries.

# The house checks: `make check` runs them alone.
add_test(NAME house.layers COMMAND python3 tools/layers.py)
add_test(NAME house.tidy COMMAND python3 tools/tidy.py)
add_test(NAME house.headers COMMAND python3 tools/headers.py ${CMAKE_BINARY_DIR})
add_test(NAME house.docs COMMAND tools/docs.sh $<TARGET_FILE:damso>)
set_tests_properties(house.layers house.tidy house.headers house.docs PROPERTIES
    LABELS house WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
