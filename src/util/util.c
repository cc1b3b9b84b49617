/* util.c - logging and allocation; see util.h. */
#include "util/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum log_level log_level = LOG_INFO;

static void log_line(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
	char buf[1024];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	fprintf(stderr, "tinamou: %s%s\n", prefix[level], buf);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

#define LOG_GUEST_BURST 5

void log_guest(struct log_limit *lim, const char *fmt, ...)
{
	va_list ap;

	if (log_level < LOG_WARN || lim->count > LOG_GUEST_BURST)
		return;
	if (lim->count++ == LOG_GUEST_BURST) {
		log_msg(LOG_WARN, "more messages of this kind are dropped");
		return;
	}
	va_start(ap, fmt);
	log_line(LOG_WARN, fmt, ap);
	va_end(ap);
}

static void *checked(void *p)
{
	if (!p) {
		log_error("out of memory");
		abort();
	}
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	return checked(calloc(n, size));
}

void *xrealloc(void *p, size_t size)
{
	return checked(realloc(p, size));
}

char *xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return checked(s);
}

static unsigned distance(const char *a, const char *b)
{
	unsigned row[64], n = (unsigned)strlen(b);

	if (n >= ARRAY_SIZE(row))
		return 99;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; *a; a++, i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned above = row[j];

			row[j] = MIN(MIN(above, row[j - 1]) + 1, diagonal + (*a != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

const char *nearest_word(const char *text, const char *const *list)
{
	const char *best = NULL;
	unsigned least = 1 + (unsigned)strlen(text) / 3;

	for (; *list; list++) {
		unsigned d = distance(text, *list);

		if (d <= least) {
			least = d;
			best = *list;
		}
	}
	return best;
}

int fail_line(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -1;
}

uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}
