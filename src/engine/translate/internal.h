/*
 * internal.h - between the files of engine translate.
 *
 * A struct tcpu is interpret's CPU with what translated code needs behind it.
 * While translated code runs, host RSP is its address, and what is below it is
 * a stack for signals. Guest registers live in the host registers of their own
 * names, but for
 *     RSP in r9, RBP in r10, and r9, r10, r11 in memory (s.gpr);
 * host rbp and r11 are free for the translator. See docs/translator.md.
 * Everything here belongs to one vCPU, and only its thread touches it but for
 * `poll`, which any thread may clear.
 */
#ifndef TINAMOU_TRANSLATE_INTERNAL_H
#define TINAMOU_TRANSLATE_INTERNAL_H

#include <time.h>

#include "engine/interpret/door.h"
#include "engine/translate/asm.h"

#define T0      RBP /* the address of a memory operand; in place of a register in memory */
#define T1      R11
#define G_RSP   R9
#define G_RBP   R10
#define SPILLED NOREG

#define FAST_SHIFT   10
#define FAST_SIZE    (1u << FAST_SHIFT) /* entries of a fast TLB */
#define JUMP_SHIFT   12
#define JUMP_SIZE    (1u << JUMP_SHIFT)
#define KEYS         32u
#define NO_KEY       0xffu
#define CODE_SIZE    (64u << 20)
#define CODE_ROOM    (64u << 10) /* a block is surely smaller */
#define BLOCKS       (1u << 17)
#define LINKS        (1u << 18)
#define ACCESS_SHIFT 18
#define ACCESSES     (1u << ACCESS_SHIFT)
#define INSNS        (1u << 16) /* instructions that translated code lets interpret execute */
#define HASH_SIZE    (1u << 18)
#define TAILS        (1u << 10)
#define WHERE_SIZE   (1u << 14)
#define EXITS        (4u * BLOCK_INSNS + 8) /* of a block */
#define NONE         UINT32_MAX
#define WRITTEN      1024u /* words of 64 pages */
#define ROAMING      1024u /* words of 64 addresses */
#define BLOCK_INSNS  64u
#define STACK_ROOM   (64u << 10)

/* A hit: page is the linear address of the page, delta what makes it a host address. */
struct fast_entry {
	uint64_t page, delta;
};

/* What is known of an access that looks: a leader of a group, or one alone. */
struct access {
	uint64_t rip;         /* of shared code: in its page */
	uint64_t since;       /* when its misses began to count: ticks of the TSC */
	uint32_t fills;       /* ... and how many entries had been filled by then */
	uint32_t back;        /* in the code: behind the look */
	uint32_t recipe;      /* for the flags, or 0 */
	uint16_t span;        /* bytes that are checked: those of its group */
	uint16_t down;        /* how far below it they begin */
	uint8_t size, before; /* before: instructions of the block */
	bool write;
	uint8_t align; /* bits of the address that must not be set */
	bool host;     /* T0 is to be the host address, else the difference */
	bool own;      /* it looks into an entry of its own */
	bool shared;   /* its code is */
};

/*
 * Lists of accesses whose own entries were filled: those that write by their host page,
 * behind them those that read; each for pages that are not global and for global ones.
 */
#define SITE_HASH     16u
#define SITE_LISTS    (2 * SITE_HASH + 2)
#define SITE_SHIFT    12
#define SITE_ROOM     (1u << SITE_SHIFT)
#define SITE_FIRST(n) ((n)*16u) /* where list n begins: each in other lines of the host's cache */

/* What the miss of an access needs beside its entry. */
#define SITE_BUDGET 256
#define OFTEN       400u /* ticks of the TSC between misses of all: they cost as much as they spare */
#define SHARE       64u /* ... and one in so many is of this access */
struct site_more {
	int16_t left; /* misses before it is judged */
	uint16_t limit;
};

/* No host address: an access through an entry without a page faults. */
#define NO_SITE (UINT64_C(1) << 63)

/* Where the other side of SYSCALL or SYSRET goes on: gate.c. */
struct gate {
	uint32_t table; /* of jumps, in the state; 0: unknown */
	uint32_t key;
	uint8_t units; /* of it */
};

/* Where indirect jumps go. */
struct jump_entry {
	uint64_t rip, host;
};

/* Where the guest's arithmetic flags are. */
enum place {
	IN_MEMORY, /* tcpu.flags */
	IN_HOST,
	IN_BOTH,
	IN_RECIPE /* nowhere: a fault computes them again, and nothing else needs them */
};

/* Of struct key. */
#define UNITS_SSE      1u
#define UNITS_AVX      2u
#define UNITS_LIVE     4u /* the guest's vector registers are in the host's */
#define UNITS_SINGLE   8u /* each access looks for itself: see access.c */
#define UNITS_X87      16u
#define UNITS_LIVE_X87 32u /* ... and its x87 and MMX registers, too */
#define UNITS_SHARED   64u /* the code holds wherever its page is mapped: see emit.c */
#define SHARED_END     (UINT64_C(0x7fff7fff0000)) /* from below, no branch leaves the lower half */

/* What of the guest's is in the host's beside general registers: of a key, of tcpu.live. */
enum live { LIVE_NONE, LIVE_VECTORS, LIVE_X87, LIVE_LEVELS };

/*
 * What translated code was made for. Blocks are found by physical address, RIP
 * and key: it holds for all of a block. What stands for the RIP of shared ones is where
 * they lie in their page.
 */
struct key {
	uint8_t mode, privilege;
	uint8_t flat;  /* bit n: segment n is flat, or may be added to (FS, GS) */
	uint8_t units; /* UNITS_* that may be used */
};

/* How the flags of an instruction follow from what it left: see flags.c. */
#define RECIPES (1u << 18)
struct recipe {
	uint16_t op;
	bool stored;        /* the operands are in tcpu.kept */
	uint8_t size, a, b; /* registers; b: NOREG for imm */
	int32_t imm;
};

/* The second page of an instruction that lies across the end of one. */
struct tail {
	uint64_t page; /* physical, >> 12 */
	uint32_t version;
	bool global, present;
};

/* What finding one needs comes first, in one line of the host's cache. */
struct tblock {
	_Alignas(64) gpa_t addr;
	uint64_t rip;
	uint32_t version, next_hash;
	uint32_t from_host, from_memory; /* entries; 0: the first instruction is interpret's */
	uint32_t links_in;
	uint8_t key;
	bool live;
	uint8_t wants; /* enum live: what its first instruction asks for before it is translated */
	bool has_tail;
	uint32_t code, link, insn, recipe, access; /* where what is its own begins */
	uint16_t len;                              /* bytes of its instructions */
	uint32_t next_page, prev_page, next_tail;
	struct tail tail;
};

/* A direct jump out of a block. */
struct link {
	uint64_t rip;
	uint32_t patch; /* where the displacement of the jump is */
	uint32_t stub;  /* where it goes to while it is open */
	uint32_t next_in, prev_in;
	uint32_t to; /* whose list of links it is in, while joined */
	uint8_t key, place;
	bool closed, joined, far; /* far: to another page */
};

/*
 * --torture: what is rare in a guest is made frequent, and nothing that it sees
 * changes. 0: as usual. See torture.c.
 */
struct torture {
	uint32_t cache;   /* bytes of code at most */
	uint32_t block;   /* instructions of a block at most */
	uint32_t flush;   /* the TLBs are emptied every so many entries of code */
	uint32_t evict;   /* ... and blocks thrown out */
	uint32_t miss;    /* all accesses take the slow path; one in so many leaves the block */
	uint32_t signals; /* microseconds from one signal of the host to the next */
};

/* Why translated code came back. */
enum leave {
	LEAVE_LOOK,      /* rip is set; look for events */
	LEAVE_ODD,       /* the instruction at rip is to be interpreted */
	LEAVE_LINK = 256 /* + link */
};

/* What a vCPU's time goes into: with --stats. */
enum spent { SPENT_REST, SPENT_CODE, SPENT_TRANSLATING, SPENT_MISSES, SPENT_CALLS, SPENT_KINDS };

struct tstats {
	uint64_t blocks, insns, bytes, expanded; /* translated; bytes of guest and of host code */
	uint64_t counted;  /* where tallied: instructions of translated code, bodies among them */
	uint64_t executed; /* ... and by interpret; with the instruction clock by both */
	uint64_t enters, links, bodies, systems, slow, odd, stale, evicted, flushes;
	uint64_t slow_writes, tlb_flushes[2], page_flushes; /* [1]: of global entries, too */
	uint64_t ticks[SPENT_KINDS];                        /* of the host's TSC, by enum spent */
	uint64_t by_op[X86_OP_COUNT]; /* with --stats: what was left to interpret, and bodies */
};

/* Offsets in the code. */
struct stubs {
	uint32_t enter, leave_host, leave_memory, rebuild, body, system;
	uint32_t link_host, link_memory, seek, resume, syscall, sysret, string;
	uint32_t miss[2], slow; /* miss: of a user's access, [write] */
};

#define SIGNAL_MAGIC UINT64_C(0x74696e616d6f7521)

struct signal_stack {
	uint64_t magic;
	struct tcpu *t;
	uint8_t room[64 << 10];
};

struct emitter;

struct tcpu {
	struct cpu c; /* first */

	/* Translated code reaches these. */
	uint64_t host_rsp, ret, scratch;
	uint32_t *_Atomic poll; /* NULL: leave at the next block */
	uint32_t poll_word;
	uint32_t host_mxcsr;
	uint32_t flags;               /* AH of LAHF in 15:8, OF in bit 0 */
	int64_t left;                 /* instructions before the budget is spent */
	uint64_t kept[2];             /* operands that a recipe needs: flags.c */
	uint64_t resume;              /* where code goes on behind a system instruction */
	struct gate gate[2];          /* [1]: to users */
	uint64_t page_rip, next_page; /* linear: of the shared code that runs; of where it calls */
	uint64_t slot[2 * BLOCK_INSNS]; /* differences of groups: access.c */
	struct fast_entry fast[X86_PRIVILEGES][2][FAST_SIZE];
	struct jump_entry jump[KEYS][JUMP_SIZE];
	uint32_t jump_block[KEYS][JUMP_SIZE]; /* + 1: which the entry led to, even if it is clear */
	uint64_t saved[3], delta;             /* of the stub for misses; what slow_access found */
	/* Accesses whose entries were filled. */
	uint32_t sites_used[SITE_LISTS], site_list[SITE_LISTS][SITE_ROOM];
	uint8_t fast_global[X86_PRIVILEGES][2][FAST_SIZE];
	struct site_more more[ACCESSES];
	struct fast_entry site[ACCESSES];

	/* Only C code reaches these. */
	int64_t granted;
	bool with_stats; /* --stats */
	enum spent spending;
	uint64_t since; /* when it began to */
	bool counting;  /* instructions, exactly */
	bool tally;     /* they are counted, for that or for whom they are told */
	struct torture torture;
	bool torturing; /* at each entry of code, which is to be left often */
	timer_t storm;  /* of torture.signals, if storms */
	bool storms;
	uint32_t random;      /* of torture and check */
	uint32_t block_insns; /* at most */
	struct check *check;  /* --check, or NULL: then blocks are not chained */
	uint8_t key_now;
	unsigned keys;
	struct key key[KEYS];
	struct code code;
	uint8_t *exec; /* where code is executed */
	struct stubs stubs[LIVE_LEVELS];
	uint32_t first_block;
	bool can_live;
	uint8_t live;     /* enum live: blocks of such keys are asked for */
	uint8_t live_for; /* privilege */
	bool users_live;  /* users have used vector registers */
	/* Rings: how many were ever made. The oldest block is what goes next. */
	uint32_t blocks, links, insns, recipes, accesses, oldest;
	bool wrapped;     /* newer code stands before older */
	uint32_t pending; /* the link that waits for its block, or NONE */
	uint64_t pending_rip;
	uint32_t hash[HASH_SIZE], page[HASH_SIZE], tail[TAILS]; /* tail: by second pages */
	uint32_t fast_used, far_locals, far_globals;
	uint32_t fills; /* own entries that were filled and that no list has now; wraps */
	uint32_t fast_list[4 * FAST_SIZE]; /* entries that were filled, but for global pages */
	uint64_t global_pages[1024];       /* hashed linear pages of these */
	uint64_t written[WRITTEN];         /* hashed host pages of entries for writes */
	uint64_t roaming[ROAMING];         /* hashed addresses of users' accesses that miss often */
	struct jump_list {
		uint32_t used; /* more than there is room for: the list is not complete */
		uint32_t at[JUMP_SIZE];
	} jumps[2];               /* entries that were filled; [1]: those to global pages */
	uint64_t far_pages[1024]; /* hashed linear pages that far links and jumps go to */
	/* Where pages of shared code were since far links were cut the last time. */
	struct whereabouts {
		gpa_t page;
		uint64_t lin, epoch;
	} where[WHERE_SIZE];
	uint64_t epoch;
	uint32_t wheres;
	uint64_t stale_seen;
	struct tstats stats;
	struct signal_stack signal_stack;
	uint32_t far_local[LINKS], far_global[LINKS];
	struct tblock block[BLOCKS];
	struct link link[LINKS];
	struct recipe recipe[RECIPES]; /* [0] is not used */
	struct access access[ACCESSES];
	struct x86_insn insn[INSNS];
	insn_body *insn_body[INSNS];
};

/* From now on time goes into `next`. */
static inline void spend(struct tcpu *t, enum spent next)
{
	uint64_t now;

	if (!t->with_stats)
		return;
	now = __builtin_ia32_rdtsc();
	t->stats.ticks[t->spending] += now - t->since;
	t->since = now;
	t->spending = next;
}

#define STATE(field) ((uint32_t)offsetof(struct tcpu, field))
#define GPR(n)       ((uint32_t)(offsetof(struct tcpu, c.s.gpr) + 8u * (n)))

/* ---- scan.c: what a block is ---- */

enum kind {
	KIND_COPY, /* the host executes it, registers renamed and memory operand rewritten */
	KIND_NOP,
	KIND_VECTOR, /* and MMX */
	KIND_X87,
	KIND_MXCSR, /* LDMXCSR, STMXCSR, under live keys */
	KIND_BMI,   /* general registers by VEX */
	KIND_BITS,  /* BT and its kin on a bit string in memory */
	KIND_LEA,
	KIND_PUSH,
	KIND_POP,
	KIND_LEAVE,
	KIND_JCC,
	KIND_JMP, /* direct */
	KIND_CALL,
	KIND_RET,
	KIND_JMP_INDIRECT,
	KIND_CALL_INDIRECT,
	KIND_STRING, /* MOVS, STOS: in one page by the host, else as KIND_BODY */
	KIND_BODY,   /* interpret's body is called */
	KIND_CLI,
	KIND_STI,
	KIND_PUSHF,
	KIND_POPF,
	KIND_SWAPGS,
	KIND_AC, /* STAC, CLAC */
	KIND_FENCE,
	KIND_DIRECTION, /* CLD, STD */
	KIND_BASE,      /* RDFSBASE and its kin */
	KIND_TIME,      /* RDTSC, RDTSCP by the host's TSC */
	KIND_CONTROL,   /* MOV from CR0, CR2, CR3, CR4 */
	KIND_SELECTOR,  /* MOV from a segment register to a general one */
	KIND_GATE,      /* SYSCALL, SYSRET: gate.c */
	KIND_SYSTEM,    /* the same, and it ends the block: it may change anything */
	KIND_ODD        /* ends a block before it */
};

struct tinsn {
	struct x86_insn i;
	const uint8_t *bytes;
	uint64_t rip;
	uint8_t kind;
	uint8_t tail;       /* where the immediate is in bytes */
	uint16_t reads;     /* flags */
	uint16_t writes;    /* surely */
	uint16_t live;      /* flags that matter after it, or that a fault could show */
	uint16_t real;      /* flags that matter before it, whatever a fault could show */
	bool reg_is_opcode; /* ModRM.reg extends the opcode */
	bool rm_first;      /* operand 0 is ModRM.rm */
	bool no_prefix;     /* TZCNT, LZCNT that are BSF, BSR for the guest */
	bool accesses;      /* memory, by the fast TLB: flags in the host are lost */
};

struct scan {
	struct tinsn insn[BLOCK_INSNS];
	unsigned count;
	uint64_t rip, end; /* of the last instruction */
	struct key key;
	struct tail across;          /* its one instruction lies across the end of the page */
	uint8_t bytes[X86_INSN_MAX]; /* then it is here */
	bool shared;                 /* of the key */
	bool start_reads;            /* the flags at the start are read before memory is accessed */
	uint8_t wants;               /* enum live: of the next instruction */
	bool start_dead;             /* ... are overwritten before anything can see them */
};

/* Decodes from rip, up to the end of its page; or what lies across it, which may raise a fault. */
void scan(struct tcpu *t, const struct key *key, const struct tlb_entry *page, uint64_t rip,
	struct scan *s);

/* The page behind that of rip, of which t executes; false: it has none, or no memory. */
bool find_tail(struct tcpu *t, uint64_t rip, struct tail *tail, const struct tlb_entry **entry);

enum exit_kind {
	EXIT_JUMP, /* to another block */
	EXIT_POLL, /* somebody wants the vCPU */
	EXIT_LOOK, /* the budget does not last for the block */
	EXIT_RET,  /* a return or jump to what is not in the table of jumps; T0: where to */
	EXIT_ODD,  /* interpret is to execute the instruction */
	EXIT_FAULT /* the same: the host raised a fault at it, see run.c */
};

struct texit {
	uint32_t from; /* a jump's displacement; the constant of a poll or behind what may fault */
	uint64_t rip;
	uint8_t place, kind;
	uint8_t key;     /* of what is jumped to */
	uint32_t recipe; /* for the flags, or 0 */
	unsigned before; /* instructions that an EXIT_ODD or EXIT_RET must count */
	int32_t pops;    /* bytes that the return takes off the stack */
	uint32_t retry;  /* where the branch looks for its target again */
	bool turns;      /* the jump is to another page, which tcpu.page_rip has yet to be told */
};

/* The host may raise #DE. */
static inline bool is_division(const struct x86_insn *i)
{
	return i->op == X86_OP_DIV || i->op == X86_OP_IDIV;
}

/* General registers and memory alone, in the map 0F 38: the format of two operands. */
static inline bool is_0f38(const struct x86_insn *i)
{
	return i->op == X86_OP_MOVBE || i->op == X86_OP_CRC32 || i->op == X86_OP_ADCX ||
	       i->op == X86_OP_ADOX;
}

static inline bool swaps_pair(const struct x86_insn *i)
{
	return i->op == X86_OP_CMPXCHG8B || i->op == X86_OP_CMPXCHG16B;
}

/* Nothing of the block follows it. */
bool ends_block(enum kind kind);
/* The arithmetic flags that it reads. */
uint16_t flags_read(const struct x86_insn *i);

/* ---- cache.c: blocks, links, and what becomes of them ---- */

int cache_new(struct tcpu *t);
void cache_free(struct tcpu *t);
void cache_flush(struct tcpu *t); /* everything */
/* What stands for rip in blocks and links of the key. */
static inline uint64_t rip_for(const struct key *k, uint64_t rip)
{
	return k->units & UNITS_SHARED ? rip & (PAGE_SIZE - 1) : rip;
}

/*
 * Shared code of the page is about to run at rip. Links and jumps between pages hold only
 * while each is in one place: else they are cut.
 */
void settle(struct tcpu *t, gpa_t page, uint64_t rip);
struct tblock *cache_find(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key);
/* The same, likely where the link or jump led the last time. */
struct tblock *cache_find_by_link(
	struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key, uint32_t link);
struct tblock *cache_find_by_jump(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key);
struct tblock *cache_add(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key, uint32_t version);
/* The block lasts as long as that page does. */
void cache_add_tail(struct tcpu *t, struct tblock *b, const struct tail *tail);
/* Before a block of at most CODE_ROOM bytes is written: the oldest ones make room. */
void cache_reserve(struct tcpu *t);
uint32_t link_new(struct tcpu *t, const struct texit *x, bool far);
/* to is at rip. */
void link_close(struct tcpu *t, uint32_t link, struct tblock *to, uint64_t rip, bool global);
/* The block of the access is found no more; it may be what runs. */
void cache_forget(struct tcpu *t, uint32_t access);
/* The physical address of the access's instruction. */
gpa_t cache_where(const struct tcpu *t, uint32_t access);
/* The oldest block, and all that leads there. There is one. */
void cache_evict(struct tcpu *t);
void jump_add(struct tcpu *t, const struct tblock *b, uint64_t rip, bool global);
/* Drops what was made from pages that were written to. */
void cache_drop_stale(struct tcpu *t);
/* A linear page, or all, may be elsewhere now. */
void cut_far(struct tcpu *t, bool globals_too);
void cut_page(struct tcpu *t, uint64_t lin);

/* ---- run.c ---- */

/* What comes before the constant of EXIT_FAULT: nop dword [rax + disp32]. */
static const uint8_t fault_code[] = {0x0f, 0x1f, 0x80};

/* The index of a key; NO_KEY: there is no room for another. */
uint8_t key_number(struct tcpu *t, const struct key *key);
bool translate_advance(struct cpu *c, uint64_t budget, struct run_result *r);
int catch_faults(void);
void use_signal_stack(struct tcpu *t);
void leave_signal_stack(void);

/*
 * Called by translated code: where the open link leads, or the jump to rip by key. What is
 * found is remembered. NULL, false: leave.
 */
const uint8_t *chase_link(struct tcpu *t, uint32_t link);
bool chase_jump(struct tcpu *t, uint64_t rip, uint8_t key);
/* The code at rIP, whatever has changed, behind an instruction that was counted. NULL: leave. */
const uint8_t *chase_on(struct tcpu *t);

/* ---- memory.c: the fast TLBs ---- */

void fast_flush(struct tcpu *t, bool globals_too);
void fast_flush_page(struct tcpu *t, uint64_t lin);
/* Its fast TLB lets the vCPU write to the page no more; it stands still, or is the caller's. */
void forget_writes(struct cpu *c, const struct code_page *p);
/* What follows from the entry is remembered for translated code, if it may be. */
void remember(struct tcpu *t, uint64_t lin, bool write, const struct tlb_entry *e);
/* How many own entries were ever filled; wraps. */
uint32_t sites_filled(const struct tcpu *t);
/* The accesses' own entries forget all, or all but global pages. */
void sites_flush(struct tcpu *t, bool globals_too);
/*
 * Called by translated code for an access that missed; lin is where its span begins. The
 * difference is in tcpu.delta; false: interpret it.
 */
bool slow_access(struct tcpu *t, uint64_t lin, uint32_t access);
/* The same for what a string instruction begins with; true: the fast TLB has the page now. */
bool slow_string(struct tcpu *t, uint64_t lin, uint32_t access);

/* ---- stubs.c: the ways in and out ---- */

/* While instructions are tallied: those done since the last time, and some more. */
void account(struct tcpu *t, unsigned more);

void make_stubs(struct tcpu *t);
/* After vector registers were stored: s.xsave holds all of them. */
void tidy_vectors(struct tcpu *t);
enum leave enter(struct tcpu *t, const uint8_t *entry);
void flags_to_memory(struct tcpu *t);   /* from rflags */
void flags_from_memory(struct tcpu *t); /* to rflags */
void emit_save_flags(struct code *c);
void emit_restore_flags(struct code *c);
/* Vector registers to and from the host's, as they are at that level. */
void load_vectors(struct code *c, enum live live);
void store_vectors(struct code *c, enum live live);

/* ---- check.c ---- */

struct check *check_new(void);
void check_free(struct check *k);
/* Runs b, and interpret over the same instructions; raises a fatal error if they differ. */
enum leave check_block(struct tcpu *t, struct tblock *b);
/* Before a store of translated code. */
void check_store(struct check *k, uint8_t *host, unsigned size);

/* ---- torture.c ---- */

/* text: NAME=NUMBER,... -EINVAL, with the reason in err. */
int torture_parse(struct torture *o, const char *text, char *err, size_t errlen);
/* On the vCPU's thread; the signals begin. 0 or -errno. */
int torture_start(struct tcpu *t);
/* The signals end; may be called by any thread, and if none have begun. */
void torture_stop(struct tcpu *t);
/* Before code is entered. */
void torture_enter(struct tcpu *t);
/* An access is to be taken for a fault. */
bool refused(struct tcpu *t);

/* ---- report.c ---- */

void note_left(struct tcpu *t); /* what is at rIP goes to interpret */
void translate_report(struct engine *e, FILE *out);

/* ---- perf.c: --perf-map ---- */

void perf_name_stubs(const struct tcpu *t);
/* b was the last that was made. */
void perf_name_block(const struct tcpu *t, const struct tblock *b);

/* ---- probe.c ---- */

void translate_probe(struct engine_verdict *v);

/* ---- string.c ---- */

/* What executes a string instruction, all iterations of it; NULL: it is none, or of ports. */
insn_body *string_body(const struct x86_insn *i);
/* MOVS and STOS that emit_string knows. */
bool copies_string(const struct x86_insn *i, const struct key *key);
void emit_string(struct emitter *e);

/* ---- vector.c ---- */

#define MXCSR_MASKS 0x1f80u
uint8_t usable_units(const struct tcpu *t);
bool is_vector(const struct tcpu *t, const struct x86_insn *i);
bool loads_mxcsr(const struct x86_insn *i);
bool moves_mxcsr(const struct x86_insn *i); /* and nothing else */
void emit_mxcsr(struct emitter *e);

/* ---- x87.c ---- */

/* Of the general state: may x87 and MMX instructions be copied? */
bool x87_usable(const struct tcpu *t);
bool is_x87(const struct x86_insn *i);
bool is_mmx(const struct tcpu *t, const struct x86_insn *i);
/* MMX instructions that SSE brought: they need what SSE needs. */
bool is_mmx_of_sse(const struct x86_insn *i);
/* Only interpret's body executes it, since it would show host addresses. */
bool shows_pointers(const struct x86_insn *i);
/* These bring another control word. */
bool loads_fcw(const struct x86_insn *i);
void emit_x87(struct emitter *e);

/* ---- bmi.c ---- */

bool is_bmi(const struct x86_insn *i);
void emit_bmi(struct emitter *e);

/* ---- base.c ---- */

bool is_base(const struct x86_insn *i);
void emit_base(struct emitter *e);

/* ---- gate.c ---- */

bool is_gate(const struct tcpu *t, const struct x86_insn *i, const struct key *key);
/* Code of the key, which is key_now, is about to run. */
void note_gate(struct tcpu *t, const struct key *key);
void emit_gate(struct emitter *e);
/* Behind the other stubs. */
void make_gates(struct tcpu *t);

/* ---- emit.c, operand.c ---- */

/* Makes code of a scanned block, and its entries. */
void emit_block(struct tcpu *t, struct scan *s, struct tblock *b);

/* Accesses that share a look: access.c. */
#define NO_GROUP 0xffu
struct group {
	uint8_t seg, base, index, scale;
	uint32_t base_version, index_version, epoch;
	int64_t low, high;
	int64_t origin; /* folded: where the address in the slot leads */
	uint8_t members, slot;
	bool write, open, folded;
};

struct emitter {
	struct tcpu *t;
	struct code *c;
	struct scan *s;
	const struct tinsn *n;
	unsigned at; /* of n in s */
	gpa_t addr;  /* of the block */
	uint8_t key_index;
	const struct stubs *stubs;
	enum place flags;
	unsigned producer; /* which instruction set the flags, IN_HOST, or NONE */
	unsigned kept;     /* which instruction stored its operands, or NONE */
	uint32_t recipe;   /* IN_RECIPE */
	struct mem mem;    /* the memory operand that was reached, in the host */
	unsigned nth;      /* accesses of this instruction */
	unsigned exits, groups;
	uint32_t first_access;
	uint8_t slots;
	uint32_t from[2 * BLOCK_INSNS]; /* jumps of its accesses to where they miss */
	struct texit exit[EXITS];
	struct group group[2 * BLOCK_INSNS];
	uint8_t member[BLOCK_INSNS][2];
	int64_t position[BLOCK_INSNS][2];
};

/* ---- access.c ---- */

/* Which accesses of the block share a look; before it is emitted. */
void plan_accesses(struct emitter *e);
/* One of the present instruction, for tcpu.access; flags are in memory. */
uint32_t new_access(struct emitter *e, unsigned size, bool write);
/*
 * e->mem becomes the operand in the host, which may use T0. T1 is lost, and so are the flags
 * in the host, which were brought to memory, unless another access has looked.
 */
void reach(
	struct emitter *e, const struct x86_mem *m, unsigned addrsize, unsigned size, bool write);
/* The same for the instruction's own operand, which it returns, if there is one. */
const struct x86_operand *reach_memory(struct emitter *e);
/* The same for linear T0; flags are in memory. */
void reach_at(struct emitter *e, unsigned size, bool write);
/* e->mem becomes [T0]. */
void address_to_t0(struct emitter *e);
/* `to` becomes the offset that m stands for. */
void emit_offset(struct emitter *e, unsigned to, const struct x86_mem *m, unsigned addrsize);
/* T0 becomes linear; flags in the host are lost. */
void add_segment(struct emitter *e, unsigned seg, unsigned size);
void emit_misses(struct emitter *e);
/* Users' accesses at addr look into the fast TLB alone, in blocks made from now on. */
void note_roaming(struct tcpu *t, gpa_t addr);

/* ---- flags.c ---- */

/* Flags that are in the host may be lost by the present access: a recipe is made. */
bool flags_can_be_lost(struct emitter *e);
/* The present instruction is to store its operands, so that its flags can be lost. */
bool stores_operands(const struct emitter *e);
void rebuild_flags(struct tcpu *t, unsigned which);

/* The flags are there, too, afterwards; or in a recipe. */
void need_flags_in_memory(struct emitter *e);
void need_flags_in_host(struct emitter *e);
struct texit *new_exit(struct emitter *e, enum exit_kind kind, uint32_t from, uint64_t rip);
/* The jump at `from` goes to where interpret executes the instruction. Flags are in memory. */
void exit_odd(struct emitter *e, uint32_t from);
/* What was emitted last may fault: then interpret executes it. Flags are in memory. */
void exit_at_fault(struct emitter *e);
/* Pushes tcpu.scratch; T0 and T1 are lost. */
void push_scratch(struct emitter *e);
/* Loads the top of the stack, which stays where it is until move_top_by. */
void pop_to(struct emitter *e, unsigned to);
void move_top_by(struct emitter *e, int32_t by);
void emit_cli(struct emitter *e);
void emit_sti(struct emitter *e);
void emit_pushf(struct emitter *e);
void emit_popf(struct emitter *e);
/* The arithmetic flags of T1 are the guest's. */
void put_arithmetic(struct code *c);
void emit_swapgs(struct emitter *e);
void emit_ac(struct emitter *e);
void emit_fence(struct emitter *e);
void emit_direction(struct emitter *e);
/* RDTSC or RDTSCP of a machine whose clock may be a line by the host's TSC. */
bool reads_line(const struct tcpu *t, const struct x86_insn *i);
void emit_time(struct emitter *e);
bool reads_control(const struct x86_insn *i);
void emit_control(struct emitter *e);
void emit_selector(struct emitter *e);
void emit_body(struct emitter *e);
void emit_system(struct emitter *e);
/* So many instructions of the block are done. T0 is lost. */
void count(struct emitter *e, unsigned done);
/* Out of the block to rip, which is another's of key, or to the run loop for NO_KEY. */
void jump_out_to(struct emitter *e, uint64_t rip, unsigned done, uint8_t key);
uint64_t next_rip(const struct emitter *e);
/* `to` becomes the linear address, which is near the block's code. Flags stay. */
void load_near(struct emitter *e, unsigned to, uint64_t lin);
/* The same to memory, by way of T1. */
void store_near(struct emitter *e, struct mem m, uint64_t lin);
void emit_copy(struct emitter *e);
/* Does it change some flags and keep others that matter, or read any? */
bool needs_flags(const struct tinsn *n);
/* The flags that it leaves, if any, are in the host. */
void note_new_flags(struct emitter *e);
void emit_vector(struct emitter *e);
void emit_lea(struct emitter *e);
void emit_bits(struct emitter *e);

static inline unsigned home(unsigned guest)
{
	static const uint8_t where[X86_GPR_COUNT] = {RAX, RCX, RDX, RBX, G_RSP, G_RBP, RSI, RDI, R8,
		SPILLED, SPILLED, SPILLED, R12, R13, R14, R15};

	return where[guest];
}

/* Of the fast TLB, in the state. */
static inline uint32_t fast_table(unsigned privilege, bool write)
{
	return STATE(fast) +
	       (uint32_t)sizeof(struct fast_entry) * FAST_SIZE * (privilege * 2u + write);
}

static inline unsigned site_hash(uint64_t host)
{
	return host >> 12 & (SITE_HASH - 1);
}

/* What blocks of the key have of the guest's in the host's. */
static inline enum live live_of(const struct key *k)
{
	if (k->units & UNITS_LIVE_X87)
		return LIVE_X87;
	return k->units & UNITS_LIVE ? LIVE_VECTORS : LIVE_NONE;
}

static inline bool wide(const struct emitter *e)
{
	return e->s->key.mode == X86_MODE_64;
}

#endif
