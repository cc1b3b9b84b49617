/*
 * confined.c - runs a program as a container would: user 65534 without groups or
 * capabilities, no new privileges, Docker's default seccomp profile, temporary folders
 * noexec, no /dev/kvm.
 *
 *   confined [--memory MiB] [--no-memfd] [--no-shared-code] PROGRAM ARGS...
 *
 * The profile is rebuilt from its published documentation (Docker's "Seccomp security
 * profiles for Docker", the table of significant calls that are blocked): those give EPERM,
 * clone3 ENOSYS, clone with a flag of namespaces EPERM. --memory: RLIMIT_AS. --no-memfd,
 * --no-shared-code: hosts that forbid what the translator needs. Exit status 77: not root,
 * or mounts are not to be had.
 */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY     65534
#define NAMESPACES 0x7e020000 /* CLONE_NEW* */
#define SKIP       77

/* Those of the table that x86-64 has. */
static const char *const blocked[] = {"acct", "add_key", "bpf", "clock_adjtime", "clock_settime",
	"create_module", "delete_module", "finit_module", "get_kernel_syms", "get_mempolicy",
	"init_module", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
	"lookup_dcookie", "mbind", "mount", "move_pages", "nfsservctl", "open_by_handle_at",
	"perf_event_open", "personality", "pivot_root", "process_vm_readv", "process_vm_writev",
	"ptrace", "query_module", "quotactl", "reboot", "request_key", "set_mempolicy", "setns",
	"settimeofday", "swapon", "swapoff", "sysfs", "_sysctl", "umount2", "unshare", "uselib",
	"userfaultfd", "ustat", "io_uring_setup", "io_uring_enter", "io_uring_register"};

struct wishes {
	rlim_t memory;
	bool no_memfd, no_shared_code;
};

static int skip(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return SKIP;
}

static int add_rules(scmp_filter_ctx f, const struct wishes *w)
{
	int err = 0;

	for (size_t n = 0; n < sizeof(blocked) / sizeof(blocked[0]); n++) {
		int call = seccomp_syscall_resolve_name(blocked[n]);

		if (call >= 0)
			err |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 0);
	}
	err |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (unsigned bit = 0; bit < 31; bit++)
		if (NAMESPACES >> bit & 1)
			err |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, 1u << bit, 1u << bit));
	if (w->no_memfd)
		err |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(memfd_create), 0);
	if (w->no_shared_code)
		err |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 2,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC),
			SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_SHARED, MAP_SHARED));
	return err;
}

static int install_profile(const struct wishes *w)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int err = f ? add_rules(f, w) : -ENOMEM;

	if (!err)
		err = seccomp_load(f);
	if (f)
		seccomp_release(f);
	return err;
}

/* In a mount namespace of its own. */
static int hide_folders(void)
{
	static const char *const folder[] = {"/tmp", "/dev/shm", "/var/tmp"};

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	for (unsigned n = 0; n < 3; n++)
		if (mount("tmpfs", folder[n], "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, NULL))
			return -errno;
	if (!access("/dev/kvm", F_OK) && mount("/dev/null", "/dev/kvm", NULL, MS_BIND, NULL))
		return -errno;
	return 0;
}

static int become_nobody(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap);
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY) ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

static char **parse(struct wishes *w, char **arg)
{
	for (; *arg && !strncmp(*arg, "--", 2); arg++) {
		if (!strcmp(*arg, "--memory") && arg[1])
			w->memory = strtoul(*++arg, NULL, 0) << 20;
		else if (!strcmp(*arg, "--no-memfd"))
			w->no_memfd = true;
		else if (!strcmp(*arg, "--no-shared-code"))
			w->no_shared_code = true;
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct wishes w = {0};
	char **command = parse(&w, argv + 1);
	struct rlimit limit;

	if (argc < 2 || !*command)
		return 2;
	if (getuid() != 0)
		return skip("not root");
	if (hide_folders())
		return skip("no mount namespace");
	if (become_nobody() || install_profile(&w))
		return skip("no seccomp");
	limit = (struct rlimit){w.memory, w.memory};
	if (w.memory && setrlimit(RLIMIT_AS, &limit))
		return skip("no limit of memory");
	execv(command[0], command);
	return skip(command[0]);
}
