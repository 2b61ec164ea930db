/* SPDX-License-Identifier: MIT */
#include "app/chat_file.h"

#include "base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err write_whole(const char *path, const json_t *all, struct errinfo *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = json_dumpfd(all, fd, JSON_INDENT(2)) == 0 && write(fd, "\n", 1) == 1 &&
              fsync(fd) == 0;
    if (close(fd) != 0 || !ok)
        return err_set(e, ERR_IO, "%s: could not be written: %s", path, strerror(errno));
    return ERR_OK;
}

enum err chat_file_save(const char *path, json_t *messages, bool over, struct errinfo *e)
{
    struct arena tmp;
    if (!over && access(path, F_OK) == 0)
        return err_set(e, ERR_USAGE, "%s is there already; choose another name", path);
    arena_init(&tmp);
    char *part = arena_printf(&tmp, "%s.part", path);
    json_t *all = json_pack("{s:i, s:O}", "damso", 1, "messages", messages);
    enum err r = write_whole(part, all, e);
    if (r == ERR_OK && rename(part, path) != 0)
        r = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (r != ERR_OK)
        unlink(part);
    json_decref(all);
    arena_done(&tmp);
    return r;
}

static bool is_part(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (type && strcmp(type, "text") == 0)
        return json_is_string(json_object_get(part, "text"));
    return type && strcmp(type, "image") == 0 && json_is_string(json_object_get(part, "path"));
}

/* Pictures are in what the user says: all else is text. */
static bool is_message(const json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *content = json_object_get(m, "content"), *part;
    size_t i;
    if (!role || strcmp(role, "user") != 0)
        return role && json_is_string(content);
    json_array_foreach(content, i, part)
    {
        if (!is_part(part))
            return false;
    }
    return json_is_string(content) || json_array_size(content) > 0;
}

static enum err check_messages(const char *path, const json_t *messages, struct errinfo *e)
{
    size_t i;
    const json_t *m;
    if (!json_is_array(messages))
        return err_set(e, ERR_CORRUPT, "%s: \"messages\" is no list", path);
    json_array_foreach(messages, i, m)
    {
        if (!is_message(m))
            return err_set(e, ERR_CORRUPT, "%s: message %zu has no role and content", path, i + 1);
    }
    return ERR_OK;
}

enum err chat_file_load(const char *path, json_t **messages, struct errinfo *e)
{
    struct stat st;
    json_error_t at;
    *messages = NULL;
    if (stat(path, &st) != 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file", path);
    if ((size_t)st.st_size > CHAT_FILE_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "%s: a conversation has at most %zu bytes", path,
                       CHAT_FILE_BYTES_MAX);
    json_t *all = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!all)
        return err_set(e, ERR_CORRUPT, "%s:%d: %s", path, at.line, at.text);
    json_t *list = json_object_get(all, "messages");
    enum err r = check_messages(path, list, e);
    if (r == ERR_OK)
        *messages = json_incref(list);
    json_decref(all);
    return r;
}
