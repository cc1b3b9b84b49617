/* memory.c - a hash table, a chase of pointers, a tree, copies, sums; strings. */
#include "bench.h"

#include <string.h>

static uint32_t table[65536];

static void hash(void)
{
	for (uint32_t n = 0; n < 100000; n++)
		table[n * 2654435761u >> 16] += n;
	sink += table[7];
}

static void *ring[32768];

static void chase(void)
{
	void **p = (void **)ring;

	for (unsigned n = 0; n < 60000; n++)
		p = *p;
	sink += (uintptr_t)p;
}

/* ---- a tree ---- */

struct node {
	uint32_t key;
	struct node *side[2];
};

static struct node node[4096], *root;

static void insert(struct node *n)
{
	struct node **p = &root;

	while (*p)
		p = &(*p)->side[n->key > (*p)->key];
	*p = n;
}

static void tree(void)
{
	root = NULL;
	for (unsigned n = 0; n < 4096; n++) {
		node[n] = (struct node){.key = mix(n)};
		insert(&node[n]);
	}
	keep(root);
}

/* ---- plain runs ---- */

static char from[65536], to[65536];

static void copy(void)
{
	for (int n = 0; n < 60; n++) {
		memcpy(to, from, sizeof(to));
		keep(to);
	}
}

static void copy_short(void)
{
	for (unsigned n = 0; n < 20000; n++) {
		memcpy(to + (n & 1023), from + (n & 4095), 8 + (n & 63));
		keep(to);
	}
}

static void fill(void)
{
	for (int n = 0; n < 60; n++) {
		memset(to, n, sizeof(to));
		keep(to);
	}
}

static uint64_t words[16384];

static void sum(void)
{
	for (int r = 0; r < 8; r++) {
		uint64_t v = 0;

		for (unsigned n = 0; n < 16384; n++) {
			v += words[n] ^ v >> 3;
			words[n] = v;
		}
		sink += v;
	}
}

const struct item memory_items[] = {{"hash", hash}, {"chase", chase}, {"tree", tree},
	{"memcpy", copy}, {"copyshort", copy_short}, {"memset", fill}, {"sum", sum}, {0}};

void prepare_memory(void)
{
	for (unsigned n = 0; n < 32768; n++)
		ring[n] = &ring[(n * 9973 + 1) % 32768];
	for (unsigned n = 0; n < 16384; n++)
		words[n] = mix(n);
}

/* ---- strings ---- */

static char text[65536], other[65536];

static void length(void)
{
	for (int n = 0; n < 40; n++) {
		keep(text);
		sink += strlen(text);
	}
}

static void compare(void)
{
	for (int n = 0; n < 8; n++) {
		keep(text);
		sink += (uint64_t)strcmp(text, other);
	}
}

static void count_words(void)
{
	unsigned in = 0, words = 0;

	for (const char *p = text; *p; p++) {
		unsigned letter = (*p | 32) >= 'a' && (*p | 32) <= 'z';

		words += letter & ~in;
		in = letter;
	}
	sink += words;
}

static void search(void)
{
	for (const char *p = text; (p = strstr(p, "needle")); p++)
		sink++;
}

const struct item string_items[] = {
	{"strlen", length}, {"strcmp", compare}, {"words", count_words}, {"strstr", search}, {0}};

void prepare_strings(void)
{
	for (unsigned n = 0; n < sizeof(text) - 1; n++)
		text[n] = "abcdefghijklmn opqrstuvwxyz, ANEQ"[mix(n) >> 9 & 31];
	for (unsigned n = 100; n < sizeof(text) - 100; n += 5000)
		memcpy(text + n, "needle", 6);
	memcpy(other, text, sizeof(text));
}
