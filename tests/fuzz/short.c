/*
 * short.c - runs a fuzz target for a short while without libFuzzer, so that every
 * build does: each file of its corpus as it is, then changed at random.
 *
 *     short_TARGET FOLDER RUNS [SEED]
 *
 * A crash names the input by its file and number; the same seed repeats it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define INPUT_MAX 65536u
#define FILES_MAX 8192u

struct input {
	size_t len;
	uint8_t *bytes;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t next(uint64_t *r)
{
	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	return *r;
}

static void load(struct input *in, const char *folder, const char *name)
{
	static uint8_t bytes[INPUT_MAX];
	char *path = xasprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "rb");

	if (f) {
		in->len = fread(bytes, 1, sizeof(bytes), f);
		fclose(f);
	}
	in->bytes = xcalloc(1, in->len + 1);
	memcpy(in->bytes, bytes, in->len);
	free(path);
}

/* In the order of their names, so that a seed says which input is meant. */
static unsigned load_all(const char *folder, struct input *in)
{
	struct dirent **list;
	int n = scandir(folder, &list, NULL, alphasort);
	unsigned count = 0;

	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.' && count < FILES_MAX)
			load(&in[count++], folder, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return count;
}

/* A few bytes are others, or a piece is another file's. */
static void change(struct input *to, const struct input *other, uint64_t *r)
{
	size_t at, len;

	if (other->len && next(r) % 4 == 0) {
		len = 1 + next(r) % other->len;
		at = to->len ? next(r) % to->len : 0;
		len = MIN(len, INPUT_MAX - at);
		memcpy(to->bytes + at, other->bytes, len);
		to->len = MAX(to->len, at + len);
	}
	for (unsigned n = 1 + next(r) % 8; n && to->len; n--)
		to->bytes[next(r) % to->len] = (uint8_t)(next(r) >> 32);
}

/* Each from memory that ends where the input does. */
static void feed(const struct input *in)
{
	uint8_t *exact = xcalloc(1, in->len + !in->len);

	memcpy(exact, in->bytes, in->len);
	LLVMFuzzerTestOneInput(exact, in->len);
	free(exact);
}

int main(int argc, char **argv)
{
	static struct input in[FILES_MAX];
	static uint8_t bytes[INPUT_MAX];
	struct input work = {0, bytes};
	uint64_t r = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	unsigned long runs = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned count = argc > 2 ? load_all(argv[1], in) : 0;

	if (!count) {
		fprintf(stderr, "usage: %s FOLDER RUNS [SEED]; the folder holds inputs\n", argv[0]);
		return 2;
	}
	r = r * UINT64_C(0x9e3779b97f4a7c15) | 1;
	for (unsigned i = 0; i < count; i++)
		feed(&in[i]);
	for (unsigned long i = 0; i < runs; i++) {
		const struct input *from = &in[next(&r) % count];

		memcpy(bytes, from->bytes, work.len = from->len);
		change(&work, &in[next(&r) % count], &r);
		feed(&work);
	}
	printf("ok   %u inputs of the corpus and %lu changed ones\n", count, runs);
	for (unsigned i = 0; i < count; i++)
		free(in[i].bytes);
	return 0;
}
