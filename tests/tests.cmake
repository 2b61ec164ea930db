# SPDX-License-Identifier: MIT
# Tests larger than one module, as CTest entries.

# The house checks: `make check` runs them alone.
add_test(NAME house.layers COMMAND python3 tools/layers.py)
add_test(NAME house.tidy COMMAND python3 tools/tidy.py)
add_test(NAME house.headers COMMAND python3 tools/headers.py ${CMAKE_BINARY_DIR})
add_test(NAME house.docs COMMAND tools/docs.sh $<TARGET_FILE:damso>)
set_tests_properties(house.layers house.tidy house.headers house.docs PROPERTIES
    LABELS house WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})

# The program from outside.  fetch talks to a server of its own on 127.0.0.1.
add_test(NAME app.cli COMMAND python3 tests/cli_test.py $<TARGET_FILE:damso>)
add_test(NAME app.fetch COMMAND python3 tests/fetch_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.cli app.fetch PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME app.talk COMMAND python3 tests/talk_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.talk PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1200)
