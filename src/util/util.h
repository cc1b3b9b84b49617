/*
 * util.h - what every room needs: logging, checked arithmetic, small macros.
 *
 * Nothing here knows about machines. Logging is to stderr, one line a call,
 * prefixed "tinamou: "; the level is the only process-wide variable.
 */
#ifndef TINAMOU_UTIL_H
#define TINAMOU_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))
#define BIT(n)                          (UINT64_C(1) << (n))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x)                       __builtin_expect(!!(x), 1)
#define unlikely(x)                     __builtin_expect(!!(x), 0)

#define KiB UINT64_C(1024)
#define MiB (KiB * 1024)
#define GiB (MiB * 1024)

#define NSEC_PER_SEC UINT64_C(1000000000)

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped. Default LOG_INFO; -q LOG_WARN, -v LOG_DEBUG. */
extern enum log_level log_level;

__attribute__((format(printf, 2, 3))) void log_msg(enum log_level level, const char *fmt, ...);
#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

/*
 * For what a guest can provoke as often as it likes: at most `burst` lines a
 * struct, then one line that says the rest is dropped. Zero-initialise.
 */
struct log_limit {
	unsigned count;
};
__attribute__((format(printf, 2, 3))) void log_guest(struct log_limit *lim, const char *fmt, ...);

/* malloc and friends that end the process on exhaustion; for host-sized requests only. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
__attribute__((format(printf, 1, 2))) char *xasprintf(const char *fmt, ...);

/* Writes a line for the user to err, cut to errlen bytes, and is -1: `return fail_line(...)`. */
__attribute__((format(printf, 3, 4))) int fail_line(char *err, size_t errlen, const char *fmt, ...);

/* CLOCK_MONOTONIC in ns. */
uint64_t monotonic_ns(void);

/* The word of list (NULL ends it) that text most looks like, or NULL if none is near. */
const char *nearest_word(const char *text, const char *const *list);

/* true if [base, base + len) wraps around 2^64 or is empty. */
static inline bool range_bad(uint64_t base, uint64_t len)
{
	return len == 0 || base + (len - 1) < base;
}

/* true if [off, off + len) lies inside [0, size); len may be 0. */
static inline bool range_in(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* All ones in the low `size` bytes; size is 1, 2, 4 or 8. */
static inline uint64_t size_mask(unsigned size)
{
	return size >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << (size * 8)) - 1;
}

#endif
