/* integer.c - calls, a byte-code interpreter, hashes, sorting, compression. */
#include "bench.h"

#include <string.h>

static __attribute__((noinline)) unsigned fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void calls(void)
{
	sink += fib(20);
}

/* ---- calls through pointers ---- */

static __attribute__((noinline)) uint32_t add(uint32_t v)
{
	return v + 77;
}

static __attribute__((noinline)) uint32_t turn(uint32_t v)
{
	return v << 7 | v >> 25;
}

static __attribute__((noinline)) uint32_t times(uint32_t v)
{
	return v * 5;
}

static __attribute__((noinline)) uint32_t invert(uint32_t v)
{
	return ~v;
}

static uint32_t (*const volatile method[])(uint32_t) = {add, turn, times, invert};

static void indirect(void)
{
	uint32_t v = 1;

	for (unsigned n = 0; n < 40000; n++)
		v = method[mix(n) >> 7 & 3](v);
	sink += v;
}

/* ---- a byte-code interpreter ---- */

static uint8_t program[4096];

static void bytecode(void)
{
	uint64_t acc = 1, stack[4] = {0};
	unsigned top = 0;

	for (int r = 0; r < 16; r++)
		for (unsigned pc = 0; pc < sizeof(program); pc++)
			switch (program[pc]) {
			case 0:
				acc += pc;
				break;
			case 1:
				acc ^= acc << 3;
				break;
			case 2:
				stack[top++ & 3] = acc;
				break;
			case 3:
				acc *= 3;
				break;
			case 4:
				acc >>= 1;
				break;
			case 5:
				acc += stack[--top & 3];
				break;
			default:
				acc |= 1;
			}
	sink += acc;
}

/* ---- hashes ---- */

static uint8_t message[4096];

static uint32_t rotate(uint32_t v, unsigned by)
{
	return v >> by | v << (32 - by);
}

/* The rounds of a hash as SHA-256 has them, with constants of our own. */
static void compress_block(uint32_t h[8], const uint8_t *block)
{
	uint32_t w[64], a[8];

	for (unsigned n = 0; n < 16; n++)
		memcpy(&w[n], block + 4 * n, 4);
	for (unsigned n = 16; n < 64; n++)
		w[n] = w[n - 16] + w[n - 7] +
		       (rotate(w[n - 15], 7) ^ rotate(w[n - 15], 18) ^ w[n - 15] >> 3) +
		       (rotate(w[n - 2], 17) ^ rotate(w[n - 2], 19) ^ w[n - 2] >> 10);
	memcpy(a, h, sizeof(a));
#pragma GCC unroll 8
	for (unsigned n = 0; n < 64; n++) {
		uint32_t t = a[7] + (rotate(a[4], 6) ^ rotate(a[4], 11) ^ rotate(a[4], 25)) +
			     ((a[4] & a[5]) ^ (~a[4] & a[6])) + w[n] + n * 0x9e3779b9u;
		uint32_t u = (rotate(a[0], 2) ^ rotate(a[0], 13) ^ rotate(a[0], 22)) +
			     ((a[0] & a[1]) ^ (a[0] & a[2]) ^ (a[1] & a[2]));

#pragma GCC unroll 8
		for (unsigned k = 7; k; k--)
			a[k] = a[k - 1];
		a[4] += t;
		a[0] = t + u;
	}
	for (unsigned n = 0; n < 8; n++)
		h[n] += a[n];
}

static void digest(void)
{
	uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	for (int r = 0; r < 8; r++)
		for (unsigned n = 0; n < sizeof(message); n += 64)
			compress_block(h, message + n);
	sink += h[0];
}

static uint32_t crc_table[256];

static void crc(void)
{
	uint32_t v = ~0u;

	for (int r = 0; r < 40; r++)
		for (unsigned n = 0; n < sizeof(message); n++)
			v = crc_table[(v ^ message[n]) & 255] ^ v >> 8;
	sink += v;
}

/* ---- sorting ---- */

static void sort(void)
{
	static uint32_t v[3000];

	for (uint32_t n = 0; n < 3000; n++)
		v[n] = mix(n);
	for (uint32_t gap = 1500; gap; gap /= 2)
		for (uint32_t i = gap; i < 3000; i++)
			for (uint32_t j = i; j >= gap && v[j - gap] > v[j]; j -= gap) {
				uint32_t t = v[j];

				v[j] = v[j - gap];
				v[j - gap] = t;
			}
	keep(v);
}

/* ---- compression: matches found by a hash of four bytes, literals between ---- */

static uint8_t plain[32768], packed[2 * 32768];

static unsigned match(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
	const uint8_t *start = b;

	while (b < end && *a == *b) {
		a++;
		b++;
	}
	return (unsigned)(b - start);
}

static void compression(void)
{
	static uint16_t last[4096];
	uint8_t *out = packed;
	const uint8_t *end = plain + sizeof(plain);

	memset(last, 0, sizeof(last));
	for (const uint8_t *in = plain; in + 4 < end;) {
		uint32_t word, slot;
		unsigned len;

		memcpy(&word, in, 4);
		slot = word * 2654435761u >> 20;
		len = match(plain + last[slot], in, end);
		len = plain + last[slot] < in && len >= 4 ? len : 0;
		if (len) {
			*out++ = (uint8_t)(len > 255 ? 255 : len);
			memcpy(out, &last[slot], 2);
			out += 2;
		} else {
			*out++ = 0;
			*out++ = *in;
		}
		last[slot] = (uint16_t)(in - plain);
		in += len ? len : 1;
	}
	sink += (uint64_t)(out - packed);
}

/* ---- long division ---- */

static void division(void)
{
	uint64_t v = 0x123456789abcdef, sum = 0;

	for (uint32_t n = 1; n < 20000; n++)
		sum += v / (n | 1) + (uint32_t)v % (n + 3);
	sink += sum;
}

const struct item integer_items[] = {{"calls", calls}, {"indirect", indirect},
	{"bytecode", bytecode}, {"digest", digest}, {"crc", crc}, {"sort", sort},
	{"compress", compression}, {"divide", division}, {0}};

void prepare_integer(void)
{
	for (unsigned n = 0; n < sizeof(program); n++)
		program[n] = mix(n) >> 8 & 7;
	for (unsigned n = 0; n < sizeof(message); n++)
		message[n] = (uint8_t)mix(n);
	for (uint32_t n = 0; n < 256; n++) {
		crc_table[n] = n;
		for (int k = 0; k < 8; k++)
			crc_table[n] = crc_table[n] >> 1 ^ (crc_table[n] & 1 ? 0xedb88320u : 0);
	}
	for (unsigned n = 0; n < sizeof(plain); n++)
		plain[n] = (uint8_t)("the quick brown fox "[mix(n / 7) % 20] + (n % 7 ? 0 : 1));
}
