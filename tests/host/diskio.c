/*
 * diskio.c - drives a disk by a script, for test_qcow2.py.
 *
 *   diskio [--ro] [--throwaway] [--format F] IMAGE < SCRIPT
 *
 * One command a line: w OFF LEN STAMP (fills with a 32-bit number), z OFF LEN,
 * d OFF LEN, f, b (waits for all before), o (says "open"), s FILE (saves the content), storm
 * SEED (random writes for ever; says what was flushed). Commands between two
 * barriers are in flight together. Failures are printed: "OP OFF: errno".
 */
#include "disk_fixture.h"

#include <errno.h>
#include <stdio.h>

#define IN_FLIGHT 32
#define MAX_LEN   (4 * MiB)

struct job {
	struct disk_request req;
	struct iovec iov[2];
	uint32_t *data;
	struct job *free;
};

static struct rig rig;
static struct job jobs[IN_FLIGHT], *free_job;
static unsigned submitted;

static void job_done(struct disk_request *r, int error)
{
	struct job *j = r->ctx;

	if (error)
		printf("%c %llu: %d\n", "rwfdz"[r->op], (unsigned long long)r -> offset, -error);
	rig.completed++;
	j->free = free_job;
	free_job = j;
}

static void barrier(void)
{
	rig_wait(&rig, submitted);
}

/* The memory is two odd pieces, so that scatter lists are always in play. */
static void submit(enum disk_op op, uint64_t off, uint64_t len, uint32_t stamp)
{
	struct job *j;

	while (!free_job)
		rig_wait(&rig, rig.completed + 1);
	j = free_job;
	free_job = j->free;
	for (uint64_t i = 0; op == DISK_WRITE && i < len / 4; i++)
		j->data[i] = stamp;
	j->iov[0] = (struct iovec){j->data, len > 100 ? 100 : len};
	j->iov[1] = (struct iovec){(char *)j->data + 100, len > 100 ? len - 100 : 0};
	j->req = (struct disk_request){.op = op,
		.offset = off,
		.len = len,
		.iov = j->iov,
		.iovcnt = 2,
		.done = job_done,
		.ctx = j};
	submitted++;
	disk_submit(rig.disk, &j->req);
}

static void save(const char *path)
{
	uint64_t size = disk_size(rig.disk);
	uint8_t *buf = malloc(MiB);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (uint64_t off = 0; off < size; off += MiB) {
		struct iovec iov = {buf, MIN(MiB, size - off)};
		struct disk_request req = {.op = DISK_READ,
			.offset = off,
			.len = iov.iov_len,
			.iov = &iov,
			.iovcnt = 1,
			.done = rig_done,
			.ctx = &rig};

		submitted++;
		disk_submit(rig.disk, &req);
		barrier();
		if (rig.last_error)
			printf("r %llu: %d\n", (unsigned long long)off, -rig.last_error);
		if (pwrite(fd, buf, iov.iov_len, (off_t)off) != (ssize_t)iov.iov_len)
			perror(path);
	}
	close(fd);
	free(buf);
}

static uint32_t roll(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*x >> 33);
}

/* Batches of 20; test_qcow2.py makes the same numbers. */
static void storm(uint64_t seed)
{
	uint32_t sectors = (uint32_t)(disk_size(rig.disk) / SECTOR_SIZE);

	for (uint32_t i = 1;; i++) {
		uint64_t off = roll(&seed) % sectors, len = roll(&seed) % 300 + 1;
		uint32_t kind = roll(&seed) % 16;

		len = MIN(len, sectors - off);
		submit(kind == 0    ? DISK_ZERO
			: kind == 1 ? DISK_DISCARD
				    : DISK_WRITE,
			off * SECTOR_SIZE, len * SECTOR_SIZE, i);
		if (i % 20)
			continue;
		barrier();
		submit(DISK_FLUSH, 0, 0, 0);
		barrier();
		printf("flushed %u\n", i);
		fflush(stdout);
	}
}

static void command(const char *line)
{
	unsigned long long off, len;
	unsigned stamp;
	char path[512];

	if (sscanf(line, "w %llu %llu %u", &off, &len, &stamp) == 3)
		submit(DISK_WRITE, off, MIN(len, MAX_LEN), stamp);
	else if (sscanf(line, "z %llu %llu", &off, &len) == 2)
		submit(DISK_ZERO, off, len, 0);
	else if (sscanf(line, "d %llu %llu", &off, &len) == 2)
		submit(DISK_DISCARD, off, len, 0);
	else if (sscanf(line, "storm %llu", &off) == 1)
		storm(off);
	else if (line[0] == 'f')
		submit(DISK_FLUSH, 0, 0, 0);
	else if (line[0] == 'b')
		barrier();
	else if (line[0] == 'o') {
		puts("open");
		fflush(stdout);
	} else if (sscanf(line, "s %511s", path) == 1)
		save(path);
}

int main(int argc, char **argv)
{
	struct disk_options o = {0};
	char line[1024];

	for (int i = 1; i < argc; i++) {
		o.ro |= !strcmp(argv[i], "--ro");
		o.throwaway |= !strcmp(argv[i], "--throwaway");
		if (!strcmp(argv[i], "--format"))
			o.format = argv[++i];
		else if (argv[i][0] != '-')
			o.path = argv[i];
	}
	if (!rig_open_as(&rig, &o, CLOCK_HOST)) {
		puts(rig.err);
		return 1;
	}
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		jobs[i].data = malloc(MAX_LEN);
		jobs[i].free = free_job;
		free_job = &jobs[i];
	}
	while (fgets(line, sizeof(line), stdin))
		command(line);
	barrier();
	rig_close(&rig);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		free(jobs[i].data);
	return 0;
}
