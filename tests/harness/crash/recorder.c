/* Writes down what a process does to the files below one folder, in order: preloaded before the C library.
 *
 * TVS_CRASH_ROOT names the folder, TVS_CRASH_RECORD the file that takes the record. Only what succeeded is recorded. One
 * lock is held over each operation and its record, so that the record's order is the order in which they happened.
 *
 * Record, native endian: kind (1 byte), inode (8), offset or length (8), length of the first text (4), of the second
 * (4), the texts. Direct system calls and mapped memory pass by; the store uses neither for writing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATED = 1, WRITTEN, RESIZED, SYNCED, RENAMED, REMOVED, FOLDER_MADE, FOLDER_SYNCED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static char root[PATH_MAX];
static size_t root_length;

static int (*real_open)(const char *, int, ...);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    const char *folder = getenv("TVS_CRASH_ROOT"), *path = getenv("TVS_CRASH_RECORD");
    if (folder == NULL || path == NULL) {
        return;
    }
    root_length = strlen(folder);
    if (root_length + 1 >= sizeof root) {
        abort();
    }
    memcpy(root, folder, root_length + 1);
    record = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record < 0) {
        abort();
    }
}

static const char *below(const char *path) {
    int inside = record >= 0 && strncmp(path, root, root_length) == 0 && path[root_length] == '/';
    return inside ? path + root_length + 1 : NULL;
}

/* The inode of an open file below the folder; 0 where it is none. */
static uint64_t inode_of(int file, char *name) {
    char link[64];
    struct stat stat;
    if (record < 0 || file < 0 || file == record) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, PATH_MAX - 1);
    if (length <= 0) {
        return 0;
    }
    name[length] = 0;
    if ((below(name) == NULL && strcmp(name, root) != 0) || fstat(file, &stat) != 0) {
        return 0;
    }
    return stat.st_ino;
}

/* A record that is cut short would be read as a crash that never was. */
static void put(const void *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = real_write(record, bytes, count);
        if (written <= 0) {
            abort();
        }
        bytes = (const char *)bytes + written;
        count -= (size_t)written;
    }
}

static void note(uint8_t kind, uint64_t inode, uint64_t number, const void *one, size_t one_length, const char *two) {
    char head[25];
    uint32_t lengths[2] = {(uint32_t)one_length, two ? (uint32_t)strlen(two) : 0};
    head[0] = (char)kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, lengths, 8);
    put(head, sizeof head);
    put(one, one_length);
    put(two, lengths[1]);
}

static int open_noted(const char *path, int flags, mode_t mode) {
    const char *name = below(path);
    if (name == NULL || !(flags & (O_CREAT | O_TRUNC))) {
        return real_open(path, flags, mode);
    }
    pthread_mutex_lock(&lock);
    int existed = faccessat(AT_FDCWD, path, F_OK, 0) == 0;
    int file = real_open(path, flags, mode);
    struct stat stat;
    if (file >= 0 && fstat(file, &stat) == 0) {
        if (!existed) {
            note(CREATED, stat.st_ino, 0, name, strlen(name), NULL);
        } else if (flags & O_TRUNC) {
            note(RESIZED, stat.st_ino, 0, NULL, 0, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
    return file;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_noted(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_noted(path, flags, mode);
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int result = real_rename(from, to);
    if (result == 0 && below(from) && below(to)) {
        note(RENAMED, 0, 0, below(from), strlen(below(from)), below(to));
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int result = real_unlink(path);
    if (result == 0 && below(path)) {
        note(REMOVED, 0, 0, below(path), strlen(below(path)), NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&lock);
    int result = real_mkdir(path, mode);
    if (result == 0 && below(path)) {
        note(FOLDER_MADE, 0, 0, below(path), strlen(below(path)), NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t pwrite_noted(int file, const void *bytes, size_t count, off_t at) {
    char name[PATH_MAX];
    uint64_t inode = inode_of(file, name);
    if (inode == 0) {
        return real_pwrite(file, bytes, count, at);
    }
    pthread_mutex_lock(&lock);
    ssize_t written = real_pwrite(file, bytes, count, at);
    if (written > 0) {
        note(WRITTEN, inode, (uint64_t)at, bytes, (size_t)written, NULL);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return pwrite_noted(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) {
    return pwrite_noted(file, bytes, count, at);
}

/* Where a write went is where the file's place is afterwards, less its length: right for O_APPEND as well. */
ssize_t write(int file, const void *bytes, size_t count) {
    char name[PATH_MAX];
    uint64_t inode = inode_of(file, name);
    if (inode == 0) {
        return real_write(file, bytes, count);
    }
    pthread_mutex_lock(&lock);
    ssize_t written = real_write(file, bytes, count);
    if (written > 0) {
        off_t end = lseek(file, 0, SEEK_CUR);
        note(WRITTEN, inode, (uint64_t)(end - written), bytes, (size_t)written, NULL);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    char name[PATH_MAX];
    if (inode_of(file, name) == 0) {
        return real_writev(file, parts, count);
    }
    /* One part at a time is a short write, which every caller has to expect. */
    return count > 0 ? write(file, parts[0].iov_base, parts[0].iov_len) : 0;
}

static int ftruncate_noted(int file, off_t length) {
    char name[PATH_MAX];
    uint64_t inode = inode_of(file, name);
    pthread_mutex_lock(&lock);
    int result = real_ftruncate(file, length);
    if (result == 0 && inode != 0) {
        note(RESIZED, inode, (uint64_t)length, NULL, 0, NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int file, off_t length) {
    return ftruncate_noted(file, length);
}

int ftruncate64(int file, off_t length) {
    return ftruncate_noted(file, length);
}

static int sync_noted(int file, int (*real)(int)) {
    char name[PATH_MAX];
    struct stat stat;
    uint64_t inode = inode_of(file, name);
    if (inode == 0) {
        return real(file);
    }
    pthread_mutex_lock(&lock);
    int result = real(file);
    if (result == 0 && fstat(file, &stat) == 0 && S_ISDIR(stat.st_mode)) {
        const char *folder = below(name) ? below(name) : "";
        note(FOLDER_SYNCED, inode, 0, folder, strlen(folder), NULL);
    } else if (result == 0) {
        note(SYNCED, inode, 0, NULL, 0, NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int file) {
    return sync_noted(file, real_fsync);
}

int fdatasync(int file) {
    return sync_noted(file, real_fdatasync);
}
