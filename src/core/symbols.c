/* symbols.c - names of a guest's code: lines of a file, sorted by address. */
#include "core/symbols.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define LONGEST 0x10000u /* what lies further behind a symbol is not of it */

struct symbol {
	uint64_t addr;
	char *name;
};

struct symbols {
	struct symbol *symbol;
	size_t count, room;
};

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static void add(struct symbols *s, uint64_t addr, const char *name)
{
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->symbol = xrealloc(s->symbol, s->room * sizeof(*s->symbol));
	}
	s->symbol[s->count++] = (struct symbol){addr, xstrdup(name)};
}

/* `U name` of nm has no address, and is none of this file's. */
static int add_line(struct symbols *s, const char *line)
{
	unsigned long long addr;
	char type, name[256];

	if (sscanf(line, "%llx %c %255s", &addr, &type, name) != 3)
		return sscanf(line, " %c %255s", &type, name) == 2 && isspace(*line) ? 0 : -EINVAL;
	if (strchr("tTwWi", type))
		add(s, addr, name);
	return 0;
}

int symbols_load(const char *path, struct symbols **out)
{
	struct symbols *s = xcalloc(1, sizeof(*s));
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	int err = f ? 0 : -errno;

	while (!err && getline(&line, &room, f) > 0)
		err = add_line(s, line);
	free(line);
	if (f)
		fclose(f);
	if (err) {
		symbols_free(s);
		return err;
	}
	if (s->count)
		qsort(s->symbol, s->count, sizeof(*s->symbol), by_address);
	*out = s;
	return 0;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	for (size_t n = 0; n < s->count; n++)
		free(s->symbol[n].name);
	free(s->symbol);
	free(s);
}

const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *behind)
{
	size_t low = 0, high = s ? s->count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->symbol[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || addr - s->symbol[low - 1].addr >= LONGEST)
		return NULL;
	*behind = addr - s->symbol[low - 1].addr;
	return s->symbol[low - 1].name;
}
