/*
 * cpu.h - between the files of engine interpret: one vCPU, its memory, its faults.
 *
 * A body executes one decoded instruction. It reads its operands first and
 * writes last, memory before registers, so that a fault leaves the state as it
 * was. A fault leaves the body by longjmp to the run loop.
 * Source: Intel SDM vol. 2 and 3A.
 */
#ifndef TINAMOU_INTERPRET_CPU_H
#define TINAMOU_INTERPRET_CPU_H

#include <setjmp.h>

#include "core/vm.h"
#include "util/util.h"
#include "x86/insn.h"
#include "x86/paging.h"

#define BLOCK_COUNT 32768u /* blocks that can be found by physical address */
#define BLOCK_MAX   16u    /* instructions a block */
#define SLOT_COUNT  262144u
#define INSN_COUNT  131072u
#define WAY_COUNT   8192u
#define TLB_SIZE    4096u
#define STOPS_MAX   64u /* of a debugger */
#define PAGE_SIZE   4096u
#define LINE_SHIFT  6 /* code is tracked by lines of 64 bytes, 64 a page */
#define NO_PAGE     UINT64_MAX

/*
 * A physical page that holds decoded instructions. A store to one of its marked
 * lines makes another version of it, and what was decoded before is stale. All
 * vCPUs share these.
 */
struct code_page {
	_Atomic uint64_t lines;
	_Atomic uint32_t version;
	/* Which vCPUs may write to it unseen, and that none does any more: see seal_page(). */
	_Atomic uint16_t writers;
	_Atomic bool sealed;
	_Atomic uint8_t emptied; /* how often all of its code went stale, up to 255 */
};

/* Lines of a page that were written to, and the version of the page that this made. */
struct stale {
	uint64_t page;
	unsigned first, last;
	uint32_t version; /* STALE_VERSION of its bits */
};

#define STALE_RING    256u
#define STALE_VERSION 0xfffu

struct interpret_engine {
	struct engine engine;
	struct code_page *code; /* by physical page, up to the highest RAM or ROM */
	uint64_t code_pages;
	/* The last writes to code: number n is at n % STALE_RING; see stale_number(). */
	_Atomic uint64_t stale_count;
	_Atomic uint64_t stale[STALE_RING];
	void *kept[VM_MAX_VCPUS]; /* translate's vCPUs, until the engine is closed */
	void (*went_stale)(struct interpret_engine *e); /* or NULL; any thread */
	uint32_t maps;                                  /* how often the memory map has changed */
	struct engine_slot *slot;                       /* the memory map */
	unsigned slots;
};

struct x86_insn;
struct cpu;
typedef void insn_body(struct cpu *c, const struct x86_insn *i);

/*
 * An instruction of a block, ready to run: fn does it and goes on to the next
 * one. f are the arithmetic flags as LAHF and SETO leave them, privilege is
 * c->privilege; both stay in registers. Registers are offsets into struct cpu.
 */
struct op;
typedef uint32_t op_fn(struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege);
struct op {
	op_fn *fn;
	int64_t imm;
	int32_t disp;
	uint16_t dst, src, base, index;
	uint8_t shift;  /* of the index */
	uint8_t seg;    /* segment, and the address size << 4 */
	uint8_t number; /* in the block */
	uint8_t at;     /* bytes from the block's begin to the instruction's */
};

/*
 * Instructions that follow each other in one page. All but the last are plain:
 * they change neither rIP, nor mode, nor what interrupts may come. A block lies
 * in consecutive slots: itself, its ops, and the ways that lead on from it,
 * where its last instruction branched and where it did not.
 */
struct block {
	gpa_t addr;
	struct code_page *code;
	uint32_t version;
	uint32_t first; /* of its instructions */
	uint8_t key, count, bytes;
};

/* What comes next at a linear address; true while key is c->key. */
struct way {
	uint64_t lin, key;
	const struct block *block;
};

union slot {
	struct block block;
	struct op op;
	struct way way;
};

static inline const struct op *first_op(const struct block *b)
{
	return &((const union slot *)(const void *)b)[1].op;
}
static inline const struct block *block_of(const struct op *op)
{
	return &((const union slot *)(const void *)op)[-1 - op->number].block;
}

struct tlb_entry {
	uint64_t page; /* linear address >> 12, or NO_PAGE */
	uint32_t rights;
	uint32_t fast; /* the rights that go straight to host: none of a device, no writes of ROM */
	uint8_t *host;
	gpa_t gpa;
	struct code_page *code; /* NULL of a device */
	bool global;
};

/*
 * What an access needs that hits: tags are the page's address negated, so that
 * address + tag is the offset in the page if it is below 4096. NO_TAG is that
 * of a page that is looked for elsewhere.
 */
#define NO_TAG(slot) (-(((slot) ^ UINT64_C(1)) * PAGE_SIZE))
struct tlb_hit {
	uint64_t read[X86_PRIVILEGES], write[X86_PRIVILEGES];
	uint8_t *host; /* less the page's linear address */
	struct code_page *code;
};

/* An ordinary segment as accesses see it; of others nothing is allowed here. */
struct window {
	uint64_t base, read, write; /* read and write: the sizes that are allowed */
};

struct fault {
	uint8_t vector;
	bool has_error;
	uint32_t error;
};

/* What engine translate does in place of interpret, or is told. */
struct cpu_hooks {
	/* Executes at CS:rIP; false: interpret goes on where it stands, perhaps further on. */
	bool (*advance)(struct cpu *c, uint64_t budget, struct run_result *r);
	void (*flushed)(struct cpu *c, bool globals_too);
	void (*flushed_page)(struct cpu *c, uint64_t lin);
	/* The page gets code: from here on no write to it may go unseen. */
	void (*forget_writes)(struct cpu *c, const struct code_page *p);
};

enum { JUMP_FAULT = 1, JUMP_RETRY, JUMP_FREEZE, JUMP_FATAL, JUMP_SHUTDOWN };

struct cpu {
	struct x86_state s; /* first: translated code reaches it by short offsets */
	struct vcpu *v;
	struct interpret_engine *e;
	const struct cpu_hooks *hooks;
	bool one_block;       /* the hook is to be asked after each */
	bool shared;          /* other vCPUs run at the same time */
	uint64_t zero;        /* what an absent base or index register reads */
	uint64_t block_rip;   /* rIP of the block that is running */
	uint64_t block_start; /* instructions executed before it */
	uint64_t next_rip;    /* where this instruction ends, or where it branches to */
	bool halt;            /* HLT was executed */
	bool clock_changed;   /* put wrote the TSC or its MSRs: the machine is to be told */
	bool keep_shadow;     /* this instruction began an interrupt shadow */

	/* What follows from the state; refresh() keeps it so. */
	uint8_t mode;      /* enum x86_mode of the code */
	uint8_t privilege; /* enum x86_privilege of data accesses */
	uint8_t cpl;
	bool align_check;  /* CR0.AM, AC, ring 3 */
	bool watch;        /* DR7 enables a data breakpoint, or the debugger has one */
	bool stop_exec;    /* likewise instruction breakpoints */
	bool flat;         /* 32-bit code; CS, DS, ES and SS are all of the 4 GiB */
	uint64_t key;      /* of ways: a generation above what block_key() tells, and the ring */
	uint64_t lin_mask; /* linear addresses of data wrap so */
	struct window window[X86_GS + 1];
	unsigned phys_bits;
	uint64_t cr4_withheld; /* bits of features that CPUID does not tell of */
	uint64_t dr6_hits;     /* data breakpoints met by this instruction */

	/* The debugger's own stops, which the guest does not see. */
	struct debug_stop stop[STOPS_MAX];
	unsigned stops;
	bool stepping;      /* over whatever stop there is */
	bool stop_met;      /* a watched place was accessed */
	uint64_t stop_addr; /* which */

	jmp_buf leave;
	bool undo_ss; /* a fault puts old_ss back: SS is on trial for a stack switch */
	struct x86_seg old_ss;
	struct fault fault;
	bool delivering;          /* an exception or interrupt is on its way */
	uint8_t delivered_vector; /* which */
	struct run_result *result;
	char chain[160]; /* the faults since the last one that was delivered, for people */

	struct host_stubs *stubs;
	uint8_t fpu_result[X86_XSAVE_SIZE]; /* what becomes of xsave if the store succeeds */
	uint64_t locked;                    /* what a LOCKed instruction read */
	struct tlb_entry tlb[TLB_SIZE];
	_Alignas(64) struct tlb_hit hit[TLB_SIZE]; /* what of tlb goes straight to host */
	uint64_t large[8];       /* GiBs, hashed, from which a part of a large page was filled */
	unsigned filled;         /* entries of the list below; over TLB_SIZE: it is not complete */
	uint16_t fill[TLB_SIZE]; /* where entries of local pages were filled since the last flush */

	bool look; /* a device, decoded code or a system instruction was reached: leave the block */
	struct x86_insn apart; /* an instruction that is not kept */
	struct way *link;      /* where the branch that ended a block went, or NULL: anywhere */
	uint64_t stale_seen;   /* the engine's stale_count */
	uint32_t marks;        /* how many accessed and dirty bits were set */
	uint32_t slots_used, insns_used;  /* both are emptied as a whole when one is full */
	struct block *index[BLOCK_COUNT]; /* by physical address */
	struct way way[WAY_COUNT];        /* by linear address */
	union slot slot[SLOT_COUNT + 8];  /* the last ones: of a block that is not kept */
	struct x86_insn insn[INSN_COUNT + 1];
	insn_body *insn_body[INSN_COUNT + 1];
};

/* ---- a vCPU (interpret.c) ---- */
/* In memory of the caller's that is zero. 0 or -errno. */
int cpu_open(struct cpu *c, struct vcpu *v, struct interpret_engine *e);
void cpu_close(struct cpu *c);
/* State: zero. 0 or -errno. */
int cpu_new(struct vcpu *v, struct interpret_engine *e, struct cpu **out);
void cpu_free(struct cpu *c);
/* Executes until the contract's run() has to return; kicks: may be stopped by vcpu_kick. */
void cpu_run(struct cpu *c, uint64_t budget, struct run_result *r, bool kicks);

/* Recomputes what follows from the state. After CS, SS, CR0, CR4, EFER, DR7 or AC changed. */
void refresh(struct cpu *c);
/* stops.c: notes accesses that the debugger watches; what stands at linear address lin. */
void stops_note(struct cpu *c, uint64_t lin, unsigned size, enum x86_access a);
bool stops_here(const struct cpu *c, uint64_t lin);
/* Is there one in the page of code? Blocks, which run past them, are not made of it. */
bool stops_in_page(const struct cpu *c, uint64_t lin);
bool stops_watch(const struct cpu *c);
int interpret_set_stops(struct vcpu *v, const struct debug_stop *stop, unsigned count);
/* Tells the machine the offset of the TSC and where the guest's clock page is (msr.c). */
void tell_clock(struct cpu *c);

/* ---- faults (exception.c) ---- */
_Noreturn void raise_fault(struct cpu *c, uint8_t vector);
_Noreturn void raise_error(struct cpu *c, uint8_t vector, uint32_t error);
/* The instruction waits for an interrupt, and is then executed anew. */
_Noreturn void freeze(struct cpu *c);
/* The engine cannot go on, with the reason for the user. */
_Noreturn void raise_fatal(struct cpu *c, const char *why);
/* Delivers c->fault; leaves by JUMP_SHUTDOWN after a triple fault. */
void deliver_fault(struct cpu *c);
/* soft: INT n, INT3, INTO, whose DPL is checked; rip is what the frame holds. */
void deliver(
	struct cpu *c, uint8_t vector, bool soft, bool has_error, uint32_t error, uint64_t rip);

/* ---- translations (tlb.c) ---- */
void tlb_reset(struct cpu *c); /* before all else */
void tlb_flush(struct cpu *c, bool globals_too);
void tlb_flush_page(struct cpu *c, uint64_t lin);
/* The entry that allows the access; raises #PF. */
struct tlb_entry *tlb_find(
	struct cpu *c, uint64_t lin, enum x86_privilege privilege, enum x86_access a);
/* The same if it is known; else NULL. */
struct tlb_entry *tlb_peek(
	struct cpu *c, uint64_t lin, enum x86_privilege privilege, enum x86_access a);
/* The PDPTEs that a value of CR3 points to, into the state; raises #GP. */
void load_pdptes(struct cpu *c, uint64_t cr3);
/* The low bits of c->key: mode, flat code, protected mode, the ring; above: a generation. */
#define KEY_BLOCK      UINT64_C(0xf) /* what the ops of a block depend on */
#define KEY_USER       UINT64_C(0x10)
#define KEY_GENERATION UINT64_C(0x100)

/* No way from before is true any more. */
static inline void next_generation(struct cpu *c)
{
	c->key += KEY_GENERATION;
}
static inline uint8_t block_key(const struct cpu *c)
{
	return c->key & KEY_BLOCK;
}
/*
 * Several vCPUs: who stores and then looks for marks, and who marks and then
 * decodes, must not miss each other. Stores by struct tlb_hit look before, so a
 * page that gets code is taken from all of them first: it is sealed, until its
 * code was written. All other stores look behind, with a fence between.
 */
void seal_page(struct cpu *c, struct code_page *p);
/* The page has no code any more: stores may go straight to it again. */
void tlb_unseal(struct cpu *c, const struct tlb_entry *e);
/* Behind a store to RAM: the bytes may have been decoded, and the page may be unsealed. */
void look_behind(struct cpu *c, const struct tlb_entry *e, uint64_t lin, unsigned size);
/* Bytes at a physical address were written: is decoded code among them? */
void written(struct interpret_engine *e, gpa_t gpa, uint64_t len);

/* ---- memory (memory.c) ---- */
/* Linear address of size bytes at seg:off after all checks but those of paging. */
uint64_t linear(struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum x86_access a);
uint64_t load(struct cpu *c, unsigned seg, uint64_t off, unsigned size);
void store(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t value);
/* Faults as a store would, and changes nothing; size: up to a page. */
void probe_store(struct cpu *c, unsigned seg, uint64_t off, unsigned size);
/* The halves of a read-modify-write: the load faults as a store does; LOCK is obeyed. */
uint64_t load_to_change(struct cpu *c, unsigned seg, uint64_t off, unsigned size);
void store_changed(struct cpu *c, const struct x86_insn *i, unsigned seg, uint64_t off,
	unsigned size, uint64_t value);
/* CMPXCHG16B, aligned; false: old is now what memory holds. */
bool swap_16(struct cpu *c, unsigned seg, uint64_t off, uint64_t old[2], const uint64_t new[2]);
/* Linear addresses that linear() gave, with the rights of the instruction. */
uint64_t load_linear(struct cpu *c, uint64_t lin, unsigned size);
void store_linear(struct cpu *c, uint64_t lin, unsigned size, uint64_t value);
/* The CPU's own accesses to descriptor tables and TSSs: always a supervisor's. */
uint64_t load_system(struct cpu *c, uint64_t lin, unsigned size);
void store_system(struct cpu *c, uint64_t lin, unsigned size, uint64_t value);
static inline bool is_canonical(uint64_t lin)
{
	return (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}

/* ---- code (memory.c, block.c) ---- */
static inline uint64_t code_address(const struct cpu *c)
{
	if (c->mode == X86_MODE_64)
		return c->s.rip;
	return (uint32_t)(c->s.seg[X86_CS].base + c->s.rip);
}
static inline uint64_t code_limit(const struct cpu *c)
{
	return c->mode == X86_MODE_64 ? UINT64_MAX : c->s.seg[X86_CS].limit;
}
static inline enum x86_privilege code_privilege(const struct cpu *c)
{
	return c->cpl == 3 ? X86_USER : X86_SUPERVISOR;
}
/* Decodes at a linear address of code; true: all of it is in one page. Raises its faults. */
bool decode(struct cpu *c, uint64_t lin, struct x86_insn *insn);
/* Write number n; false: it is not there yet, and who counted it is about to tell. */
bool stale_number(struct interpret_engine *e, uint64_t n, struct stale *s);
void mark_code(struct cpu *c, struct code_page *p, gpa_t addr, unsigned len);
/* The instruction at CS:rIP, decoded anew. */
const struct x86_insn *fetch(struct cpu *c);
/* The block at CS:rIP, or NULL where there can be none; raises the faults of a fetch. */
const struct block *find_block(struct cpu *c);
/* The same of the instruction alone. */
const struct block *single_block(struct cpu *c);
void forget_blocks(struct cpu *c);
/* What executes an instruction: never NULL. */
insn_body *body_of(const struct cpu *c, const struct x86_insn *i);
/* false: the machine's CPU model does not have it. */
bool is_offered(const struct cpu *c, const struct x86_insn *i);
/* One instruction with everything that may come behind it. */
void execute(struct cpu *c, const struct x86_insn *i, insn_body *fn);
/* May more instructions follow it in a block? */
bool is_plain(const struct x86_insn *i);

/* ---- operands (memory.c) ---- */
uint64_t address(struct cpu *c, const struct x86_insn *i, const struct x86_mem *m);
/* #GP(0) if the memory operand is not, before anything else is said about it. */
void check_aligned(struct cpu *c, const struct x86_insn *i, unsigned to);
uint64_t get(struct cpu *c, const struct x86_insn *i, unsigned n);
void set(struct cpu *c, const struct x86_insn *i, unsigned n, uint64_t value);
uint64_t get_gpr(const struct cpu *c, unsigned reg, unsigned size);
void set_gpr(struct cpu *c, unsigned reg, unsigned size, uint64_t value);

/* ---- virtual interrupts (vme.c) ---- */
/* X86_IF or X86_VIF: what CLI and STI change here; #GP(0) where neither. */
uint64_t interrupt_flag(struct cpu *c);
/* In the flags that the instruction pushes or pops IF is VIF; #GP(0) where it may not execute. */
bool has_virtual_flags(struct cpu *c, const struct x86_insn *i);
uint64_t virtual_flags(const struct cpu *c);
/* #GP(0) if a program with virtual flags may not load these. */
void check_virtual_flags(struct cpu *c, uint64_t value);
/* Does INT n go to the 8086 program's own handler? #GP(0) where it goes nowhere. */
bool stays_in_v86(struct cpu *c, uint8_t vector);
/* There it goes; rip is what the frame holds. */
void deliver_in_v86(struct cpu *c, uint8_t vector, uint64_t rip);

/* ---- stack (stack.c) ---- */
/* Several pushes are one effect: they move *sp, and RSP is set by stack_commit. */
uint64_t stack_pointer(const struct cpu *c);
void push_at(struct cpu *c, uint64_t *sp, unsigned size, uint64_t value);
void probe_push(struct cpu *c, uint64_t sp, unsigned size);
uint64_t pop_at(struct cpu *c, uint64_t *sp, unsigned size);
void stack_commit(struct cpu *c, uint64_t sp);

/* ---- segments (segment.c) ---- */
#define TYPE_ACCESSED    1u
#define TYPE_WRITABLE    2u /* of data; readable, of code */
#define TYPE_CONFORMING  4u /* of code */
#define TYPE_EXPAND_DOWN 4u /* of data */
#define TYPE_CODE        8u

static inline bool protected_mode(const struct cpu *c)
{
	return (c->s.cr0 & X86_CR0_PE) && !(c->s.rflags & X86_VM);
}
static inline bool long_mode(const struct cpu *c)
{
	return c->s.efer & X86_EFER_LMA;
}
static inline bool v86_mode(const struct cpu *c)
{
	return c->s.rflags & X86_VM;
}
static inline unsigned cpl(const struct cpu *c)
{
	return c->cpl;
}
static inline bool is_null(uint16_t sel)
{
	return !(sel & ~3u);
}
static inline uint16_t error_of(uint16_t sel)
{
	return sel & 0xfffc;
}
static inline unsigned dpl(const struct x86_seg *s)
{
	return s->attr >> 5 & 3;
}
/* What loading sel into seg gives, after all checks of a data segment or stack. */
struct x86_seg check_segment(struct cpu *c, unsigned seg, uint16_t sel);
/* Data segment; vector is what a bad one raises: #GP, or #TS in a task switch. */
struct x86_seg check_data(struct cpu *c, uint16_t sel, uint8_t vector);
/* Code segment for a far jump, call or return; new_cpl: where it will run. */
struct x86_seg check_code(
	struct cpu *c, uint16_t sel, unsigned new_cpl, bool is_return, uint8_t vector);
/* Stack segment of ring new_cpl. */
struct x86_seg check_stack(struct cpu *c, uint16_t sel, unsigned new_cpl, uint8_t vector);
struct x86_seg null_segment(uint16_t sel, unsigned dpl);
/* false if outside of its table. */
bool read_descriptor(struct cpu *c, uint16_t sel, uint64_t *raw);
/* The same, raising vector(sel). */
uint64_t fetch_descriptor(struct cpu *c, uint16_t sel, uint8_t vector);
struct x86_seg unpack_segment(uint16_t sel, uint64_t raw);
void mark_accessed(struct cpu *c, struct x86_seg *s);
/* An LDT or TSS descriptor with its upper half in long mode. */
struct x86_seg system_segment(struct cpu *c, uint16_t sel, unsigned types, uint8_t vector);

/* ---- far transfers (far.c, task.c) ---- */
/* rip may be entered in cs, or #GP(error). */
void check_target(struct cpu *c, const struct x86_seg *cs, uint64_t rip, uint32_t error);
/* Stack of an inner ring from the TSS; ist: 0, or an entry of a 64-bit TSS. */
struct x86_seg inner_stack(
	struct cpu *c, unsigned new_cpl, unsigned ist, uint32_t ext, uint64_t *sp);
/* From here pushes go to the new stack, with the rights of new_cpl, until keep_stack or a fault. */
void try_stack(struct cpu *c, const struct x86_seg *ss, unsigned new_cpl, enum x86_mode mode);
void keep_stack(struct cpu *c, uint64_t sp);

enum task_switch { TASK_JMP, TASK_CALL, TASK_EVENT, TASK_IRET };
/* Sets s.rip and next_rip; rip is what the old TSS keeps. error: of an event, or NULL. */
void task_switch(struct cpu *c, uint16_t sel, enum task_switch why, uint64_t rip,
	const uint32_t *error, uint32_t ext);

/* ---- model-specific registers (msr.c) ---- */
void set_efer(struct cpu *c, uint64_t value);

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

#define X86_MNEMONIC(name) insn_body op_##name __attribute__((weak));
#include "x86/mnemonic.def"

#endif
