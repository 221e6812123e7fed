// A file system that knows neither an exchange nor a rename that never replaces, as exFAT, drvfs and some shares do.
//
//   cc -shared -fPIC -o no_exchange.so no_exchange.c && LD_PRELOAD=./no_exchange.so PROGRAM
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flags;
    return errno = EINVAL, -1;
}
