/*
 * viewer.c - what the viewers have in common; see viewer.h and host/viewer.h.
 *
 * Confinement: no new privileges, and by seccomp what a viewer has no need of is refused with
 * EPERM. The VNC viewer parses what strangers send, so there the list is of what is allowed.
 */
#include "helper/viewer.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

bool viewer_open(struct viewer *v)
{
	struct stat st;
	void *p = MAP_FAILED;

	*v = (struct viewer){.seen = 1};
	if (!fstat(VIEWER_FD_PICTURE, &st) && st.st_size >= (off_t)sizeof(*v->shared))
		p = mmap(NULL, sizeof(*v->shared), PROT_READ, MAP_SHARED, VIEWER_FD_PICTURE, 0);
	if (p == MAP_FAILED) {
		fprintf(stderr, "tinamou: this program is started by 'tinamou run --display'\n");
		return false;
	}
	v->shared = p;
	return true;
}

static uint32_t sequence(const struct viewer *v)
{
	return atomic_load(&((struct shared_picture *)v->shared)->sequence);
}

static bool fit(struct viewer *v, uint32_t width, uint32_t height)
{
	uint32_t *pixel = realloc(v->pixel, (size_t)width * height * 4);

	if (!pixel)
		return false;
	v->pixel = pixel;
	v->width = width;
	v->height = height;
	return true;
}

/* A picture that is being written is left for the next time, which its end announces. */
bool viewer_update(struct viewer *v, bool *resized)
{
	uint32_t before = sequence(v), width = v->shared->width, height = v->shared->height;

	*resized = width != v->width || height != v->height;
	if (before == v->seen || before & 1 || !width || !height ||
		(uint64_t)width * height > PICTURE_MAX_PIXELS)
		return false;
	if (*resized && !fit(v, width, height))
		return false;
	memcpy(v->pixel, v->shared->pixel, (size_t)width * height * 4);
	atomic_thread_fence(memory_order_acquire);
	/* Torn: shown all the same, and copied again. */
	v->seen = sequence(v) == before ? before : 1;
	return true;
}

bool viewer_goes_on(void)
{
	char buf[16];
	ssize_t n;

	do
		n = recv(VIEWER_FD_SOCKET, buf, sizeof(buf), MSG_DONTWAIT);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 && errno == EAGAIN;
}

/* Waits: a machine that is slow to take keys gets them all. */
static void tell(const struct viewer_event *e)
{
	send(VIEWER_FD_SOCKET, e, sizeof(*e), MSG_NOSIGNAL);
}

void viewer_key(uint16_t key, bool down)
{
	if (key)
		tell(&(struct viewer_event){.kind = VIEWER_KEY, .key = key, .down = down});
}

static int16_t clamp(int n)
{
	return (int16_t)(n < -4096 ? -4096 : n > 4096 ? 4096 : n);
}

void viewer_pointer(int dx, int dy, unsigned buttons)
{
	tell(&(struct viewer_event){
		.kind = VIEWER_POINTER, .dx = clamp(dx), .dy = clamp(dy), .buttons = buttons & 7});
}

void viewer_closed(void)
{
	tell(&(struct viewer_event){.kind = VIEWER_CLOSE});
}

/* ---- confinement ---- */

static const int parser_may[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(poll),
	SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(accept), SCMP_SYS(accept4),
	SCMP_SYS(shutdown), SCMP_SYS(close), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(setsockopt),
	SCMP_SYS(getsockopt), SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(mmap),
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(futex),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(getrandom), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall), SCMP_SYS(getpid), SCMP_SYS(exit),
	SCMP_SYS(exit_group)};

static const int window_may_not[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kill),
	SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal), SCMP_SYS(listen), SCMP_SYS(accept),
	SCMP_SYS(accept4), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(unshare), SCMP_SYS(setns),
	SCMP_SYS(chroot), SCMP_SYS(pivot_root), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
	SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(chmod), SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchownat), SCMP_SYS(link),
	SCMP_SYS(linkat)};

static int add_rules(scmp_filter_ctx filter, uint32_t action, const int *list, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && !rc; i++)
		rc = seccomp_rule_add(filter, action, list[i], 0);
	return rc;
}

bool viewer_confine(enum confinement how)
{
	bool parser = how == CONFINE_PARSER;
	uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx filter = seccomp_init(parser ? refuse : SCMP_ACT_ALLOW);
	int rc = filter ? 0 : -ENOMEM;

	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		rc = -errno;
	if (!rc && parser)
		rc = add_rules(filter, SCMP_ACT_ALLOW, parser_may, ARRAY_SIZE(parser_may));
	else if (!rc)
		rc = add_rules(filter, refuse, window_may_not, ARRAY_SIZE(window_may_not));
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	if (rc)
		fprintf(stderr, "tinamou: the viewer cannot be confined: %s\n", strerror(-rc));
	return !rc;
}
