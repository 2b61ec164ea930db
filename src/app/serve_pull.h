/* SPDX-License-Identifier: MIT
 * serve_pull.h - loads of models while a server runs: the api_loader of api.h.
 *
 * The server itself can neither connect, nor start a program, nor write where models are.  A child
 * that was forked before it gave that up (pull_child.h) does, for names that the catalogue has.
 * Does: look names up, tell of loads as they go, add the models to the server's (serve_models.h).
 * Threads: open, run and end by one; the loader's functions by any; news on a thread of its own.
 * Owner: the caller; what the models and settings are must live until close. */
#ifndef APP_SERVE_PULL_H
#define APP_SERVE_PULL_H

#include "app/serve_models.h"

struct serve_pull;

/* Forks the child: before there are threads, blocked signals and a sandbox.  NULL in *out where
 * models cannot be loaded; loader says so.  Errors: FAILED. */
enum err serve_pull_open(struct serve_pull **out, struct serve_models *models,
                         struct api_loader *loader, struct errinfo *e);
/* The thread that reads news: after the files were given up. */
void serve_pull_run(struct serve_pull *p);
/* Cancels what is loaded and takes nothing more; returns when all news were told.  For all, NULL
 * is fine. */
void serve_pull_end(struct serve_pull *p);
void serve_pull_close(struct serve_pull *p);

#endif
