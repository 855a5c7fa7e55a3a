/* A disk that is further away: each flush takes FLUSH_LONGER_US more. See slow_flush.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*flush)(int);

static int later(const char *name, int file)
{
    const char *longer_us = getenv("FLUSH_LONGER_US");
    if (longer_us != NULL)
        usleep((useconds_t)atoi(longer_us));
    return ((flush)dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return later("fsync", file); }
int fdatasync(int file) { return later("fdatasync", file); }
