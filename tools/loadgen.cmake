# SPDX-License-Identifier: MIT
# MLCommons LoadGen as the library `loadgen`, and src/mlperf/mlperf_shim.cc over it: the only C++ here.
# Its sources are fetched by tools/loadgen.sh when CMake runs; where that fails, or DAMSO_MLPERF is
# OFF, `damso mlperf run` says that it is not there and everything else is as ever.
option(DAMSO_MLPERF "fetch MLCommons LoadGen and build `damso mlperf run`" ON)
set(loadgen_version 6.0.17)
set(loadgen ${CMAKE_CURRENT_BINARY_DIR}/loadgen/mlcommons_loadgen-${loadgen_version})
set(loadgen_here FALSE)
if(DAMSO_MLPERF)
    execute_process(COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tools/loadgen.sh ${CMAKE_CURRENT_BINARY_DIR}/loadgen
        RESULT_VARIABLE loadgen_failed ERROR_VARIABLE loadgen_said)
    if(loadgen_failed)
        message(WARNING "MLCommons LoadGen could not be loaded, so `damso mlperf run` is left out; "
            "run cmake again to try again (DAMSO_MLPERF=OFF: never).\n${loadgen_said}")
    else()
        set(loadgen_here TRUE)
    endif()
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tools/loadgen.txt tools/loadgen.sh)

if(loadgen_here)
    enable_language(CXX)
    set(CMAKE_CXX_STANDARD 14)
    set(CMAKE_CXX_STANDARD_REQUIRED ON)
    # The nine files of its setup.py without the bindings for Python and for C.
    add_library(loadgen STATIC ${loadgen}/early_stopping.cc ${loadgen}/issue_query_controller.cc
        ${loadgen}/loadgen.cc ${loadgen}/logging.cc ${loadgen}/results.cc
        ${loadgen}/test_settings_internal.cc ${loadgen}/utils.cc ${loadgen}/version.cc
        ${loadgen}/generated/version_generated.cc)
    target_include_directories(loadgen SYSTEM PUBLIC ${loadgen})
    target_link_libraries(loadgen PUBLIC Threads::Threads)
    # Not with our warnings: it is theirs, and they are for C.
    set_target_properties(loadgen PROPERTIES COMPILE_OPTIONS "-O2;-w")
    add_library(mlperf_shim STATIC src/mlperf/mlperf_shim.cc)
    target_include_directories(mlperf_shim PRIVATE src)
    target_link_libraries(mlperf_shim PUBLIC loadgen)
    set_target_properties(mlperf_shim PROPERTIES
        COMPILE_OPTIONS "-Wall;-Wextra;-Wshadow;-Werror;-O2")
    if(DAMSO_SANITIZE)
        target_compile_options(loadgen PRIVATE -fsanitize=${DAMSO_SANITIZE})
        target_compile_options(mlperf_shim PRIVATE -fsanitize=${DAMSO_SANITIZE})
    endif()
endif()
