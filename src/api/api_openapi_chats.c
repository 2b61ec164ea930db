/* SPDX-License-Identifier: MIT
 * api_openapi_chats.c - what the endpoints of /api/v1 take and give, for /openapi.json: they are
 * ours, so no other description has them. */
#include "api/api_openapi.h"

#include "base/num.h"

#include <string.h>

#define S         API_S
#define I         API_I
#define N         API_N
#define B         API_B
#define S_OR_NULL API_S_OR_NULL
#define REF(name) API_REF(name)
#define LIST(of)  API_LIST(of)

static const struct api_openapi_schema schemas[] = {
    {"Chat",
     "{\"id\":" S ",\"title\":" S ",\"created\":" I ",\"updated\":" N ",\"pinned\":" B
     ",\"archived\":" B ",\"folder\":" S_OR_NULL ",\"model\":" S ",\"temporary\":" B
     ",\"running\":" B ",\"tools\":" LIST(S) ",\"tools_always\":" LIST(S) ",\"snippet\":" S "}"                   },
    {"ChatList",       "{\"chats\":" LIST(REF("Chat")) ",\"more\":" B "}"                                         },
    {"ChatWhole",
     "{\"chat\":" REF("Chat") ",\"messages\":" LIST(REF("ChatMessage")) ",\"head\":" S_OR_NULL "}"                },
    {"ChatChange",
     "{\"title\":" S ",\"pinned\":" B ",\"archived\":" B ",\"folder\":" S_OR_NULL
     ",\"model\":" S_OR_NULL ",\"head\":" S ",\"tools\":" LIST(S) ",\"tools_always\":" LIST(S) "}"                },
    {"ChatNew",        "{\"model\":" S ",\"folder\":" S ",\"temporary\":" B "}"                                   },
    {"ChatMessage",
     "{\"id\":" S ",\"parent\":" S_OR_NULL
     ",\"role\":{\"enum\":[\"user\",\"assistant\",\"system\"]}"
     ",\"content\":" S ",\"reasoning\":" S ",\"model\":" S ",\"created\":" I
     ",\"status\":{\"enum\":[\"running\",\"done\",\"stopped\",\"error\"]},\"error\":" S
     ",\"usage\":{\"anyOf\":[" REF("ChatUsage") ",{\"type\":\"null\"}]},\"files\":" LIST(
         REF("ChatFile")) ",\"calls\":" LIST(REF("ChatCall")) "}"                                                 },
    {"ChatUsage",      "{\"prompt_tokens\":" I ",\"completion_tokens\":" I ",\"cached_tokens\":" I
                  ",\"tokens_per_second\":" N ",\"context\":" I ",\"sim\":" REF("ChatSim") "}"   },
    {"ChatOptions",    "{\"temperature\":" N ",\"top_p\":" N ",\"top_k\":" I ",\"min_p\":" N
                    ",\"seed\":" I ",\"max_tokens\":" I ",\"reasoning_effort\":" S
                    ",\"stop\":" LIST(S) ",\"repeat_penalty\":" N ",\"presence_penalty\":" N
                                         ",\"frequency_penalty\":" N ",\"tool_choice\":" S
                                         ",\"json_schema\":{\"type\":\"object\"}}"             },
    {"ChatAsk",        "{\"parent\":" S_OR_NULL ",\"content\":" S
                ",\"files\":" LIST(S) ",\"model\":" S ",\"options\":" REF("ChatOptions") "}"       },
    {"ChatAgain",      "{\"model\":" S ",\"options\":" REF("ChatOptions") "}"                                     },
    {"ChatTurn",       "{\"user\":" REF("ChatMessage") ",\"answer\":" REF("ChatMessage") "}"                      },
    {"ChatEdit",       "{\"content\":" S "}"                                                                      },
    {"ChatRemoved",    "{\"deleted\":" B ",\"removed\":" LIST(S) ",\"head\":" S_OR_NULL "}"                       },
    {"ChatCall",       "{\"id\":" S ",\"tool\":" S ",\"server\":" S ",\"name\":" S ",\"title\":" S
                 ",\"arguments\":" S ",\"at\":" I ",\"round\":" I
                 ",\"state\":{\"enum\":[\"asked\",\"allowed\",\"running\",\"done\",\"failed\","
                 "\"refused\",\"stopped\"]},\"result\":" S ",\"bytes\":" I ",\"kept\":" I
                 ",\"images\":" LIST("{\"type\":\"object\",\"properties\":{\"type\":" S
                                     ",\"data\":" S "}}") "}"                                     },
    {"ChatDecide",
     "{\"allow\":{\"enum\":[\"once\",\"always\",\"no\"]},\"options\":" REF("ChatOptions") "}"                     },
    {"ChatChip",       "{\"name\":" S ",\"title\":" S ",\"computes\":" S ",\"watts\":" N
                 ",\"memory_gb\":" N ",\"assumed\":" I "}"                                        },
    {"ChatChips",      "{\"chips\":" LIST(REF("ChatChip")) ",\"numerics\":" S "}"                                 },
    {"ChatCompareAsk",
     "{\"chips\":" LIST(S) ",\"model\":" S ",\"prompt_tokens\":" I ",\"cached_tokens\":" I
                           ",\"completion_tokens\":" I "}"                                                        },
    {"ChatCompareRow", "{\"name\":" S ",\"title\":" S ",\"computes\":" S ",\"watts\":" N
                       ",\"memory_gb\":" N ",\"assumed\":" I ",\"error\":" S ",\"ttft_ms\":" N
                       ",\"tpot_ms\":{\"type\":[\"number\",\"null\"]},\"joules\":" N
                       ",\"tokens_per_joule\":{\"type\":[\"number\",\"null\"]}}"            },
    {"ChatCompare",
     "{\"model\":" S ",\"simulated\":" B ",\"chips\":" LIST(REF("ChatCompareRow")) "}"                            },
    {"ChatSim",
     "{\"device\":" S ",\"chips\":" I ",\"ttft_ms\":{\"type\":[\"number\",\"null\"]},\"tpot_ms\":{"
     "\"type\":[\"number\",\"null\"]},\"joules\":" N
     ",\"tokens_per_joule\":{\"type\":[\"number\",\"null\"]},\"assumed\":" LIST(S) "}"                            },
    {"ChatDevice",     "{\"name\":" S ",\"title\":" S ",\"chips\":" I ",\"simulated\":" B
                   ",\"computes\":" S ",\"clock\":" S ",\"watts\":" N ",\"memory_bytes\":" I
                   ",\"weight_bytes\":" I ",\"assumed\":" LIST(S) "}"                           },
    {"ChatPageAsk",    "{\"url\":" S "}"                                                                          },
    {"ChatPage",
     "{\"id\":" S ",\"name\":" S ",\"type\":" S ",\"size\":" I ",\"url\":" S ",\"cut\":" B "}"                    },
    {"ChatTool",       "{\"id\":" S ",\"name\":" S ",\"title\":" S ",\"description\":" S
                 ",\"input_schema\":{\"type\":\"object\"}}"                                       },
    {"ChatToolServer", "{\"name\":" S ",\"state\":{\"enum\":[\"starting\",\"ready\",\"failed\"]}"
                       ",\"error\":" S ",\"tools\":" LIST(REF("ChatTool")) "}"              },
    {"ChatTools",      "{\"pages\":" B ",\"servers\":" LIST(REF("ChatToolServer")) "}"                            },
    {"ChatFile",
     "{\"id\":" S ",\"name\":" S ",\"type\":" S ",\"size\":" I ",\"source\":" S ",\"kept\":" I "}"                },
    {"ChatFolder",     "{\"id\":" S ",\"name\":" S ",\"instructions\":" S ",\"created\":" I
                   ",\"files\":" LIST(REF("ChatFile")) "}"                                      },
    {"ChatFolderFile", "{\"file\":" S "}"                                                                         },
    {"ChatFolders",    "{\"folders\":" LIST(REF("ChatFolder")) "}"                                                },
    {"ChatSettings",   "{}"                                                                                       },
    {"ChatShareNew",   "{\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":365}}"                          },
    {"ChatShare",      "{\"token\":" S ",\"expires\":" I "}"                                                      },
    {"ChatShared",     "{\"title\":" S ",\"messages\":" LIST(
                       "{\"type\":\"object\"}") ",\"created\":" I ",\"expires\":" I ",\"likes\":" I
                                                ",\"liked\":" B ",\"comments\":" B
                                                ",\"notes\":" LIST(REF("ChatNote")) "}"         },
    {"ChatNote",       "{\"id\":" S ",\"name\":" S ",\"text\":" S ",\"message\":" S ",\"quote\":" S
                 ",\"nth\":" I ",\"created\":" I ",\"likes\":" I ",\"liked\":" B ",\"own\":" B "}"},
    {"ChatNoteNew",
     "{\"text\":" S ",\"name\":" S ",\"message\":" S ",\"quote\":" S ",\"nth\":" I "}"                            },
    {"ChatSaid",
     "{\"likes\":" I ",\"liked\":" B ",\"comments\":" B ",\"notes\":" LIST(REF("ChatNote")) "}"                   },
    {"ChatLike",       "{\"on\":" B ",\"note\":" S "}"                                                            },
    {"ChatShares",
     "{\"shares\":" LIST("{\"type\":\"object\",\"properties\":{\"token\":" S ",\"title\":" S
                         ",\"created\":" I ",\"expires\":" I ",\"likes\":" I ",\"comments\":" B
                         "}}") ",\"notes\":" LIST(REF("ChatNote")) "}"                                            },
    {"ChatShareSet",   "{\"comments\":" B "}"                                                                     },
    {"ChatImport",
     "{\"source\":" S ",\"title\":" S ",\"created\":" N ",\"updated\":" N ",\"pinned\":" B
     ",\"archived\":" B ",\"folder\":" S ",\"model\":" S ",\"head\":" S_OR_NULL
     ",\"messages\":" LIST("{\"type\":\"object\",\"properties\":{\"id\":" S ",\"parent\":" S_OR_NULL
                           ",\"role\":{\"enum\":[\"user\",\"assistant\",\"system\"]}"
                           ",\"content\":" S ",\"reasoning\":" S ",\"model\":" S ",\"created\":" N
                           ",\"files\":" LIST(S) "}}") "}"                                                        },
    {"ChatImported",   "{\"known\":" B ",\"chat\":" REF("Chat") "}"                                               },
    {"ChatDeleted",    "{\"deleted\":" B "}"                                                                      },
    {"ChatMe",
     "{\"user\":{\"type\":\"object\",\"properties\":{\"id\":" S ",\"name\":" S ",\"role\":" S "}}"
     ",\"accounts\":" B ",\"user_keys\":" B ",\"version\":" S ",\"models\":" LIST(
         "{\"type\":\"object\",\"properties\":{\"id\":" S ",\"name\":" S ",\"context\":" I
         ",\"tools\":" B ",\"pictures\":" B ",\"device\":{\"anyOf\":[" REF(
             "ChatDevice") ",{\"type\":\"null\"}]}}}") ",\"default_model\":" S ",\"pages\":" B "}"                },
};

static const struct api_openapi_use uses[] = {
    {"GET",    "me",                                    NULL,             "ChatMe"      },
    {"GET",    "chats",                                 NULL,             "ChatList"    },
    {"POST",   "chats",                                 "ChatNew",        "Chat"        },
    {"GET",    "chats/{id}",                            NULL,             "ChatWhole"   },
    {"PATCH",  "chats/{id}",                            "ChatChange",     "Chat"        },
    {"DELETE", "chats/{id}",                            NULL,             "ChatDeleted" },
    {"POST",   "chats/{id}/restore",                    NULL,             "Chat"        },
    {"POST",   "chats/{id}/messages",                   "ChatAsk",        "ChatTurn"    },
    {"PATCH",  "chats/{id}/messages/{mid}",             "ChatEdit",       "ChatMessage" },
    {"DELETE", "chats/{id}/messages/{mid}",             NULL,             "ChatRemoved" },
    {"POST",   "chats/{id}/messages/{mid}/regenerate",  "ChatAgain",      "ChatMessage" },
    {"POST",   "chats/{id}/messages/{mid}/continue",    "ChatAgain",      "ChatMessage" },
    {"POST",   "chats/{id}/messages/{mid}/stop",        NULL,             "ChatMessage" },
    {"POST",   "chats/{id}/share",                      "ChatShareNew",   "ChatShare"   },
    {"DELETE", "chats/{id}/share",                      NULL,             "ChatDeleted" },
    {"GET",    "chats/{id}/share",                      NULL,             "ChatShares"  },
    {"PATCH",  "chats/{id}/share",                      "ChatShareSet",   "ChatShares"  },
    {"DELETE", "chats/{id}/share/notes/{nid}",          NULL,             "ChatDeleted" },
    {"POST",   "shared/{token}/like",                   "ChatLike",       "ChatSaid"    },
    {"POST",   "shared/{token}/notes",                  "ChatNoteNew",    "ChatSaid"    },
    {"DELETE", "shared/{token}/notes/{nid}",            NULL,             "ChatDeleted" },
    {"POST",   "import",                                "ChatImport",     "ChatImported"},
    {"POST",   "folders/{id}/files",                    "ChatFolderFile", "ChatFolder"  },
    {"DELETE", "folders/{id}/files/{fid}",              NULL,             "ChatFolder"  },
    {"GET",    "shared/{token}",                        NULL,             "ChatShared"  },
    {"POST",   "shared/{token}/copy",                   NULL,             "Chat"        },
    {"GET",    "folders",                               NULL,             "ChatFolders" },
    {"POST",   "folders",                               "ChatFolder",     "ChatFolder"  },
    {"PATCH",  "folders/{id}",                          "ChatFolder",     "ChatFolder"  },
    {"DELETE", "folders/{id}",                          NULL,             "ChatDeleted" },
    {"GET",    "settings",                              NULL,             "ChatSettings"},
    {"PUT",    "settings",                              "ChatSettings",   "ChatSettings"},
    {"POST",   "chats/{id}/messages/{mid}/calls/{cid}", "ChatDecide",     "ChatMessage" },
    {"POST",   "pages",                                 "ChatPageAsk",    "ChatPage"    },
    {"GET",    "chips",                                 NULL,             "ChatChips"   },
    {"POST",   "compare",                               "ChatCompareAsk", "ChatCompare" },
    {"GET",    "tools",                                 NULL,             "ChatTools"   },
    {"POST",   "files",                                 NULL,             "ChatFile"    },
};

/* What may stand in the address behind '?'. */
static const struct {
    const char *path, *name, *type;
} queries[] = {
    {"chats",             "q",        "string" },
    {"chats",             "folder",   "string" },
    {"chats",             "archived", "integer"},
    {"chats",             "before",   "number" },
    {"chats",             "limit",    "integer"},
    {"events",            "chat",     "string" },
    {"events",            "last",     "string" },
    {"chats/{id}/export", "as",       "string" },
    {"files",             "name",     "string" },
    {"admin/usage",       "days",     "integer"},
    {"admin/live",        "offers",   "integer"},
    {"files/{id}",        "as",       "string" },
};

static json_t *content_of(const char *schema)
{
    json_t *ref = json_sprintf("#/components/schemas/%s", schema);
    return api_pack("{s{s{so}}}", "application/json", "schema", "$ref", ref);
}

static void add_schemas(json_t *to, const struct api_openapi_schema *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *members = json_loads(list[i].members, 0, NULL);
        CHECK(members);
        json_object_set_new(to, list[i].name,
                            api_pack("{ssso}", "type", "object", "properties", members));
    }
}

void api_openapi_chats_schemas(json_t *to)
{
    size_t n;
    const struct api_openapi_schema *people = api_openapi_people(&n);
    add_schemas(to, schemas, N_ELEMS(schemas));
    add_schemas(to, people, n);
}

static void set_queries(json_t *operation, const char *path, bool post)
{
    json_t *list = json_object_get(operation, "parameters");
    for (size_t i = 0; i < N_ELEMS(queries); i++) {
        /* of two methods at one path, only files are posted with a query */
        if (strcmp(queries[i].path, path) != 0 || post != (strcmp(path, "files") == 0))
            continue;
        json_array_append_new(list, api_pack("{ss ss s{ss}}", "name", queries[i].name, "in",
                                             "query", "schema", "type", queries[i].type));
    }
}

static void set_bodies(json_t *operation, const char *method, const char *path,
                       const struct api_openapi_use *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].method, method) != 0 || strcmp(list[i].path, path) != 0)
            continue;
        json_t *ok = json_object_get(json_object_get(operation, "responses"), "200");
        json_object_set_new(ok, "content", content_of(list[i].gives));
        if (list[i].takes)
            json_object_set_new(json_object_get(operation, "requestBody"), "content",
                                content_of(list[i].takes));
    }
}

void api_openapi_chats(json_t *operation, const char *method, const char *path)
{
    static const char base[] = "/api/v1/";
    bool post = strcmp(method, "POST") == 0;
    if (strncmp(path, base, sizeof base - 1) != 0)
        return;
    path += sizeof base - 1;
    json_object_set_new(operation, "tags", api_pack("[s]", "damso"));
    if (post || strcmp(method, "GET") == 0)
        set_queries(operation, path, post);
    size_t n;
    const struct api_openapi_use *people = api_openapi_people_uses(&n);
    set_bodies(operation, method, path, uses, N_ELEMS(uses));
    set_bodies(operation, method, path, people, n);
    if (strcmp(path, "files") == 0)
        json_object_set_new(json_object_get(operation, "requestBody"), "content",
                            api_pack("{s{s{ss}}}", "text/plain", "schema", "type", "string"));
}
