/*
 * vnc.c - the viewer that others look at by VNC: libvncserver over a socket that the run opened.
 *
 * RFB (RFC 6143) is libvncserver's affair; pictures go in, keys and the pointer come out. VNC's
 * pointer has a place and the PS/2 mouse a movement, so the guest's pointer follows, but need not
 * be where the client's is. No password, no sound, no clipboard.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper/viewer.h"

#define MAX_CLIENTS    16
#define CLIENT_WAIT_MS 5000 /* one that does not read is dropped then; the others wait so long */
#define UPDATE_MS      15   /* how long a client waits for what goes out in parts */

struct vnc {
	struct viewer v;
	rfbScreenInfoPtr screen;
	uint32_t width, height;
	uint8_t *frame; /* R, G, B and nothing; four bytes a pixel */
	bool has_place; /* the pointer was somewhere before */
	int x, y;
};

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr client)
{
	viewer_key(key_of_keysym(keysym), down);
}

/* RFB's buttons: left 1, middle 2, right 4; wheels beyond. */
static void on_pointer(int mask, int x, int y, rfbClientPtr client)
{
	struct vnc *n = client->screen->screenData;
	unsigned buttons = (mask & 1) | (mask & 4) >> 1 | (mask & 2) << 1;

	if (n->has_place)
		viewer_pointer(x - n->x, n->y - y, (unsigned)buttons);
	n->has_place = true;
	n->x = x;
	n->y = y;
}

/* ---- pictures ---- */

static void copy_row(uint8_t *to, const uint32_t *from, uint32_t pixels)
{
	for (uint32_t i = 0; i < pixels; i++, to += 4) {
		to[0] = (uint8_t)(from[i] >> 16);
		to[1] = (uint8_t)(from[i] >> 8);
		to[2] = (uint8_t)from[i];
		to[3] = 0;
	}
}

/* Copies the rows that differ and tells clients of them. */
static void show(struct vnc *n)
{
	size_t bytes = (size_t)n->width * 4;
	uint8_t *row = malloc(bytes);
	uint32_t first = n->height, end = 0;

	for (uint32_t y = 0; row && y < n->height; y++) {
		uint8_t *old = n->frame + y * bytes;

		copy_row(row, n->v.pixel + (size_t)y * n->width, n->width);
		if (!memcmp(old, row, bytes))
			continue;
		memcpy(old, row, bytes);
		first = y < first ? y : first;
		end = y + 1;
	}
	free(row);
	if (first < end)
		rfbMarkRectAsModified(n->screen, 0, (int)first, (int)n->width, (int)end);
}

static bool new_size(struct vnc *n)
{
	uint8_t *old = n->frame;

	n->width = n->v.width;
	n->height = n->v.height;
	n->frame = calloc(n->width, (size_t)n->height * 4);
	if (!n->frame)
		return false;
	rfbNewFramebuffer(n->screen, (char *)n->frame, (int)n->width, (int)n->height, 8, 3, 4);
	free(old);
	return true;
}

static bool update(struct vnc *n)
{
	bool resized;

	if (!viewer_update(&n->v, &resized))
		return true;
	if (resized && !new_size(n))
		return false;
	show(n);
	return true;
}

/* ---- clients ---- */

static void *size_mark(const struct vnc *n)
{
	return (void *)(uintptr_t)(n->width << 16 | n->height);
}

static enum rfbNewClientAction remember_size(rfbClientPtr client)
{
	client->clientData = size_mark(client->screen->screenData);
	return RFB_CLIENT_ACCEPT;
}

/*
 * The library tells of a new size only those who had asked by then: who asks after it has the
 * size of his greeting.
 */
static void tell_size(struct vnc *n)
{
	rfbClientIteratorPtr i = rfbGetClientIterator(n->screen);

	for (rfbClientPtr c; (c = rfbClientIteratorNext(i));) {
		if (!c->useNewFBSize || c->clientData == size_mark(n))
			continue;
		c->clientData = size_mark(n);
		c->newFBSizePending = TRUE;
		rfbMarkRectAsModified(n->screen, 0, 0, (int)n->width, (int)n->height);
	}
	rfbReleaseClientIterator(i);
}

static unsigned count_clients(struct vnc *n, struct pollfd *p)
{
	rfbClientIteratorPtr i = rfbGetClientIterator(n->screen);
	unsigned count = 0;

	for (rfbClientPtr c; (c = rfbClientIteratorNext(i));)
		if (c->sock != RFB_INVALID_SOCKET && count < MAX_CLIENTS)
			p[count++] = (struct pollfd){c->sock, POLLIN, 0};
	rfbReleaseClientIterator(i);
	return count;
}

static void new_client(struct vnc *n, unsigned clients)
{
	int fd = accept4(VIEWER_FD_LISTEN, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && clients < MAX_CLIENTS)
		rfbNewClient(n->screen, fd);
	else if (fd >= 0)
		close(fd);
}

static bool serve(struct vnc *n)
{
	struct pollfd p[2 + MAX_CLIENTS] = {
		{VIEWER_FD_SOCKET, POLLIN, 0}, {VIEWER_FD_LISTEN, POLLIN, 0}};
	unsigned clients = count_clients(n, p + 2);

	if (poll(p, 2 + clients, clients ? UPDATE_MS : -1) < 0 && errno != EINTR)
		return false;
	if (p[0].revents && !viewer_goes_on())
		return false;
	if (!update(n))
		return false;
	if (p[1].revents & POLLIN)
		new_client(n, clients);
	tell_size(n);
	rfbProcessEvents(n->screen, 0);
	return true;
}

static bool start(struct vnc *n)
{
	n->width = 640;
	n->height = 480;
	n->frame = calloc(n->width, (size_t)n->height * 4);
	rfbLogEnable(FALSE);
	n->screen = rfbGetScreen(NULL, NULL, (int)n->width, (int)n->height, 8, 3, 4);
	if (!n->screen || !n->frame)
		return false;
	n->screen->screenData = n;
	n->screen->frameBuffer = (char *)n->frame;
	n->screen->desktopName = "tinamou";
	n->screen->alwaysShared = TRUE;
	n->screen->cursor = NULL;
	n->screen->maxClientWait = CLIENT_WAIT_MS;
	n->screen->port = n->screen->ipv6port = 0; /* it opens none of its own */
	n->screen->kbdAddEvent = on_key;
	n->screen->ptrAddEvent = on_pointer;
	n->screen->newClientHook = remember_size;
	rfbInitServer(n->screen);
	fcntl(VIEWER_FD_LISTEN, F_SETFL, O_NONBLOCK);
	return true;
}

int main(void)
{
	struct vnc n = {0};

	if (!viewer_open(&n.v) || !start(&n) || !viewer_confine(CONFINE_PARSER))
		return 1;
	while (serve(&n))
		;
	return 0;
}
