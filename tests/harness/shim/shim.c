/* A bad disk and a wrong clock for one process: preloaded before the C library, told what to do by a shared page.
 *
 * The page is the file named by TVS_SHIM_CONTROL. The harness writes the first four numbers, the shim counts in the
 * next four. Only regular files are struck, and never standard output or error. Direct system calls pass by. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t write_errno;
    volatile int64_t sync_errno;
    volatile int64_t sync_delay_us;
    volatile int64_t clock_shift_ms;
    volatile uint64_t writes_failed;
    volatile uint64_t syncs_failed;
    volatile uint64_t syncs_delayed;
    volatile uint64_t clocks_shifted;
};

static struct control nothing;
static struct control *control = &nothing;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off_t, off_t, unsigned int);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_sync_file_range = dlsym(RTLD_NEXT, "sync_file_range");
    const char *path = getenv("TVS_SHIM_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) {
        control = page;
    }
    close(file);
}

static int on_disk(int file) {
    struct stat stat;
    return file > 2 && fstat(file, &stat) == 0 && S_ISREG(stat.st_mode);
}

static int write_fails(int file) {
    int64_t error = control->write_errno;
    if (error == 0 || !on_disk(file)) {
        return 0;
    }
    __atomic_add_fetch(&control->writes_failed, 1, __ATOMIC_RELAXED);
    errno = (int)error;
    return 1;
}

static int sync_fails(int file) {
    int64_t delay = control->sync_delay_us;
    if (delay > 0 && on_disk(file)) {
        struct timespec pause = {delay / 1000000, delay % 1000000 * 1000};
        __atomic_add_fetch(&control->syncs_delayed, 1, __ATOMIC_RELAXED);
        nanosleep(&pause, NULL);
    }
    int64_t error = control->sync_errno;
    if (error == 0 || !on_disk(file)) {
        return 0;
    }
    __atomic_add_fetch(&control->syncs_failed, 1, __ATOMIC_RELAXED);
    errno = (int)error;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t count) {
    return write_fails(file) ? -1 : real_write(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return write_fails(file) ? -1 : real_pwrite(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) {
    return write_fails(file) ? -1 : real_pwrite(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return write_fails(file) ? -1 : real_writev(file, parts, count);
}

int fsync(int file) {
    return sync_fails(file) ? -1 : real_fsync(file);
}

int fdatasync(int file) {
    return sync_fails(file) ? -1 : real_fdatasync(file);
}

int sync_file_range(int file, off_t from, off_t count, unsigned int flags) {
    return sync_fails(file) ? -1 : real_sync_file_range(file, from, count, flags);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_clock_gettime(clock, now);
    int64_t shift = control->clock_shift_ms;
    if (result == 0 && shift != 0 && clock == CLOCK_REALTIME) {
        int64_t nanoseconds = now->tv_nsec + shift % 1000 * 1000000;
        now->tv_sec += shift / 1000 + nanoseconds / 1000000000;
        now->tv_nsec = nanoseconds % 1000000000;
        if (now->tv_nsec < 0) {
            now->tv_nsec += 1000000000;
            now->tv_sec -= 1;
        }
        __atomic_add_fetch(&control->clocks_shifted, 1, __ATOMIC_RELAXED);
    }
    return result;
}
