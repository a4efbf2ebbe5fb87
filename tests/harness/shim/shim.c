/* A bad disk, a wrong clock and a GPU that vanishes for one process: preloaded before the C library, told what to do by
 * a shared page.
 *
 * The page is the file named by TVS_SHIM_CONTROL. The harness writes the first six numbers, the shim counts in the
 * next six. Only regular files are struck, and never standard output or error. Direct system calls pass by.
 *
 * Vulkan's functions are looked up by name, each by the one before: the library by dlsym, a device's functions by
 * vkGetInstanceProcAddr and vkGetDeviceProcAddr (Vulkan 1.3, section 4.1). The shim puts itself between the lookups. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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
    volatile int64_t device_lost;
    volatile int64_t create_errno;
    volatile uint64_t writes_failed;
    volatile uint64_t syncs_failed;
    volatile uint64_t syncs_delayed;
    volatile uint64_t clocks_shifted;
    volatile uint64_t devices_lost;
    volatile uint64_t creations_failed;
};

static struct control nothing;
static struct control *control = &nothing;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_open)(const char *, int, ...);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off_t, off_t, unsigned int);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_sync_file_range = dlsym(RTLD_NEXT, "sync_file_range");
    const char *path = getenv("TVS_SHIM_CONTROL");
    int file = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
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

static int creation_fails(const char *path) {
    int64_t error = control->create_errno;
    if (error == 0 || access(path, F_OK) == 0) {
        return 0;
    }
    __atomic_add_fetch(&control->creations_failed, 1, __ATOMIC_RELAXED);
    errno = (int)error;
    return 1;
}

static int open_file(const char *path, int flags, mode_t mode) {
    return (flags & O_CREAT) && creation_fails(path) ? -1 : real_open(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_file(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_file(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    return creation_fails(path) ? -1 : real_mkdir(path, mode);
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

typedef void (*function)(void);

/* Of VkResult: a device that is gone refuses all work, and cannot be opened. */
enum { INITIALIZATION_FAILED = -3, DEVICE_LOST = -4 };

static function (*real_instance_function)(void *, const char *);
static function (*real_device_function)(void *, const char *);
static int (*real_create_device)(void *, const void *, const void *, void **);
static int (*real_submit)(void *, uint32_t, const void *, uint64_t);

static int device_is_lost(void) {
    if (control->device_lost == 0) {
        return 0;
    }
    __atomic_add_fetch(&control->devices_lost, 1, __ATOMIC_RELAXED);
    return 1;
}

static int create_device(void *adapter, const void *wanted, const void *allocator, void **device) {
    return device_is_lost() ? INITIALIZATION_FAILED : real_create_device(adapter, wanted, allocator, device);
}

static int submit(void *queue, uint32_t count, const void *work, uint64_t fence) {
    return device_is_lost() ? DEVICE_LOST : real_submit(queue, count, work, fence);
}

static function device_function(void *device, const char *name) {
    function found = real_device_function(device, name);
    if (found && strcmp(name, "vkQueueSubmit") == 0) {
        real_submit = (int (*)(void *, uint32_t, const void *, uint64_t))found;
        return (function)submit;
    }
    return found;
}

static function instance_function(void *instance, const char *name) {
    function found = real_instance_function(instance, name);
    if (found && strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_device_function = (function (*)(void *, const char *))found;
        return (function)device_function;
    }
    if (found && strcmp(name, "vkCreateDevice") == 0) {
        real_create_device = (int (*)(void *, const void *, const void *, void **))found;
        return (function)create_device;
    }
    return found;
}

void *dlsym(void *library, const char *name) {
    static void *(*real_dlsym)(void *, const char *);
    if (!real_dlsym) {
        /* The versions under which C libraries know it: since 2.34, and before on x86-64 and on AArch64. */
        static const char *versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
        for (int i = 0; !real_dlsym && i < 3; i++) {
            real_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[i]);
        }
    }
    if (strcmp(name, "vkGetInstanceProcAddr") == 0) {
        real_instance_function = (function (*)(void *, const char *))real_dlsym(library, name);
        return real_instance_function ? (void *)instance_function : NULL;
    }
    /* A tail call, so that who asks for the next library is still seen to be the one that asked. */
    return real_dlsym(library, name);
}
