/*
 * zydis_differences.h - where the decoder and Zydis 4.0 are allowed to differ, each with its
 * reason.
 *
 * Looked up by the kind of difference and the mnemonic: Zydis's where Zydis decodes the bytes, else
 * ours. A case that no row covers fails the test.
 */
#ifndef TINAMOU_TEST_ZYDIS_DIFFERENCES_H
#define TINAMOU_TEST_ZYDIS_DIFFERENCES_H

enum difference {
	SAME,
	SKIPPED,    /* Zydis decodes an extension that the table leaves out */
	ONLY_ZYDIS, /* Zydis decodes it, we say #UD */
	ONLY_OURS,  /* we decode it, Zydis says invalid */
	LENGTH,
	NAME,
	OPERANDS
};

struct listed_difference {
	enum difference kind;
	const char *name;
	const char *reason;
};

static const struct listed_difference listed[] = {
	{ONLY_ZYDIS, "ptwrite", "Processor Trace is offered to no guest"},
	{ONLY_ZYDIS, "rdpkru", "protection keys are offered to no guest"},
	{ONLY_ZYDIS, "wrpkru", "protection keys are offered to no guest"},
	{ONLY_ZYDIS, "enclv", "SGX is offered to no guest"},
	{ONLY_ZYDIS, "vpextrd",
		"VEX.W1 is VPEXTRQ: #UD outside 64-bit mode; settled on the real CPU"},
	{ONLY_ZYDIS, "vpinsrd",
		"VEX.W1 is VPINSRQ: #UD outside 64-bit mode; settled on the real CPU"},
	{NAME, "fstpnce",
		"D9 /3 reg is FSTP ST(i); the alias has the same effect but for stack underflow"},
	{NAME, "pause", "F3 41 90: REX.B makes it XCHG R8, rAX; settled on the real CPU"},
	{OPERANDS, "movsxd", "66 63 is MOVSXD r16, r/m16 in the SDM; Zydis reads 4 bytes"},
	{OPERANDS, "fucomp", "one operand in the SDM, as FUCOM has to Zydis too"},
	{OPERANDS, "lar", "LAR reg, r32/m16 in the SDM; only 32 bits of the source are read"},
	{OPERANDS, "blendvps", "our third operand is the implicit XMM0, Zydis hides it"},
	{OPERANDS, "blendvpd", "our third operand is the implicit XMM0, Zydis hides it"},
	{OPERANDS, "pblendvb", "our third operand is the implicit XMM0, Zydis hides it"},
	{OPERANDS, "sha256rnds2", "our third operand is the implicit XMM0, Zydis hides it"},
	{OPERANDS, "SIB",
		"mod 0 with SIB.base 101b has no base, whatever REX.B says (SDM table 2-5)"},
	{OPERANDS, "nop", "a hint: our one operand is ModRM.rm, Zydis shows ModRM.reg of some too"},
	{OPERANDS, "prefetch", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetchw", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetchwt1", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetchnta", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetcht0", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetcht1", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "prefetcht2", "a hint NOP to us, its memory operand has the operand size"},
	{OPERANDS, "clflush", "m8 in the SDM, a cache line of 64 bytes to Zydis"},
	{OPERANDS, "clflushopt", "m8 in the SDM, a cache line of 64 bytes to Zydis"},
	{OPERANDS, "clwb", "m8 in the SDM, a cache line of 64 bytes to Zydis"},
};

#endif
