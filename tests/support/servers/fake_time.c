/* The wall clock of a process, shifted by the nanoseconds at the beginning of the file $FAKE_TIME.
 *
 * Loaded by LD_PRELOAD. It calls the kernel itself, because a library's first call may come before the C library is ready,
 * from an allocator that asks for the time: libfaketime ends in a recursion there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

static int64_t shift(void) {
    if (offset == NULL) {
        const char *name = getenv("FAKE_TIME");
        int file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (found == MAP_FAILED) return 0;
        offset = found;
    }
    return *offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    int64_t nanoseconds = now->tv_nsec + shift() % 1000000000;
    now->tv_sec += shift() / 1000000000;
    if (nanoseconds < 0) nanoseconds += 1000000000, now->tv_sec--;
    if (nanoseconds >= 1000000000) nanoseconds -= 1000000000, now->tv_sec++;
    now->tv_nsec = nanoseconds;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now != NULL) *now = found.tv_sec;
    return found.tv_sec;
}
