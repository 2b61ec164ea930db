/* SPDX-License-Identifier: MIT
 * fetch.h - one file from a web address to its place (landing.h), over HTTPS.
 *
 * Does: go on where an earlier run stopped (Range with If-Range, so that a file that changed
 *       meanwhile starts anew), follow at most 5 redirects and never from https to http, notice
 *       a stalled server, try again with growing pauses, explain what a server refused.  Proxies
 *       come from https_proxy and no_proxy, further certificates from CURL_CA_BUNDLE or
 *       SSL_CERT_FILE, as everywhere.
 * Does not: speak http, but to 127.0.0.1; send credentials.
 * Owner: the caller; one thread.  SIGINT and SIGTERM (cmd_stopped) end it with CANCELLED. */
#ifndef APP_FETCH_H
#define APP_FETCH_H

#include "app/landing.h"
#include "app/progress.h"
#include "base/err.h"

#include <stdint.h>

struct fetch_job {
    const char *url;
    const char *path;        /* where it shall stand */
    const char *title;       /* for the progress line */
    enum progress_form form; /* of that */
    uint64_t before;         /* bytes of other files, for that */
    uint64_t bytes;          /* 0: what the server states */
    const char *sha256;      /* NULL: not known */
    const char *licence_url; /* named where the server asks for a login; may be NULL */
    landing_check *check;    /* NULL: none */
    int stall_s;             /* seconds without a byte: the attempt has failed */
    int tries;               /* attempts in a row that bring no byte */
};

/* Errors: NETWORK, NOTFOUND (404, 410), CORRUPT (length, hash, check), BUSY, IO (also a full disk),
 * CANCELLED, USAGE (an address that is not https). */
enum err fetch_file(const struct fetch_job *job, struct errinfo *e);

#endif
