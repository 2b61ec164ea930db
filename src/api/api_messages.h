/* SPDX-License-Identifier: MIT
 * api_messages.h - Anthropic's requests as ours.
 *
 * What a local model does with what it cannot: the sampling and structured output fields of
 * OpenAI's endpoints (api_ask_common) are taken here, too; cache_control, metadata, service_tier
 * and thinking.budget_tokens are checked or left alone and change nothing (a prompt's known
 * beginning is always reused, and no limit parts reasoning from the answer); what asks for
 * Anthropic's own machines (server tools, MCP, containers, files) is refused by its name. */
#ifndef API_API_MESSAGES_H
#define API_API_MESSAGES_H

#include "api/api_ask.h"

/* A request of /v1/messages, or of its count_tokens, which has no max_tokens.  A last message of
 * the assistant becomes ask->prefill: its text; reasoning in it is left out. */
bool api_messages_ask(struct api_ask *ask, const struct api_in *in, struct arena *a, bool counts);

#endif
