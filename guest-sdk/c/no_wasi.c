// The C library without an operating system under it: nothing is imported of WASI. What a program prints goes to the
// host's log, so that printf and assert are of use; files, clock, environment and randomness are not there.
#include <stdint.h>
#include <string.h>

#include "tidegate.h"

#define ENOSYS 52
#define EBADF 8

// The names that wasi-libc calls the operating system by.
#define CALL(name) __imported_wasi_snapshot_preview1_##name

typedef struct piece {
    const char *ptr;
    size_t len;
} piece;

int32_t CALL(fd_write)(int32_t fd, int32_t pieces, int32_t count, int32_t written);
int32_t CALL(fd_write)(int32_t fd, int32_t pieces, int32_t count, int32_t written) {
    // The library writes a long line in parts.
    static struct {
        char text[1024];
        size_t len;
    } lines[2];
    if (fd != 1 && fd != 2) return EBADF;
    const piece *all = (const piece *)pieces;
    size_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += all[i].len;
        for (size_t at = 0; at < all[i].len; at++) {
            char c = all[i].ptr[at];
            if (c != '\n') lines[fd - 1].text[lines[fd - 1].len++] = c;
            if (c != '\n' && lines[fd - 1].len < sizeof(lines[0].text) - 1) continue;
            lines[fd - 1].text[lines[fd - 1].len] = 0;
            lines[fd - 1].len = 0;
            // What goes to the standard error before a trap is its reason.
            if (fd == 1) tg_info(lines[0].text);
            else tg_log_error(lines[1].text);
        }
    }
    *(size_t *)written = sum;
    return 0;
}

_Noreturn void CALL(proc_exit)(int32_t code);
_Noreturn void CALL(proc_exit)(int32_t code) {
    (void)code;
    tg_log_error("the filter wanted to exit: it has no process of its own");
    __builtin_trap();
}

#define NOT_THERE(name, ...)               \
    int32_t CALL(name)(__VA_ARGS__);       \
    int32_t CALL(name)(__VA_ARGS__) { return ENOSYS; }

#pragma clang diagnostic ignored "-Wunused-parameter"
NOT_THERE(args_get, int32_t a, int32_t b)
NOT_THERE(args_sizes_get, int32_t a, int32_t b)
NOT_THERE(clock_res_get, int32_t a, int32_t b)
NOT_THERE(clock_time_get, int32_t a, int64_t b, int32_t c)
NOT_THERE(environ_get, int32_t a, int32_t b)
NOT_THERE(environ_sizes_get, int32_t a, int32_t b)
NOT_THERE(fd_close, int32_t a)
NOT_THERE(fd_fdstat_get, int32_t a, int32_t b)
NOT_THERE(fd_fdstat_set_flags, int32_t a, int32_t b)
NOT_THERE(fd_prestat_dir_name, int32_t a, int32_t b, int32_t c)
NOT_THERE(fd_prestat_get, int32_t a, int32_t b)
NOT_THERE(fd_read, int32_t a, int32_t b, int32_t c, int32_t d)
NOT_THERE(fd_seek, int32_t a, int64_t b, int32_t c, int32_t d)
NOT_THERE(path_open, int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int64_t f, int64_t g, int32_t h, int32_t i)
NOT_THERE(poll_oneoff, int32_t a, int32_t b, int32_t c, int32_t d)
NOT_THERE(random_get, int32_t a, int32_t b)
NOT_THERE(sched_yield, void)
