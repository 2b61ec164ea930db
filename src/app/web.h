/* SPDX-License-Identifier: MIT
 * web.h - the web app that this program carries, as tools/embed_web.cmake found it at the build. */
#ifndef APP_WEB_H
#define APP_WEB_H

#include "api/api_web.h"

extern const struct api_web app_web; /* n is 0 without the app */

#endif
