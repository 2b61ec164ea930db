/* SPDX-License-Identifier: MIT
 * api_fault.h - why a request is refused, and how each API says so. */
#ifndef API_API_FAULT_H
#define API_API_FAULT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

enum api_dialect { API_OPENAI, API_ANTHROPIC, API_OLLAMA };

struct api_fault {
    int status;             /* of HTTP; 0: all is well */
    char code[48];          /* "context_length_exceeded"; empty: null */
    char param[96];         /* "messages[3].content"; empty: null */
    char text[512];         /* one line, names the thing and the limit */
    unsigned retry_s;       /* Retry-After; 0: none */
    const char *request_id; /* for Anthropic's form; NULL: none */
};

/* Stores the fault and gives false: `return api_refuse(f, 400, "", "n", "n is at most %d", 8);`
 * A fault that is there already stays. */
bool api_refuse(struct api_fault *f, int status, const char *code, const char *param,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The fault of an event below. */
bool api_refuse_err(struct api_fault *f, const char *param, const struct errinfo *e);
/* The same of the store's, and its text alone, for clients: they are told what is wrong with what
 * they ask for.  What is wrong with the store names its address, and goes to the log. */
bool api_refuse_store(struct api_fault *f, const struct errinfo *e);
const char *api_fault_store_text(const struct errinfo *e);

/* Appends the error object: {"error":{message,type,param,code}} for OpenAI,
 * {"type":"error","error":{type,message},request_id} for Anthropic, {"error":"..."} for Ollama. */
void api_fault_body(const struct api_fault *f, enum api_dialect dialect, struct str *out);
/* OpenAI's `type` of a status. */
const char *api_fault_type(int status);

#endif
