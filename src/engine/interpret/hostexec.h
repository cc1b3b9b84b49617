/*
 * hostexec.h - one guest instruction on the host's own CPU, with operands of ours.
 *
 * For x87, vectors and the newer integer instructions: the host is of the same
 * kind, and its results are exact. The instruction is encoded anew as a stub
 * whose memory operand is a buffer of ours; general registers keep their
 * numbers. Nothing of the guest's memory or of the host's state is in reach.
 */
#ifndef TINAMOU_INTERPRET_HOSTEXEC_H
#define TINAMOU_INTERPRET_HOSTEXEC_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/insn.h"
#include "x86/state.h"

#define HOST_BUFFER_SIZE 64

/* What of the image is the state: FXSAVE's, XSAVE's with AVX, or XMM registers and MXCSR alone. */
enum host_form { HOST_FXSAVE, HOST_XSAVE, HOST_XMM };

/* What a stub is entered with, and what it leaves. Offsets are known to the assembly. */
struct host_frame {
	uint64_t gpr[X86_GPR_COUNT]; /* but RSP */
	uint64_t rflags;             /* arithmetic flags only */
	const void *stub;
	uint8_t *image; /* 64-byte aligned XSAVE area, or NULL: no x87 and no vectors */
	uint64_t form;  /* enum host_form */
	uint32_t host_mxcsr;
	uint16_t host_fcw;
};

struct host_stubs;

/* -errno if there is no executable memory to be had. */
int host_stubs_new(struct host_stubs **out);
void host_stubs_free(struct host_stubs *h);

/* The stub's memory operand. */
uint8_t *host_buffer(struct host_stubs *h);

/*
 * Executes insn on the frame; an operand that is RSP uses another register and
 * is put back. The caller has checked that the host has the feature.
 */
void host_run(struct host_stubs *h, const struct x86_insn *insn, struct host_frame *f);

#endif
