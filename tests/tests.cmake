# SPDX-License-Identifier: MIT
# Tests larger than one module, as CTest entries.

# The house checks: `make check` runs them alone.
add_test(NAME house.layers COMMAND python3 tools/layers.py)
add_test(NAME house.tidy COMMAND python3 tools/tidy.py)
add_test(NAME house.headers COMMAND python3 tools/headers.py ${CMAKE_BINARY_DIR})
add_test(NAME house.docs COMMAND tools/docs.sh $<TARGET_FILE:damso>)
set_tests_properties(house.layers house.tidy house.headers house.docs PROPERTIES
    LABELS house WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})

# The store's tests once more on its other engine; DAMSO_TEST_POSTGRES=off leaves them out.
foreach(name store_test store_chat_test store_key_test store_life_test store_users_test
             store_shares_test)
    add_test(NAME store.${name}.postgres COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(store.${name}.postgres PROPERTIES
        ENVIRONMENT DAMSO_TEST_STORE=postgres SKIP_RETURN_CODE 77)
endforeach()
set_tests_properties(store.store_postgres_test store.store_bus_test PROPERTIES SKIP_RETURN_CODE 77)

# The program from outside.  fetch talks to a server of its own on 127.0.0.1.
add_test(NAME app.chip COMMAND python3 tests/chip_test.py $<TARGET_FILE:damso>)
add_test(NAME app.cli COMMAND python3 tests/cli_test.py $<TARGET_FILE:damso>)
add_test(NAME app.fetch COMMAND python3 tests/fetch_test.py $<TARGET_FILE:damso>)
add_test(NAME app.plan COMMAND python3 tests/plan_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.chip app.cli app.fetch app.plan PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME app.talk COMMAND python3 tests/talk_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.talk PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1200)

add_test(NAME app.quantize COMMAND python3 tests/quantize_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.quantize PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 900)

add_test(NAME app.bench_serve COMMAND python3 tests/bench_serve_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.bench_serve PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 300)
add_test(NAME app.mlperf COMMAND python3 tests/mlperf_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.mlperf PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1800 SKIP_RETURN_CODE 77)

add_test(NAME app.mlperf_exact COMMAND python3 tests/mlperf_exact_test.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})

# The server from outside.
add_test(NAME app.serve COMMAND python3 tests/serve_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.serve PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1800)
add_test(NAME app.endpoints COMMAND python3 tests/endpoints_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.endpoints PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 600 SKIP_RETURN_CODE 77)
add_test(NAME app.chats COMMAND python3 tests/chats_test.py $<TARGET_FILE:damso>)
add_test(NAME app.accounts COMMAND python3 tests/accounts_test.py $<TARGET_FILE:damso>)
add_test(NAME app.tools COMMAND python3 tests/tools_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.chats app.accounts app.tools PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1800)
add_test(NAME app.shares COMMAND python3 tests/shares_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.shares PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 300)
add_test(NAME app.lora COMMAND python3 tests/lora_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.lora PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 300 SKIP_RETURN_CODE 77)
add_test(NAME app.runs COMMAND python3 tests/runs_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.runs PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 300 SKIP_RETURN_CODE 77)
add_test(NAME app.users COMMAND python3 tests/users_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.users PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 600)

# Several servers on one PostgreSQL behind HAProxy; what deploy/ has.
add_test(NAME app.replicas COMMAND python3 tests/replicas_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.replicas PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 900
    SKIP_RETURN_CODE 77 RUN_SERIAL ON)
add_test(NAME app.routing COMMAND python3 tests/routing_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.routing PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 300
    SKIP_RETURN_CODE 77)
add_test(NAME app.deploy COMMAND tests/clients/run.sh tests/deploy_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.deploy PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 120
    SKIP_RETURN_CODE 77)

# Several processes that compute one model.
add_test(NAME app.ranks COMMAND python3 tests/ranks_test.py $<TARGET_FILE:damso>)
set_tests_properties(app.ranks PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 600
    SKIP_RETURN_CODE 77 RUN_SERIAL ON)

# And on the store's other engine.
foreach(name users chats accounts shares)
    add_test(NAME app.${name}.postgres COMMAND python3 tests/${name}_test.py $<TARGET_FILE:damso>)
    set_tests_properties(app.${name}.postgres PROPERTIES
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1800
        ENVIRONMENT DAMSO_TEST_STORE=postgres SKIP_RETURN_CODE 77)
endforeach()

# The server's APIs with the real clients of tools/clients.sh.
foreach(file vision_test.py responses_test.py anthropic_test.py ollama_test.py pull_test.py mcp_test.py openai_test.py
             device_test.py encoder_test.py openai_test.mjs)
    string(REGEX REPLACE "_test[.]py$" "" name ${file})
    string(REPLACE "_test.mjs" "_node" name ${name})
    add_test(NAME api.${name} COMMAND tests/clients/run.sh tests/${file} $<TARGET_FILE:damso>)
    set_tests_properties(api.${name} PROPERTIES
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1800 SKIP_RETURN_CODE 77)
endforeach()

# The AVX-512 kernels on machines without AVX-512: their files once more without its flags, with
# SIMDe's functions for its instructions.  They take the place of the library's in this program.
find_path(SIMDE_INCLUDE simde/x86/avx512.h)
if(machine MATCHES "x86_64|amd64" AND SIMDE_INCLUDE)
    set(emulated ${CMAKE_BINARY_DIR}/gen/emulated)
    foreach(name vec_avx512 vec_avx512vnni mm_avx512vnni)
        configure_file(src/kern/${name}.c ${emulated}/${name}.c COPYONLY)
    endforeach()
    add_library(kern_emulated OBJECT ${emulated}/vec_avx512.c ${emulated}/vec_avx512vnni.c
        ${emulated}/mm_avx512vnni.c)
    # -O1 and small tiles: the unrolled loops of emulated instructions take the optimiser minutes
    # otherwise.
    # SIMDe adds signed bytes in C where the instruction wraps.
    target_compile_options(kern_emulated PRIVATE ${isa_avx2} -O1 -Wno-psabi -fno-sanitize=undefined)
    target_compile_definitions(kern_emulated PRIVATE MM_T=2 MM_FEW=2)
    target_include_directories(kern_emulated BEFORE PRIVATE tests/simde src)
    add_executable(kern_check_emulated src/kern/kern_check.c $<TARGET_OBJECTS:kern_emulated>)
    target_compile_definitions(kern_check_emulated PRIVATE KERN_CHECK_EMULATED)
    target_link_libraries(kern_check_emulated PRIVATE damso_core)
    set_target_properties(kern_check_emulated PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME kern.kern_check_emulated COMMAND kern_check_emulated)
endif()

# The AArch64 kernels on another machine: cross-compiled with what they need, run by qemu-user.
find_program(AARCH64_CC aarch64-linux-gnu-gcc)
find_program(QEMU_AARCH64 qemu-aarch64)
if(AARCH64_CC AND QEMU_AARCH64 AND NOT machine MATCHES "aarch64|arm64")
    file(GLOB neon_sources CONFIGURE_DEPENDS src/cpu/cpu.c src/kern/*.c)
    list(FILTER neon_sources EXCLUDE REGEX "_(avx2|avx512|avx512vnni|avx512bf16|test|bench)\\.c$")
    list(APPEND neon_sources src/base/arena.c src/base/err.c src/os/os_sys.c)
    file(GLOB neon_headers CONFIGURE_DEPENDS src/base/*.[hd]* src/cpu/*.[hd]* src/os/*.h
         src/kern/*.h src/kern/*.def src/kern/*.inc)
    set(neon_check ${CMAKE_BINARY_DIR}/tests/kern_check_neon)
    get_directory_property(neon_options COMPILE_OPTIONS)
    list(FILTER neon_options EXCLUDE REGEX "sanitize")
    add_custom_command(OUTPUT ${neon_check} VERBATIM
        COMMAND ${AARCH64_CC} -std=c11 -D_GNU_SOURCE -O2 ${neon_options} -Isrc ${neon_sources}
                -lm -o ${neon_check}
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
        DEPENDS ${neon_sources} ${neon_headers})
    add_custom_target(kern_check_neon ALL DEPENDS ${neon_check})
    add_test(NAME kern.neon COMMAND ${QEMU_AARCH64} -L /usr/aarch64-linux-gnu ${neon_check})
endif()

# The web app: its own units by Node, and the whole of it in a browser.
add_test(NAME web.units COMMAND tests/web/run.sh web/test.mjs)
add_test(NAME web.pages COMMAND tests/web/run.sh tests/web/web_test.mjs)
add_test(NAME web.served COMMAND tests/web/run.sh tests/web/served_test.mjs $<TARGET_FILE:damso>)
add_test(NAME web.share COMMAND tests/web/run.sh tests/web/share_test.mjs $<TARGET_FILE:damso>)
add_test(NAME web.people COMMAND tests/web/run.sh tests/web/people_test.mjs $<TARGET_FILE:damso>)
add_test(NAME web.bench COMMAND tests/web/run.sh tests/web/bench_test.mjs $<TARGET_FILE:damso>)
add_test(NAME web.compare COMMAND tests/web/run.sh tests/web/compare_test.mjs $<TARGET_FILE:damso>)
set_tests_properties(web.units web.pages web.served web.share web.people web.bench web.compare PROPERTIES
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} TIMEOUT 1200 SKIP_RETURN_CODE 77)
