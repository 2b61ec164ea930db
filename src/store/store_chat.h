/* SPDX-License-Identifier: MIT
 * store_chat.h - what the web app keeps: chats whose messages are a tree, folders, files, settings,
 * shares.  Part of store.h, which see for threads, owners and how an operation runs.
 *
 * Does: search titles and texts by any part of a word, in any script: one syllable is enough.
 * Does not: know what settings and shares hold (JSON of who keeps them), or who runs an answer.
 * Times: seconds since 1970, but where a name says _us. */
#ifndef STORE_STORE_CHAT_H
#define STORE_STORE_CHAT_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_CHAT_MESSAGES_MAX  ((size_t)20000)     /* of a chat */
#define STORE_FOLDERS_MAX        ((size_t)1000)      /* of an owner */
#define STORE_MESSAGE_FILES_MAX  ((size_t)32)        /* of a message */
#define STORE_FOLDER_FILES_MAX   ((size_t)20)        /* of a folder */
#define STORE_FILE_BYTES_MAX     ((size_t)4 << 20)   /* of a file's text */
#define STORE_CALLS_BYTES_MAX    ((size_t)16 << 20)  /* of a message, with their results */
#define STORE_SETTINGS_BYTES_MAX ((size_t)256 << 10) /* of an owner */
#define STORE_PROSE_BYTES_MAX    ((size_t)64 << 10)  /* a folder's instructions */
#define STORE_SEARCH_BYTES_MAX   ((size_t)256)       /* what is looked for */
#define STORE_NOTES_MAX          ((size_t)500)       /* of a shared chat */
#define STORE_NOTE_BYTES_MAX     ((size_t)4000)      /* of its text, and of what it quotes */
#define STORE_NOTE_NAME_MAX      ((size_t)120)       /* bytes of who wrote it */
#define STORE_LIKES_MAX          100000              /* of a shared chat, and of a note */
#define STORE_SHARES_MAX         ((size_t)100)       /* of a chat */
#define STORE_OF_FOLDER          SIZE_MAX            /* in place of a message's index */
#define STORE_UNDO_S             600                 /* a deleted chat can be restored within */
#define STORE_TEMPORARY_S        86400 /* a temporary chat lives after its last change */
#define STORE_ORPHAN_S           86400 /* a file that no message has */

enum store_role { STORE_USER, STORE_ASSISTANT, STORE_SYSTEM, STORE_N_ROLES };
enum store_status { STORE_RUNNING, STORE_FINISHED, STORE_STOPPED, STORE_ERROR, STORE_N_STATUSES };

struct store_chat {
    const char *id;
    const char *title;  /* "": none yet */
    const char *model;  /* "": the default */
    const char *folder; /* id; NULL: none */
    const char *head;   /* the id of the message shown last; NULL: none */
    int64_t created, updated_us;
    bool pinned, archived;
    bool temporary;      /* in no list */
    bool titled;         /* the title is the user's own */
    bool deleted;        /* comes back, where `deleted_too` was said */
    bool running;        /* comes back: an answer is being written */
    const char *tools;   /* JSON of who keeps it; "{}" at first */
    const char *snippet; /* comes back from a search: where it was found; NULL: in the title */
};

struct store_file {
    const char *id, *name, *type;
    int64_t created;
    struct span body;
    const char *source; /* the address that it came from; "": none */
    size_t message;     /* CHAT_PATH: the index of the message that has it, or STORE_OF_FOLDER */
    size_t kept;        /* CHAT_PATH: bytes that the message's answers were shown; 0: all */
};

struct store_message {
    const char *id;
    const char *parent;  /* NULL: it begins */
    const char *sibling; /* MESSAGES_ADD: takes the parent of this one */
    enum store_role role;
    enum store_status status;
    struct span content, reasoning;
    const char *model; /* "": none */
    const char *error; /* "": none */
    const char *usage; /* JSON; NULL: none */
    int64_t created;
    const char *const *file_ids; /* MESSAGES_ADD */
    size_t n_files;
    const char *files;      /* comes back: JSON, [{id, name, type, size, source, kept}] */
    const char *calls;      /* of tools: JSON of who keeps it; NULL: "[]" */
    const char *calls_were; /* MESSAGE_SET: BUSY where they are not these; NULL: whatever */
    int64_t turn;           /* comes back: how often it began to be written */
    const size_t *kept;     /* MESSAGE_SET: of each file, in order */
    size_t n_kept;
};

struct store_folder {
    const char *id, *name, *instructions;
    const char *files; /* comes back: JSON, [{id, name, type, size}] */
    int64_t created;
};

struct store_share {
    const char *token, *title;
    int64_t created, expires;
    struct span body;
    bool comments; /* readers may leave notes */
    bool liked;    /* comes back: by this reader */
    int64_t n_likes;
};

/* What a reader of a shared chat left beside it. */
struct store_note {
    const char *id, *reader;
    const char *name;    /* "": none */
    const char *text;    /* lines */
    const char *message; /* the one that it is about, as the share's body has it; "": none */
    const char *quote;   /* the phrase there */
    int64_t nth;         /* the place of the phrase among those that are alike, from 0 */
    int64_t created;
    int64_t n_likes; /* comes back */
    bool liked, own; /* the same: by this reader */
};

/* What CHAT_SET and MESSAGE_SET change. */
enum store_set {
    STORE_SET_TITLE = 1,    /* and `titled` */
    STORE_SET_UNTITLED = 2, /* the title, unless the user gave one */
    STORE_SET_PINNED = 4,
    STORE_SET_ARCHIVED = 8,
    STORE_SET_FOLDER = 16,
    STORE_SET_MODEL = 32,
    STORE_SET_HEAD = 64,
    STORE_SET_CONTENT = 128,
    STORE_SET_REASONING = 256,
    STORE_SET_STATUS = 512, /* and error */
    STORE_SET_USAGE = 1024,
    STORE_SET_CALLS = 2048,
    STORE_SET_KEPT = 4096, /* of the message's files */
    STORE_SET_TOOLS = 8192
};

struct store_chat_query {
    const char *text;   /* every word of it is in the title or in one message; NULL: all */
    const char *folder; /* id; "": in none; NULL: any */
    bool archived;
    int64_t before_us; /* updated before; 0: all */
    size_t limit;      /* pinned ones are not counted */
};

struct store_chats {
    const char *owner;
    const char *id, *at;
    struct store_chat chat;
    struct store_message message;
    const struct store_message *add;
    size_t n_add;
    const char
        *default_model; /* of an answer that is added, where neither it nor the chat has one */
    unsigned set;       /* enum store_set */
    bool deleted_too;   /* MESSAGE_SET: also of a chat that was deleted and may come back */
    bool idle;          /* MESSAGE_SET, MESSAGE_DELETE: not while it runs */
    bool mine; /* MESSAGE_SET: by who writes it, in turn message.turn; NOTFOUND: not any more */
    struct store_folder folder;
    struct store_file file;
    struct store_share share;
    struct store_note note;
    bool liked;
    const char *source; /* CHAT_IMPORT */
    struct span settings;
    struct store_chat_query query;

    /* What comes back, of op.arena. */
    struct store_chat *chats;
    struct store_message *messages;
    struct store_folder *folders;
    struct store_file *files;
    struct store_share *shares;
    struct store_note *notes;
    size_t n_chats, n_messages, n_folders, n_files, n_shares, n_notes;
    bool known;               /* CHAT_IMPORT */
    const char *instructions; /* CHAT_PATH: the folder's; "" */
    bool more;
};

#endif
