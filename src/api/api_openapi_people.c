/* SPDX-License-Identifier: MIT
 * api_openapi_people.c - what the endpoints of accounts and admins take and give, for
 * /openapi.json. */
#include "api/api_openapi.h"

#include "base/num.h"

#define S         API_S
#define I         API_I
#define N         API_N
#define B         API_B
#define S_OR_NULL API_S_OR_NULL
#define REF(name) API_REF(name)
#define LIST(of)  API_LIST(of)

#define ROLE   "{\"enum\":[\"admin\",\"user\"]}"
#define LIMITS "\"requests_minute\":" I ",\"tokens_minute\":" I ",\"n_concurrent\":" I

static const struct api_openapi_schema schemas[] = {
    {"User",            "{\"id\":" S ",\"name\":" S ",\"role\":" ROLE "}"                                          },
    {"LoginState",      "{\"accounts\":" B
                   ",\"user\":{\"anyOf\":[" REF("User") ",{\"type\":\"null\"}]},\"empty\":" B "}"},
    {"Login",           "{\"name\":" S ",\"password\":" S "}"                                                      },
    {"LoggedIn",        "{\"user\":" REF("User") "}"                                                               },
    {"LoggedOut",       "{\"ended\":" B "}"                                                                        },
    {"LinkLook",        "{\"token\":" S "}"                                                                        },
    {"Link",            "{\"kind\":{\"enum\":[\"invitation\",\"password\"]},\"role\":" ROLE ",\"name\":" S
             ",\"expires\":" I "}"                                                                     },
    {"Join",            "{\"token\":" S ",\"name\":" S_OR_NULL ",\"password\":" S "}"                              },
    {"Session",         "{\"id\":" S ",\"created\":" I ",\"used\":" I ",\"expires\":" I ",\"agent\":" S
                ",\"address\":" S ",\"here\":" B "}"                                                },
    {"Key",             "{\"id\":" S ",\"name\":" S ",\"scopes\":" S ",\"created\":" I ",\"expires\":" I
            ",\"revoked\":" I ",\"used\":" I "," LIMITS ",\"user\":" S_OR_NULL ",\"key\":" S "}"        },
    {"KeyNew",          "{\"name\":" S ",\"scopes\":" S ",\"days\":" I "," LIMITS "}"                              },
    {"KeyRevoked",      "{\"revoked\":" B "}"                                                                      },
    {"Keys",            "{\"keys\":" LIST(REF("Key")) "}"                                                          },
    {"Account",
     "{\"id\":" S ",\"name\":" S ",\"role\":" ROLE ",\"created\":" I "," LIMITS
     ",\"sessions\":" LIST(REF("Session")) ",\"keys\":" LIST(REF("Key")) ",\"user_keys\":" B "}"                   },
    {"AccountChange",   "{\"name\":" S "}"                                                                         },
    {"PasswordChange",  "{\"old\":" S ",\"new\":" S "}"                                                            },
    {"AdminUser",       "{\"id\":" S ",\"name\":" S ",\"role\":" ROLE ",\"created\":" I ",\"seen\":" I
                  ",\"disabled\":" I ",\"password\":" B "," LIMITS "}"                            },
    {"AdminUsers",      "{\"users\":" LIST(REF("AdminUser")) "}"                                                   },
    {"AdminUserChange", "{\"role\":" ROLE ",\"disabled\":" B "," LIMITS "}"                                        },
    {"Invitation",      "{\"id\":" S ",\"kind\":" S ",\"role\":" ROLE ",\"note\":" S ",\"uses_left\":" I
                   ",\"created\":" I ",\"expires\":" I ",\"token\":" S "}"                       },
    {"Invitations",     "{\"invitations\":" LIST(REF("Invitation")) "}"                                            },
    {"InvitationNew",   "{\"role\":" ROLE ",\"note\":" S
                      ",\"hours\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":2160}"
                      ",\"uses\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100}}"       },
    {"LiveModel",       "{\"id\":" S ",\"state\":{\"enum\":[\"open\",\"opening\",\"closed\",\"broken\"]}"
                  ",\"format\":" S ",\"bytes\":" I ",\"weights\":" I ",\"context\":" I
                  ",\"error\":" S ",\"in_use\":" B ",\"memory\":{\"type\":\"object\"}"
                  ",\"load\":{\"type\":\"object\"}}"                                              },
    {"Live",            "{\"now\":" N ",\"started\":" I ",\"version\":" S ",\"parallel\":" I ",\"resident\":" I
             ",\"memory\":" I ",\"available\":" I ",\"connections\":" I
             ",\"models\":" LIST(REF("LiveModel")) ",\"pulls\":" LIST(
                 "{\"type\":\"object\",\"properties\":{\"name\":" S ",\"bytes\":" I ",\"total\":" I
                 "}}") ",\"loads\":" B ",\"offers\":" LIST("{\"type\":\"object\"}") "}"                },
    {"ModelName",       "{\"model\":" S "}"                                                                        },
    {"Unloaded",        "{\"unloaded\":" B "}"                                                                     },
    {"UsageRow",        "{\"day\":" I ",\"owner\":" S ",\"name\":" S ",\"model\":" S ",\"requests\":" I
                 ",\"prompt_tokens\":" I ",\"answer_tokens\":" I "}"                               },
    {"Runs",            "{\"folder\":" B ",\"more\":" B ",\"runs\":" LIST(REF("Run")) "}"                          },
    {"Run",             "{\"id\":" S ",\"kind\":{\"enum\":[\"mlperf\",\"serve\"]},\"benchmark\":" S
            ",\"official_benchmark\":" B ",\"scenario\":" S ",\"mode\":" S ",\"verdict\":" S
            ",\"model\":" S ",\"tokens_per_s\":" N ",\"unix_time\":" I
            ",\"levels\":" LIST("{\"type\":\"object\"}") "}"                                            },
    {"Usage",           "{\"from\":" I ",\"to\":" I ",\"rows\":" LIST(REF("UsageRow")) "}"                         },
};

static const struct api_openapi_use uses[] = {
    {"GET",    "session",                NULL,              "LoginState" },
    {"POST",   "login",                  "Login",           "LoggedIn"   },
    {"POST",   "logout",                 NULL,              "LoggedOut"  },
    {"POST",   "invitation",             "LinkLook",        "Link"       },
    {"POST",   "join",                   "Join",            "LoggedIn"   },
    {"GET",    "account",                NULL,              "Account"    },
    {"PATCH",  "account",                "AccountChange",   "Account"    },
    {"POST",   "account/password",       "PasswordChange",  "Account"    },
    {"DELETE", "account/sessions",       NULL,              "Account"    },
    {"DELETE", "account/sessions/{id}",  NULL,              "Account"    },
    {"POST",   "account/keys",           "KeyNew",          "Key"        },
    {"DELETE", "account/keys/{id}",      NULL,              "KeyRevoked" },
    {"GET",    "runs",                   NULL,              "Runs"       },
    {"GET",    "runs/{id}",              NULL,              "Run"        },
    {"GET",    "admin/live",             NULL,              "Live"       },
    {"GET",    "admin/usage",            NULL,              "Usage"      },
    {"POST",   "admin/models/load",      "ModelName",       "LiveModel"  },
    {"POST",   "admin/models/unload",    "ModelName",       "Unloaded"   },
    {"GET",    "admin/keys",             NULL,              "Keys"       },
    {"POST",   "admin/keys",             "KeyNew",          "Key"        },
    {"DELETE", "admin/keys/{id}",        NULL,              "KeyRevoked" },
    {"GET",    "admin/users",            NULL,              "AdminUsers" },
    {"PATCH",  "admin/users/{id}",       "AdminUserChange", "AdminUser"  },
    {"POST",   "admin/users/{id}/reset", NULL,              "Invitation" },
    {"GET",    "admin/invitations",      NULL,              "Invitations"},
    {"POST",   "admin/invitations",      "InvitationNew",   "Invitation" },
    {"DELETE", "admin/invitations/{id}", NULL,              "ChatDeleted"},
};

const struct api_openapi_schema *api_openapi_people(size_t *n)
{
    *n = N_ELEMS(schemas);
    return schemas;
}

const struct api_openapi_use *api_openapi_people_uses(size_t *n)
{
    *n = N_ELEMS(uses);
    return uses;
}
