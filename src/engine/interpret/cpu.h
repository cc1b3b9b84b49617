/*
 * cpu.h - between the files of engine interpret: one vCPU, its memory, its faults.
 *
 * A body executes one decoded instruction. It reads its operands first and
 * writes last, memory before registers, so that a fault leaves the state as it
 * was. A fault leaves the body by longjmp to the run loop.
 * Left out so far: paging and long mode, call gates, task switches, x87 and
 * vectors. Source: Intel SDM vol. 2 and 3A.
 */
#ifndef TINAMOU_INTERPRET_CPU_H
#define TINAMOU_INTERPRET_CPU_H

#include <setjmp.h>

#include "core/vm.h"
#include "util/util.h"
#include "x86/insn.h"

#define CACHE_SIZE 4096u /* decoded instructions, by physical address */
#define LINE_SHIFT 6     /* code is tracked by lines of 64 bytes */
#define LINE_COUNT 65536u

struct cached_insn {
	gpa_t addr;
	uint32_t generation;
	uint8_t mode;
	struct x86_insn insn;
};

struct fault {
	uint8_t vector;
	bool has_error;
	uint32_t error;
};

enum { JUMP_FAULT = 1, JUMP_FATAL, JUMP_SHUTDOWN };

struct cpu {
	struct vcpu *v;
	struct x86_state s;
	uint64_t next_rip; /* where this instruction ends, or where it branches to */
	bool halt;         /* HLT was executed */
	bool keep_shadow;  /* this instruction began an interrupt shadow */

	jmp_buf leave;
	struct fault fault;
	bool delivering;          /* an exception or interrupt is on its way */
	uint8_t delivered_vector; /* which */
	struct run_result *result;
	char chain[160]; /* the faults since the last one that was delivered, for people */

	struct bus_range range; /* the last RAM or ROM reached */
	uint32_t generation;    /* entries of the cache with another one are stale */
	uint8_t line[LINE_COUNT / 8];
	struct cached_insn cache[CACHE_SIZE];
};

/* ---- faults (exception.c) ---- */
_Noreturn void raise_fault(struct cpu *c, uint8_t vector);
_Noreturn void raise_error(struct cpu *c, uint8_t vector, uint32_t error);
/* The engine cannot go on, with the reason for the user. */
_Noreturn void raise_fatal(struct cpu *c, const char *why);
/* Delivers c->fault; leaves by JUMP_SHUTDOWN after a triple fault. */
void deliver_fault(struct cpu *c);
/* soft: INT n, INT3, INTO, whose DPL is checked; rip is what the frame holds. */
void deliver(
	struct cpu *c, uint8_t vector, bool soft, bool has_error, uint32_t error, uint64_t rip);

/* ---- memory (memory.c) ---- */
enum access { READ, WRITE };
/* Linear address of size bytes at seg:off after all checks. */
uint64_t linear(struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum access a);
uint64_t load(struct cpu *c, unsigned seg, uint64_t off, unsigned size);
void store(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t value);
/* System accesses (tables): linear addresses, no segment. */
uint64_t load_linear(struct cpu *c, uint64_t lin, unsigned size);
void store_linear(struct cpu *c, uint64_t lin, unsigned size, uint64_t value);
void forget_code(struct cpu *c);
/* The instruction at CS:rIP, from the cache or decoded anew. */
const struct x86_insn *fetch(struct cpu *c);

/* ---- operands (memory.c) ---- */
uint64_t address(struct cpu *c, const struct x86_insn *i, const struct x86_mem *m);
uint64_t get(struct cpu *c, const struct x86_insn *i, unsigned n);
void set(struct cpu *c, const struct x86_insn *i, unsigned n, uint64_t value);
uint64_t get_gpr(const struct cpu *c, unsigned reg, unsigned size);
void set_gpr(struct cpu *c, unsigned reg, unsigned size, uint64_t value);

/* ---- stack (stack.c) ---- */
/* Several pushes are one effect: they move *sp, and RSP is set by stack_commit. */
uint64_t stack_pointer(const struct cpu *c);
void push_at(struct cpu *c, uint64_t *sp, unsigned size, uint64_t value);
uint64_t pop_at(struct cpu *c, uint64_t *sp, unsigned size);
void stack_commit(struct cpu *c, uint64_t sp);

/* ---- segments (segment.c) ---- */
static inline bool protected_mode(const struct cpu *c)
{
	return (c->s.cr0 & X86_CR0_PE) && !(c->s.rflags & X86_VM);
}
static inline unsigned cpl(const struct cpu *c)
{
	if (!(c->s.cr0 & X86_CR0_PE))
		return 0;
	return c->s.rflags & X86_VM ? 3 : c->s.seg[X86_SS].attr >> 5 & 3;
}
/* What loading sel into seg gives, after all checks of a data segment or stack. */
struct x86_seg check_segment(struct cpu *c, unsigned seg, uint16_t sel);
/* Code segment for a far jump, call or return; rpl: of the new CS. */
struct x86_seg check_code(struct cpu *c, uint16_t sel, unsigned new_cpl, bool is_return);
/* Stack of another ring. */
struct x86_seg check_stack(struct cpu *c, uint16_t sel, unsigned new_cpl, uint8_t vector);
/* -1 as errors go: false if outside of its table. */
bool read_descriptor(struct cpu *c, uint16_t sel, uint64_t *raw);
struct x86_seg unpack_segment(uint16_t sel, uint64_t raw);

/* ---- flags ---- */
static inline bool flag(const struct cpu *c, uint64_t f)
{
	return c->s.rflags & f;
}
static inline void set_flag(struct cpu *c, uint64_t f, bool on)
{
	c->s.rflags = on ? c->s.rflags | f : c->s.rflags & ~f;
}
static inline unsigned bits(unsigned size)
{
	return size * 8;
}
static inline bool sign(uint64_t v, unsigned size)
{
	return v >> (bits(size) - 1) & 1;
}
static inline int64_t extend(uint64_t v, unsigned size)
{
	return (int64_t)(v << (64 - bits(size))) >> (64 - bits(size));
}
void set_szp(struct cpu *c, uint64_t result, unsigned size);
/* Flags of a - b, as CMP sets them. */
void flags_sub(struct cpu *c, uint64_t a, uint64_t b, uint64_t borrow, unsigned size);
bool condition(const struct cpu *c, unsigned cc);

typedef void insn_body(struct cpu *c, const struct x86_insn *i);
#define X86_MNEMONIC(name) insn_body op_##name __attribute__((weak));
#include "x86/mnemonic.def"

#endif
