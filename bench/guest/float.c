/* float.c - scalar and vector floating point, vectors of integers, x87. */
#include "bench.h"

#include <string.h>

/* ---- scalars ---- */

static double a[64][64], b[64][64], c[64][64];

static void matmul(void)
{
	for (int i = 0; i < 64; i++)
		for (int j = 0; j < 64; j++) {
			double s = 0;

			for (int k = 0; k < 64; k++)
				s += a[i][k] * b[k][j];
			c[i][j] = s;
		}
	keep(c);
}

struct body {
	double x[3], v[3], mass;
};

static struct body body[5];

static double root(double v)
{
	__asm__("sqrtsd %0, %0" : "+x"(v));
	return v;
}

static void pull(struct body *p, struct body *q)
{
	double d[3], square = 0, force;

	for (int k = 0; k < 3; k++) {
		d[k] = p->x[k] - q->x[k];
		square += d[k] * d[k];
	}
	force = 0.001 / (square * root(square));
	for (int k = 0; k < 3; k++) {
		p->v[k] -= d[k] * q->mass * force;
		q->v[k] += d[k] * p->mass * force;
	}
}

static void nbody(void)
{
	for (int step = 0; step < 500; step++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++)
				pull(&body[i], &body[j]);
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				body[i].x[k] += 0.001 * body[i].v[k];
	}
	keep(body);
}

static unsigned escape(double re, double im)
{
	double x = 0, y = 0;
	unsigned n = 0;

	while (n < 64 && x * x + y * y < 4) {
		double t = x * x - y * y + re;

		y = 2 * x * y + im;
		x = t;
		n++;
	}
	return n;
}

static void mandelbrot(void)
{
	for (int y = 0; y < 40; y++)
		for (int x = 0; x < 60; x++)
			sink += escape(x / 20.0 - 2, y / 20.0 - 1);
}

/* ---- vectors ---- */

static float from[16384], to[16384];

static void axpy(void)
{
	for (int r = 0; r < 16; r++) {
		for (int i = 0; i < 16384; i++)
			to[i] += from[i] * 1.5f;
		keep(to);
	}
}

typedef float four __attribute__((vector_size(16)));

/* A product of 4 by 4 matrices, over and over. */
static void transform(void)
{
	static four m[4], v[1024];

	for (int r = 0; r < 20; r++) {
		for (int n = 0; n < 1024; n++)
			v[n] = m[0] * v[n][0] + m[1] * v[n][1] + m[2] * v[n][2] + m[3] * v[n][3];
		keep(v);
	}
}

static uint8_t one[32768], two[32768];

static void differences(void)
{
	for (int r = 0; r < 16; r++) {
		uint32_t sum = 0;

		for (unsigned n = 0; n < sizeof(one); n++)
			sum += one[n] > two[n] ? one[n] - two[n] : two[n] - one[n];
		sink += sum;
	}
}

/* ---- x87 ---- */

static void long_double(void)
{
	long double v = 1, sum = 0;

	for (int n = 1; n < 10000; n++) {
		v = v * 1.0000001L + 0.5L / n;
		sum += v;
	}
	sink += (uint64_t)sum;
}

const struct item float_items[] = {{"matmul", matmul}, {"nbody", nbody}, {"mandelbrot", mandelbrot},
	{"axpy", axpy}, {"transform", transform}, {"differences", differences},
	{"x87", long_double}, {0}};

void prepare_floats(void)
{
	for (int n = 0; n < 5; n++)
		body[n] = (struct body){{n, n * 2 % 5, n * 3 % 5}, {0}, 1 + n};
	for (int i = 0; i < 64; i++)
		for (int j = 0; j < 64; j++) {
			a[i][j] = i + j;
			b[i][j] = i - j;
		}
	for (unsigned n = 0; n < sizeof(one); n++) {
		one[n] = (uint8_t)mix(n);
		two[n] = (uint8_t)mix(n + 99);
	}
}
