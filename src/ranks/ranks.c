/* SPDX-License-Identifier: MIT */
#include "ranks/ranks.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANKS_LIB      "libmpi.so.40"
#define RANKS_PIECE    ((size_t)1 << 28) /* bytes of a message: MPI counts with an int */
#define RANKS_HURRY_NS 500000000u
#define RANKS_SPIN_NS  2000000u /* looks at once, then with sleeps between */
#define RANKS_NAP_NS   50000u
#define RANKS_SLEEP_NS 1000000u
#define RANKS_LONG_NS  1000000000u
#define RANKS_TAG      1
#define RANKS_ERROR    512 /* of MPI_Error_string, with room */

/* Open MPI's binary interface: handles are pointers to its objects. */
#define MPI_THREADS_SERIALIZED 2
typedef void *mpi_handle;

struct mpi {
    void *lib;
    mpi_handle world, byte, errors_return;
    int (*init_thread)(int *, char ***, int, int *);
    int (*finalize)(void);
    int (*set_errhandler)(mpi_handle, mpi_handle);
    int (*size)(mpi_handle, int *);
    int (*rank)(mpi_handle, int *);
    int (*isend)(const void *, int, mpi_handle, int, int, mpi_handle, mpi_handle *);
    int (*irecv)(void *, int, mpi_handle, int, int, mpi_handle, mpi_handle *);
    int (*test)(mpi_handle *, int *, void *);
    int (*error_string)(int, char *, int *);
};

/* btl_vader_backing_directory, where there is no memory of System V: see ranks_open */
const char *const ranks_removes[] = {"/dev/shm", NULL};

static struct {
    struct mpi mpi;
    struct ranks_opts opts;
    size_t n, me;
    bool open;
    atomic_bool hurry, broken;
    char why[256];
} ranks;

static size_t from_environment(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : 0;
    return text && *text && !*end ? n : otherwise;
}

size_t ranks_started(void)
{
    return MAX(from_environment("OMPI_COMM_WORLD_SIZE", 1), (size_t)1);
}

size_t ranks_number(void)
{
    return from_environment("OMPI_COMM_WORLD_RANK", 0);
}

size_t ranks_on_machine(void)
{
    return MAX(from_environment("OMPI_COMM_WORLD_LOCAL_SIZE", 1), (size_t)1);
}

/* ---- the library ---- */

/* dlsym gives an object's address, which POSIX has fit a function's. */
static bool find(const char *name, void *fn)
{
    void *at = dlsym(ranks.mpi.lib, name);
    memcpy(fn, &at, sizeof at);
    return at != NULL;
}

static enum err load(struct errinfo *e)
{
    struct mpi *m = &ranks.mpi;
    m->lib = dlopen(RANKS_LIB, RTLD_NOW | RTLD_GLOBAL);
    if (!m->lib)
        return err_set(e, ERR_NOTFOUND,
                       "mpirun started %zu processes of this, and Open MPI's library is not here "
                       "(Debian: apt install openmpi-bin): %s",
                       ranks_started(), dlerror());
    bool all = find("MPI_Init_thread", &m->init_thread) && find("MPI_Finalize", &m->finalize) &&
               find("MPI_Comm_set_errhandler", &m->set_errhandler) &&
               find("MPI_Comm_size", &m->size) && find("MPI_Comm_rank", &m->rank) &&
               find("MPI_Isend", &m->isend) && find("MPI_Irecv", &m->irecv) &&
               find("MPI_Test", &m->test) && find("MPI_Error_string", &m->error_string) &&
               find("ompi_mpi_comm_world", &m->world) && find("ompi_mpi_byte", &m->byte) &&
               find("ompi_mpi_errors_return", &m->errors_return);
    return all ? ERR_OK
               : err_set(e, ERR_NOTFOUND, "%s is no library of Open MPI 4 or 5", RANKS_LIB);
}

/* ---- what goes wrong ---- */

bool ranks_broken(void)
{
    return atomic_load(&ranks.broken);
}

const char *ranks_why(void)
{
    return ranks_broken() ? ranks.why : "";
}

void ranks_hurry(void)
{
    atomic_store(&ranks.hurry, true);
}

static bool hurries(void)
{
    return atomic_load(&ranks.hurry) || (ranks.opts.hurry && ranks.opts.hurry());
}

static bool give_up(const char *what, size_t peer)
{
    if (ranks_broken())
        return false;
    snprintf(ranks.why, sizeof ranks.why,
             "process %zu of the %zu that compute the model is gone: %s; nothing more can be "
             "computed",
             peer, ranks.n, what);
    atomic_store(&ranks.broken, true);
    log_at(LOG_ERROR, "ranks", "rank=%zu peer=%zu error=\"%s\"", ranks.me, peer, what);
    if (ranks.opts.broken && !hurries()) /* else it ends already */
        ranks.opts.broken();
    return false;
}

static bool failed(int code, size_t peer)
{
    char text[RANKS_ERROR] = "";
    int n = 0;
    ranks.mpi.error_string(code, text, &n);
    return give_up(text, peer);
}

/* ---- messages ---- */

struct flight {
    mpi_handle request[2 * RANKS_MAX];
    size_t at[2 * RANKS_MAX];  /* bytes that have gone or come */
    size_t now[2 * RANKS_MAX]; /* of the request that runs; 0: none */
    size_t n_left;
};

/* The next piece of message i. */
static bool start(struct flight *f, const struct ranks_io *io, size_t i)
{
    const struct mpi *m = &ranks.mpi;
    size_t n = MIN(io->bytes - f->at[i], RANKS_PIECE);
    char *p = (char *)io->p + f->at[i];
    int peer = (int)io->peer;
    f->now[i] = n;
    if (n == 0) {
        f->n_left--;
        return true;
    }
    int code = io->sends ? m->isend(p, (int)n, m->byte, peer, RANKS_TAG, m->world, &f->request[i])
                         : m->irecv(p, (int)n, m->byte, peer, RANKS_TAG, m->world, &f->request[i]);
    return code == 0 || failed(code, io->peer);
}

/* Looks once at all that is under way; *moved: something came to its end. */
static bool look(struct flight *f, const struct ranks_io *io, size_t n, bool *moved)
{
    for (size_t i = 0; i < n; i++) {
        int done = 0;
        if (f->now[i] == 0)
            continue;
        int code = ranks.mpi.test(&f->request[i], &done, NULL);
        if (code != 0)
            return failed(code, io[i].peer);
        if (!done)
            continue;
        *moved = true;
        f->at[i] += f->now[i];
        if (!start(f, &io[i], i))
            return false;
    }
    return true;
}

static size_t peer_of(const struct flight *f, const struct ranks_io *io, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f->now[i])
            return io[i].peer;
    return 0;
}

static uint64_t limit_of(enum ranks_patience p)
{
    if (p != RANKS_IDLE && hurries())
        return RANKS_HURRY_NS;
    return p == RANKS_STEP ? (uint64_t)ranks.opts.timeout_s * 1000000000u : UINT64_MAX;
}

static void rest(uint64_t waited, enum ranks_patience p)
{
    if (p == RANKS_STEP || waited < RANKS_SPIN_NS)
        sched_yield();
    else
        os_sleep_until_ns(os_now_ns() + (waited < RANKS_LONG_NS ? RANKS_NAP_NS : RANKS_SLEEP_NS));
}

bool ranks_run(const struct ranks_io *io, size_t n, enum ranks_patience p)
{
    struct flight f;
    uint64_t since = os_now_ns();
    CHECK(n <= 2 * RANKS_MAX);
    if (ranks_broken())
        return false;
    memset(f.at, 0, n * sizeof *f.at);
    f.n_left = n;
    for (size_t i = 0; i < n; i++)
        if (!start(&f, &io[i], i))
            return false;
    while (f.n_left > 0) {
        bool moved = false;
        if (!look(&f, io, n, &moved))
            return false;
        uint64_t now = os_now_ns();
        since = moved ? now : since;
        if (f.n_left > 0 && now - since > limit_of(p))
            return give_up(hurries() ? "it gave no answer while this one was to end"
                                     : "it gave no answer within the rank_timeout",
                           peer_of(&f, io, n));
        if (!moved)
            rest(now - since, p);
    }
    return true;
}

/* ---- joining and leaving ---- */

/* A few bytes and some more with each, by whatever ways Open MPI has for them. */
static bool greet(void)
{
    static const size_t sizes[] = {8, (size_t)1 << 20};
    struct ranks_io io[2 * RANKS_MAX];
    char *out = mem_alloc(sizes[1]), *in = mem_alloc(sizes[1]);
    bool well = true;
    for (size_t s = 0; s < N_ELEMS(sizes); s++)
        for (size_t d = 1; well && d < ranks.n; d++) {
            io[0] = (struct ranks_io){out, sizes[s], (ranks.me + d) % ranks.n, true};
            io[1] = (struct ranks_io){in, sizes[s], (ranks.me + ranks.n - d) % ranks.n, false};
            well = ranks_run(io, 2, RANKS_STEP);
        }
    mem_free(out);
    mem_free(in);
    return well;
}

enum err ranks_open(const struct ranks_opts *o, struct errinfo *e)
{
    struct mpi *m = &ranks.mpi;
    int level, n = 0, me = 0;
    CHECK(!ranks.open);
    if (ranks_started() > RANKS_MAX)
        return err_set(e, ERR_TOOBIG, "mpirun started %zu processes; at most %d compute together",
                       ranks_started(), RANKS_MAX);
    TRY(load(e));
    ranks.opts = *o;
    /* Its other way is to read the peers' memory, which the sandbox forbids. */
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    /* Memory of System V, where there is such: it goes with the last process that has it, while a
     * file in /dev/shm stays when mpirun is killed with all that it started. */
    setenv("OMPI_MCA_shmem_sysv_priority", "90", 0);
    if (m->init_thread(NULL, NULL, MPI_THREADS_SERIALIZED, &level) != 0 ||
        level < MPI_THREADS_SERIALIZED || m->size(m->world, &n) != 0 ||
        m->rank(m->world, &me) != 0 || m->set_errhandler(m->world, m->errors_return) != 0)
        return err_set(e, ERR_NETWORK, "Open MPI cannot be started");
    ranks.n = (size_t)n;
    ranks.me = (size_t)me;
    if (ranks.n != ranks_started() || ranks.me != ranks_number())
        return err_set(e, ERR_NETWORK, "Open MPI counts %d processes, and mpirun started %zu", n,
                       ranks_started());
    ranks.open = true;
    return greet() ? ERR_OK : err_set(e, ERR_NETWORK, "%s", ranks_why());
}

bool ranks_are_open(void)
{
    return ranks.open;
}

void ranks_close(void)
{
    if (ranks.open && !ranks_broken())
        ranks.mpi.finalize();
    ranks.open = false;
}
