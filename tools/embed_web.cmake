# SPDX-License-Identifier: MIT
# The web app as a C file: cmake -DDIR=web/dist -DOUT=gen/web.c -DGZIP=gzip -P embed_web.cmake
# gives `const struct api_web app_web`, empty where DIR has no index.html.  Bytes come by .incbin,
# compressed ones from files beside OUT; gzip writes no name and no time, so that builds are equal.
set(types html text/html js text/javascript css text/css txt text/plain json application/json
    webmanifest application/manifest+json svg image/svg+xml png image/png ico image/x-icon
    woff2 font/woff2 wasm application/wasm bcmap application/octet-stream)
set(files "")
if(EXISTS "${DIR}/index.html")
    file(GLOB_RECURSE files RELATIVE "${DIR}" "${DIR}/*")
    list(SORT files)
endif()
set(blobs "")
set(rows "")
set(n 0)

# A file between two symbols.
macro(add_blob name file)
    string(APPEND blobs "__asm__(\".pushsection .rodata\\n.global ${name}, ${name}_end\\n\"
        \"${name}:\\n.incbin \\\"${file}\\\"\\n${name}_end:\\n.popsection\\n\");
extern const unsigned char ${name}[];
")
endmacro()

foreach(file ${files})
    string(REGEX MATCH "[^.]*$" ending "${file}")
    list(FIND types "${ending}" at)
    if(at LESS 0 OR file MATCHES "[\"\\\\]")
        message(FATAL_ERROR "${DIR}/${file}: no type of content is known for it")
    endif()
    math(EXPR at "${at} + 1")
    list(GET types ${at} type)
    string(REGEX REPLACE "^(text/.*)$" "\\1; charset=utf-8" type "${type}")
    file(SHA256 "${DIR}/${file}" hash)
    file(SIZE "${DIR}/${file}" bytes)
    set(zip "${OUT}.${n}.gz")
    execute_process(COMMAND "${GZIP}" -9nc "${DIR}/${file}" OUTPUT_FILE "${zip}" RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "${GZIP} ${DIR}/${file}: ${failed}")
    endif()
    file(SIZE "${zip}" zip_bytes)
    add_blob(web_file_${n} "${DIR}/${file}")
    set(packed "NULL, 0")
    if(zip_bytes LESS bytes)
        add_blob(web_gzip_${n} "${zip}")
        set(packed "web_gzip_${n}, ${zip_bytes}")
    endif()
    set(forever false)
    if(file MATCHES "^assets/")
        set(forever true)
    endif()
    string(APPEND rows "    {\"/${file}\", \"${type}\", \"${hash}\", web_file_${n}, ${bytes}, ${packed}, ${forever}},\n")
    math(EXPR n "${n} + 1")
endforeach()
file(WRITE "${OUT}" "#include \"app/web.h\"

${blobs}
static const struct api_web_file files[] = {
${rows}    {0},
};
const struct api_web app_web = {files, ${n}};
")
