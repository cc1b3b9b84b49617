/*
 * machine_screen.c - the screen of a machine, drawn for the front: text frames and
 * pictures in shared memory, and screenshots.
 */
#include "cmd/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PICTURE_TICKS 3

int machine_map_screen(struct machine *m)
{
	void *p = mmap(NULL, sizeof(struct shared_screen), PROT_READ | PROT_WRITE, MAP_SHARED,
		m->fd[FD_SCREEN], 0);

	m->screen = p == MAP_FAILED ? NULL : p;
	return m->screen ? 0 : -errno;
}

int machine_map_picture(struct machine *m)
{
	struct stat st;
	void *p;

	if (fstat(m->fd[FD_PICTURE], &st) || st.st_size < (off_t)sizeof(*m->picture))
		return 0;
	p = mmap(NULL, sizeof(*m->picture), PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[FD_PICTURE],
		0);
	m->picture = p == MAP_FAILED ? NULL : p;
	return m->picture ? 0 : -errno;
}

void machine_show_screen(struct machine *m)
{
	static const char screen_message = MSG_SCREEN;
	struct shared_screen *s = m->screen;
	struct text_frame frame;

	board_screen(m->board, &frame);
	if (frame.generation == m->generation)
		return;
	atomic_fetch_add(&s->sequence, 1);
	s->frame = frame;
	atomic_fetch_add(&s->sequence, 1);
	/* A front that is busy is told at the next tick: vm->lock waits for nobody. */
	if (send(m->ctl, &screen_message, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		m->generation = frame.generation;
}

static void share_picture(struct machine *m, const struct picture *p)
{
	static const char screen_message = MSG_SCREEN;
	struct shared_picture *s = m->picture;
	size_t pixels = (size_t)p->width * p->height;
	bool same = s->width == p->width && s->height == p->height;

	if (pixels > PICTURE_MAX_PIXELS || (same && !memcmp(s->pixel, p->pixel, pixels * 4)))
		return;
	atomic_fetch_add(&s->sequence, 1);
	s->width = p->width;
	s->height = p->height;
	if (pixels)
		memcpy(s->pixel, p->pixel, pixels * 4);
	atomic_fetch_add(&s->sequence, 1);
	send(m->ctl, &screen_message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A viewer is shown text as a picture, a terminal is not. */
static bool picture_wanted(const struct machine *m)
{
	return config_has_viewer(&m->config) || board_screen_graphics(m->board);
}

/* Frame buffers are not watched: pictures are drawn and compared, less often than text. */
void machine_show_picture(struct machine *m)
{
	struct picture p = {0};

	if (picture_wanted(m)) {
		if (m->ticks++ % PICTURE_TICKS)
			return;
		board_picture(m->board, &p);
	}
	if (p.pixel || m->picture->width)
		share_picture(m, &p);
	free(p.pixel);
}

void machine_screen_tick(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	uint64_t n;

	if (read(m->tick, &n, sizeof(n)) <= 0)
		return;
	if (m->picture)
		machine_show_picture(m);
	machine_show_screen(m);
}

int machine_save_picture(struct machine *m, int fd)
{
	struct picture p = {0};
	int error;

	board_picture(m->board, &p);
	error = png_write(fd, &p);
	if (error)
		log_error("the screenshot: %s", strerror(-error));
	free(p.pixel);
	return error;
}
