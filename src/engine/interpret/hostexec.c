/*
 * hostexec.c - stubs in executable memory, and the way in and out; see hostexec.h.
 * Source: SDM vol. 2A 2.1 (format), 2.3.5 (VEX), 2.2.1.6 (RIP-relative operands).
 */
#include "engine/interpret/hostexec.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/util.h"

#define STUB_SIZE   32u
#define STUB_COUNT  2048u
#define CODE_SIZE   (STUB_SIZE * STUB_COUNT)
#define BUFFER_ROOM 4096u
#define RET         0xc3

struct host_stubs {
	uint8_t *code;   /* where it is executed; the buffer follows */
	uint8_t *writer; /* the same memory, writable */
	unsigned used;
	uint16_t bucket[2 * STUB_COUNT]; /* stub + 1, by hash of its bytes */
};

/* ---- the way in and out ---- */

void host_enter(struct host_frame *f);

/* X(n, where xmm n is in the image) */
#define XMM_REGISTERS(X)                                                                           \
	X(0, 160)                                                                                  \
	X(1, 176)                                                                                  \
	X(2, 192)                                                                                  \
	X(3, 208)                                                                                  \
	X(4, 224)                                                                                  \
	X(5, 240)                                                                                  \
	X(6, 256)                                                                                  \
	X(7, 272)                                                                                  \
	X(8, 288)                                                                                  \
	X(9, 304)                                                                                  \
	X(10, 320)                                                                                 \
	X(11, 336)                                                                                 \
	X(12, 352)                                                                                 \
	X(13, 368)                                                                                 \
	X(14, 384)                                                                                 \
	X(15, 400)
#define LOAD_XMM(n, at) "	movaps " #at "(%rcx), %xmm" #n "\n"
#define KEEP_XMM(n, at) "	movaps %xmm" #n ", " #at "(%rcx)\n"

#define OFF(field) offsetof(struct host_frame, field)
_Static_assert(OFF(rflags) == 128 && OFF(stub) == 136 && OFF(image) == 144 && OFF(form) == 152 &&
		       OFF(host_mxcsr) == 160 && OFF(host_fcw) == 164,
	"host_enter knows these");

/*
 * fxsave and xsave do not wait: an x87 exception that the instruction raised
 * stays in the image, and fninit clears it before anything could trap.
 */
__asm__(".text\n"
	".globl host_enter\n"
	".hidden host_enter\n"
	".type host_enter, @function\n"
	"host_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	"
	"push %r15\n"
	"	push %rdi\n"
	"	mov 144(%rdi), %rcx\n"
	"	test %rcx, %rcx\n	jz 2f\n"
	"	stmxcsr 160(%rdi)\n	fnstcw 164(%rdi)\n"
	"	cmpq $1, 152(%rdi)\n	je 1f\n	ja 6f\n"
	"	fxrstor64 (%rcx)\n	jmp 2f\n"
	"6:	ldmxcsr 24(%rcx)\n" XMM_REGISTERS(
		LOAD_XMM) "	jmp 2f\n"
			  "1:	mov $7, %eax\n	xor %edx, %edx\n	xrstor64 (%rcx)\n"
			  "2:	push 136(%rdi)\n"
			  "	push 128(%rdi)\n	popfq\n"
			  "	mov 0(%rdi), %rax\n	mov 8(%rdi), %rcx\n	mov 16(%rdi), "
			  "%rdx\n"
			  "	mov 24(%rdi), %rbx\n	mov 40(%rdi), %rbp\n	mov 48(%rdi), "
			  "%rsi\n"
			  "	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n	mov 80(%rdi), "
			  "%r10\n"
			  "	mov 88(%rdi), %r11\n	mov 96(%rdi), %r12\n	mov 104(%rdi), "
			  "%r13\n"
			  "	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n	mov 56(%rdi), "
			  "%rdi\n"
			  "	call *(%rsp)\n"
			  "	pushfq\n"
			  "	push %rdi\n"
			  "	mov 24(%rsp), %rdi\n"
			  "	mov %rax, 0(%rdi)\n	mov %rcx, 8(%rdi)\n	mov %rdx, "
			  "16(%rdi)\n"
			  "	mov %rbx, 24(%rdi)\n	mov %rbp, 40(%rdi)\n	mov %rsi, "
			  "48(%rdi)\n"
			  "	mov %r8, 64(%rdi)\n	mov %r9, 72(%rdi)\n	mov %r10, "
			  "80(%rdi)\n"
			  "	mov %r11, 88(%rdi)\n	mov %r12, 96(%rdi)\n	mov %r13, "
			  "104(%rdi)\n"
			  "	mov %r14, 112(%rdi)\n	mov %r15, 120(%rdi)\n"
			  "	pop %rax\n	mov %rax, 56(%rdi)\n"
			  "	pop %rax\n	mov %rax, 128(%rdi)\n"
			  "	add $16, %rsp\n"
			  "	mov 144(%rdi), %rcx\n"
			  "	test %rcx, %rcx\n	jz 5f\n"
			  "	cmpq $1, 152(%rdi)\n	je 3f\n	ja 7f\n"
			  "	fxsave64 (%rcx)\n	jmp 4f\n"
			  "7:	stmxcsr 24(%rcx)\n" XMM_REGISTERS(
				  KEEP_XMM) "	ldmxcsr 160(%rdi)\n	jmp 5f\n"
					    "3:	mov $7, %eax\n	xor %edx, %edx\n	xsave64 "
					    "(%rcx)\n	vzeroupper\n"
					    "4:	fninit\n	fldcw 164(%rdi)\n	ldmxcsr "
					    "160(%rdi)\n"
					    "5:	cld\n"
					    "	pop %r15\n	pop %r14\n	pop %r13\n	"
					    "pop %r12\n	pop %rbp\n	"
					    "pop %rbx\n"
					    "	ret\n"
					    ".size host_enter, .-host_enter\n");

/* ---- encoding ---- */

struct stub {
	uint8_t byte[STUB_SIZE];
	unsigned len;
	unsigned disp; /* where the displacement of the memory operand is, or 0 */
};

static void emit(struct stub *s, unsigned byte)
{
	s->byte[s->len++] = (uint8_t)byte;
}

static bool has_memory(const struct x86_insn *i)
{
	return i->has_modrm && i->modrm < 0xc0;
}

static bool is_integer(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_XMM || i->opnd[n].kind == X86_OPND_MMX ||
			i->opnd[n].kind == X86_OPND_ST)
			return false;
	return i->map != X86_MAP_1;
}

/* A register in place of RSP that the instruction does not name. */
static unsigned spare(const struct x86_insn *i)
{
	for (unsigned r = X86_RBX; r < X86_GPR_COUNT; r++) {
		bool named = r == X86_RSP;

		for (unsigned n = 0; n < i->nops; n++)
			named |= i->opnd[n].kind == X86_OPND_GPR && i->opnd[n].reg == r;
		if (!named && r < 8)
			return r;
	}
	return X86_RBX;
}

static bool uses_rsp(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_GPR && i->opnd[n].reg == X86_RSP)
			return true;
	return false;
}

/* Is operand n the one of ModRM.rm? The last that is no immediate is, or the first. */
static bool is_rm(const struct x86_insn *i, unsigned n)
{
	bool first = (i->map == X86_MAP_0F && i->opcode == 0x7e) ||
		     (i->map == X86_MAP_0F3A && i->opcode >= 0x14 && i->opcode <= 0x17);
	unsigned last = i->nops - 1u;
	/* BZHI, BEXTR, SARX, SHLX and SHRX end with VEX.vvvv. */
	bool ends_with_vvvv = i->vex && i->map == X86_MAP_0F38 &&
			      (i->opcode == 0xf7 || (i->opcode == 0xf5 && !i->rep));

	while (last && (i->opnd[last].kind == X86_OPND_IMM || (ends_with_vvvv && last == 2)))
		last--;
	return i->modrm >= 0xc0 && n == (first ? 0 : last);
}

/* ModRM with RSP renamed and memory as [RIP + displacement]. */
static void emit_modrm(struct stub *s, const struct x86_insn *i)
{
	unsigned reg = i->modrm >> 3 & 7, rm = i->modrm & 7;

	for (unsigned n = 0; n < i->nops; n++) {
		if (i->opnd[n].kind != X86_OPND_GPR || i->opnd[n].reg != X86_RSP)
			continue;
		if (is_rm(i, n))
			rm = spare(i);
		else if (reg == X86_RSP && !(i->rex & 4))
			reg = spare(i);
	}
	if (!has_memory(i)) {
		emit(s, 0xc0 | reg << 3 | rm);
		return;
	}
	emit(s, reg << 3 | 5);
	s->disp = s->len;
	s->len += 4;
}

/* VEX.W is the size of a general register or of what is moved in its place. */
static bool sized_by_w(const struct x86_insn *i)
{
	return is_integer(i) || i->map == X86_MAP_0F ||
	       (i->map == X86_MAP_0F3A &&
		       (i->opcode == 0x16 || i->opcode == 0x22 || (i->opcode & 0xfc) == 0x60));
}

static void emit_vex(struct stub *s, const struct x86_insn *i)
{
	static const uint8_t prefix[] = {0, 2, 3}; /* by enum x86_rep */
	unsigned pp = i->rep ? prefix[i->rep] : i->opsize_prefix;
	unsigned rxb = has_memory(i) ? i->rex & 4 : i->rex & 7, vvvv = i->vvvv, w = i->rex >> 3 & 1;

	if (i->mode != X86_MODE_64) { /* only eight registers: these bits are ignored */
		rxb = 0;
		vvvv &= 7;
		w = w && !sized_by_w(i);
	}
	if (uses_rsp(i) && vvvv == X86_RSP && is_integer(i))
		vvvv = spare(i);
	emit(s, 0xc4);
	emit(s, (~rxb & 7) << 5 | i->map);
	emit(s, w << 7 | (~vvvv & 15) << 3 | (unsigned)i->vex_l << 2 | pp);
	emit(s, i->opcode);
}

/* 66 is the operand size of these, and part of the opcode of all others. */
static bool sized_by_prefix(const struct x86_insn *i)
{
	return i->op == X86_OP_MOVBE || i->op == X86_OP_POPCNT || i->op == X86_OP_CRC32 ||
	       i->op == X86_OP_TZCNT || i->op == X86_OP_LZCNT;
}

static void emit_legacy(struct stub *s, const struct x86_insn *i)
{
	unsigned rex = has_memory(i) ? i->rex & 0x4cu : i->rex & 0x4fu;
	bool prefix = sized_by_prefix(i) ? i->opsize == 2 : i->opsize_prefix && !i->rep;

	if (prefix && i->map != X86_MAP_1)
		emit(s, 0x66);
	if (i->rep && i->map != X86_MAP_1)
		emit(s, i->rep == X86_REP_F3 ? 0xf3 : 0xf2);
	if (rex)
		emit(s, rex | 0x40);
	if (i->map != X86_MAP_1)
		emit(s, 0x0f);
	if (i->map == X86_MAP_0F38)
		emit(s, 0x38);
	if (i->map == X86_MAP_0F3A)
		emit(s, 0x3a);
	emit(s, i->opcode);
}

static struct stub encode(const struct x86_insn *i)
{
	struct stub s = {.len = 0};

	if (i->vex)
		emit_vex(&s, i);
	else
		emit_legacy(&s, i);
	if (i->has_modrm)
		emit_modrm(&s, i);
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_IMM)
			emit(&s, (unsigned)i->imm & 0xff);
		else if (n == 3) /* a register */
			emit(&s, (unsigned)(i->opnd[n].reg << 4 | (i->imm & 15)));
	return s;
}

/* ---- the store of stubs ---- */

static uint32_t hash(const struct stub *s)
{
	uint64_t a, b;

	memcpy(&a, s->byte, 8);
	memcpy(&b, s->byte + 8, 8);
	a = (a ^ b * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(a >> 40);
}

static void place(struct host_stubs *h, struct stub *s, unsigned at)
{
	uint8_t *to = h->writer + at * STUB_SIZE;
	int32_t disp = (int32_t)(CODE_SIZE - at * STUB_SIZE - s->len);

	memcpy(to, s->byte, s->len);
	if (s->disp)
		memcpy(to + s->disp, &disp, 4);
	to[s->len] = RET;
	memcpy(to + STUB_SIZE - 16, s->byte, 16); /* for comparison */
}

/* Stubs are at most 15 bytes and RET; the upper half keeps the key. */
static const void *find(struct host_stubs *h, struct stub *s)
{
	unsigned mask = 2 * STUB_COUNT - 1, at = hash(s) & mask;

	for (; h->bucket[at]; at = (at + 1) & mask) {
		const uint8_t *code = h->code + (h->bucket[at] - 1u) * STUB_SIZE;

		if (!memcmp(code + STUB_SIZE - 16, s->byte, 16))
			return code;
	}
	if (h->used == STUB_COUNT) { /* full: begin anew */
		memset(h->bucket, 0, sizeof(h->bucket));
		h->used = 0;
		at = hash(s) & mask;
	}
	place(h, s, h->used);
	h->bucket[at] = (uint16_t)++h->used;
	return h->code + (h->used - 1) * STUB_SIZE;
}

int host_stubs_new(struct host_stubs **out)
{
	struct host_stubs *h = xcalloc(1, sizeof(*h));
	int fd = memfd_create("tinamou-stubs", MFD_CLOEXEC), err = -ENOMEM;

	h->code = h->writer = MAP_FAILED;
	if (fd < 0 || ftruncate(fd, CODE_SIZE))
		goto fail;
	h->code = mmap(NULL, CODE_SIZE + BUFFER_ROOM, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h->code == MAP_FAILED || mmap(h->code, CODE_SIZE, PROT_READ | PROT_EXEC,
					     MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		goto fail;
	h->writer = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (h->writer == MAP_FAILED)
		goto fail;
	close(fd);
	*out = h;
	return 0;
fail:
	err = errno ? -errno : err;
	if (fd >= 0)
		close(fd);
	host_stubs_free(h);
	return err;
}

void host_stubs_free(struct host_stubs *h)
{
	if (h->code != MAP_FAILED)
		munmap(h->code, CODE_SIZE + BUFFER_ROOM);
	if (h->writer != MAP_FAILED)
		munmap(h->writer, CODE_SIZE);
	free(h);
}

uint8_t *host_buffer(struct host_stubs *h)
{
	return h->code + CODE_SIZE;
}

void host_run(struct host_stubs *h, const struct x86_insn *insn, struct host_frame *f)
{
	struct stub s = encode(insn);
	bool rsp = uses_rsp(insn);
	unsigned other = spare(insn);
	uint64_t kept = f->gpr[other];

	f->stub = find(h, &s);
	if (rsp)
		f->gpr[other] = f->gpr[X86_RSP];
	host_enter(f);
	if (rsp) {
		f->gpr[X86_RSP] = f->gpr[other];
		f->gpr[other] = kept;
	}
}
