/*
 * jail.c - tables of system calls by kind of thread, and Landlock; see jail.h.
 *
 * A call that is not in a table ends the process at once (SIGSYS). Memory is
 * never mapped executable, and ioctl reaches a virtual machine's descriptors
 * only. Sockets that were opened before are used with read, write, send and
 * receive; none is opened, bound or connected.
 */
#include "host/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/util.h"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE /* headers before version 3 */
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define HOST_TYPE   0xae /* of <linux/kvm.h> */
#define MODULE_TYPE 0xd7 /* of driver/abi.h */

/* What every thread needs: locks, memory, signals, the end of all; its own only where it is not the
 * main one. */
#define COMMON                                                                                     \
	SCMP_SYS(futex), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(brk),      \
		SCMP_SYS(madvise), SCMP_SYS(mremap), SCMP_SYS(rt_sigprocmask),                     \
		SCMP_SYS(rt_sigreturn), SCMP_SYS(tgkill), SCMP_SYS(getpid),                        \
		SCMP_SYS(clock_gettime), SCMP_SYS(write), SCMP_SYS(exit_group)

#define DISK_CALLS                                                                                 \
	SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),                \
		SCMP_SYS(fdatasync), SCMP_SYS(fallocate), SCMP_SYS(ftruncate), SCMP_SYS(lseek),    \
		SCMP_SYS(fstat), SCMP_SYS(newfstatat)

/* Under the instruction clock it serves disks and runs the vCPUs too. */
static const int machine_calls[] = {COMMON, DISK_CALLS, SCMP_SYS(read), SCMP_SYS(writev),
	SCMP_SYS(close), SCMP_SYS(ppoll), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_ctl),
	SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
	SCMP_SYS(accept4), SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(shutdown),
	SCMP_SYS(timerfd_settime), SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall),
	SCMP_SYS(getrandom), SCMP_SYS(sigaltstack), SCMP_SYS(ioctl)};

/* Device handlers run on these threads; sockets were opened before. */
static const int vcpu_calls[] = {COMMON, SCMP_SYS(exit), SCMP_SYS(read), SCMP_SYS(writev),
	SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(newfstatat), SCMP_SYS(epoll_ctl),
	SCMP_SYS(close), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(shutdown), SCMP_SYS(getrandom), SCMP_SYS(sigaltstack), SCMP_SYS(timer_delete),
	SCMP_SYS(ioctl)};

static const int disk_calls[] = {COMMON, SCMP_SYS(exit), DISK_CALLS};

/* The folder is reached by descriptors and single names; Landlock says the same again. */
static const int share_calls[] = {COMMON, SCMP_SYS(exit), DISK_CALLS, SCMP_SYS(recvfrom),
	SCMP_SYS(sendto), SCMP_SYS(shutdown), SCMP_SYS(close), SCMP_SYS(openat), SCMP_SYS(openat2),
	SCMP_SYS(getdents64), SCMP_SYS(readlinkat), SCMP_SYS(fstatfs), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(fchmodat), SCMP_SYS(fchownat), SCMP_SYS(utimensat),
	SCMP_SYS(mkdirat), SCMP_SYS(mknodat), SCMP_SYS(symlinkat), SCMP_SYS(linkat),
	SCMP_SYS(unlinkat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(syncfs),
	SCMP_SYS(copy_file_range), SCMP_SYS(fcntl), SCMP_SYS(fsync)};

/*
 * The front's, once the machine runs: openat and rename make pictures of the screen, kill reaches
 * its own children. rt_sigaction and gettid are for the end by the signal that it was asked with.
 */
static const int front_calls[] = {COMMON, SCMP_SYS(read), SCMP_SYS(writev), SCMP_SYS(close),
	SCMP_SYS(poll), SCMP_SYS(shutdown), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg), SCMP_SYS(accept4), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(lseek), SCMP_SYS(wait4), SCMP_SYS(rt_sigaction), SCMP_SYS(gettid),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall), SCMP_SYS(getrandom), SCMP_SYS(getuid),
	SCMP_SYS(unlink), SCMP_SYS(rename), SCMP_SYS(openat), SCMP_SYS(ioctl)};

/* Of a terminal: its mode and size, what waits there, the other end. */
static const unsigned terminal_ioctls[] = {
	TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TIOCGWINSZ, FIONREAD, TIOCGPTN, TIOCGPTPEER};

/* Unix sockets only. */
static const int vsock_calls[] = {COMMON, SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(read),
	SCMP_SYS(readv), SCMP_SYS(close), SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(accept4),
	SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(shutdown), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(restart_syscall)};

static const struct {
	const int *call;
	unsigned count;
} tables[JAIL_KINDS] = {
	[JAIL_MACHINE] = {machine_calls, ARRAY_SIZE(machine_calls)},
	[JAIL_VCPU] = {vcpu_calls, ARRAY_SIZE(vcpu_calls)},
	[JAIL_DISK] = {disk_calls, ARRAY_SIZE(disk_calls)},
	[JAIL_SHARE] = {share_calls, ARRAY_SIZE(share_calls)},
	[JAIL_FRONT] = {front_calls, ARRAY_SIZE(front_calls)},
	[JAIL_VSOCK] = {vsock_calls, ARRAY_SIZE(vsock_calls)},
};

unsigned jail_count(enum jail_kind kind)
{
	return tables[kind].count;
}

/* ---- seccomp ---- */

/* Requests to a virtual machine's descriptors, by the type in their number. */
static int allow_machine_ioctls(scmp_filter_ctx c)
{
	static const unsigned type[] = {HOST_TYPE, MODULE_TYPE};
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(type) && !err; i++)
		err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, _IOC_TYPEMASK << _IOC_TYPESHIFT,
				(scmp_datum_t)type[i] << _IOC_TYPESHIFT));
	return err;
}

static int allow_terminal_ioctls(scmp_filter_ctx c)
{
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(terminal_ioctls) && !err; i++)
		err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1(SCMP_CMP_EQ, terminal_ioctls[i]));
	return err;
}

/* Some calls are allowed with some arguments only. */
static int allow(scmp_filter_ctx c, enum jail_kind kind, int call)
{
	if (call == SCMP_SYS(mmap) || call == SCMP_SYS(mprotect))
		return seccomp_rule_add(
			c, SCMP_ACT_ALLOW, call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (call == SCMP_SYS(ioctl))
		return kind == JAIL_FRONT ? allow_terminal_ioctls(c) : allow_machine_ioctls(c);
	if (call == SCMP_SYS(openat) && kind == JAIL_FRONT)
		return seccomp_rule_add(c, SCMP_ACT_ALLOW, call, 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT, O_WRONLY | O_CREAT));
	if (call == SCMP_SYS(socket))
		return seccomp_rule_add(c, SCMP_ACT_ALLOW, call, 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	return seccomp_rule_add(c, SCMP_ACT_ALLOW, call, 0);
}

static int load_filter(enum jail_kind kind, const pid_t *child, unsigned children)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = c ? 0 : -ENOMEM;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	for (unsigned i = 0; i < tables[kind].count && !err; i++)
		err = allow(c, kind, tables[kind].call[i]);
	for (unsigned i = 0; i < children && !err; i++)
		if (child[i] > 0)
			err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)child[i]));
	if (!err)
		err = seccomp_load(c);
	seccomp_release(c);
	return err;
}

int jail_calls(enum jail_kind kind)
{
	return load_filter(kind, NULL, 0);
}

int jail_calls_front(const pid_t *child, unsigned children)
{
	return load_filter(JAIL_FRONT, child, children);
}

/* ---- Landlock ---- */

/* By version of its interface: what can be forbidden at all. */
static uint64_t all_rights(long version)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (version >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

static int add_folder(int rules, int folder, uint64_t rights, bool ro)
{
	const uint64_t no = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
			    LANDLOCK_ACCESS_FS_MAKE_BLOCK;
	struct landlock_path_beneath_attr a = {.allowed_access = rights & ~no, .parent_fd = folder};

	struct stat st;

	if (ro)
		a.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	if (folder >= 0 && !fstat(folder, &st) && !S_ISDIR(st.st_mode))
		a.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
	if (folder < 0 || !syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0))
		return 0;
	return -errno;
}

/* What is handled is forbidden, but for what the folder has. */
static int restrict_paths(uint64_t not_handled, int folder, bool ro)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr a = {.handled_access_fs = all_rights(version) & ~not_handled};
	int rules, err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (version < 1)
		return 0;
	rules = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a.handled_access_fs), 0);
	if (rules < 0)
		return -errno;
	err = add_folder(rules, folder, a.handled_access_fs, ro);
	if (!err && syscall(SYS_landlock_restrict_self, rules, 0))
		err = -errno;
	close(rules);
	return err;
}

int jail_paths(int folder, bool ro)
{
	return restrict_paths(0, folder, ro);
}

int jail_paths_front(void)
{
	return restrict_paths(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
				      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE,
		-1, false);
}
