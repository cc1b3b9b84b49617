/*
 * exceptions.h - every way in which a case is not compared in full, with its reason.
 *
 * Undefined flags are not here: they come from the opcode table and the rules
 * of undefined.c. NOT_JUDGED: the oracle cannot run such a case, another test
 * does where one is named. FORGIVEN: compared but for what the reason says. The
 * test prints how often each was used.
 */
#ifndef TINAMOU_TESTS_INSN_EXCEPTIONS_H
#define TINAMOU_TESTS_INSN_EXCEPTIONS_H

#define INSN_EXCEPTIONS(NOT_JUDGED, FORGIVEN)                                                      \
	NOT_JUDGED(FEATURE, "no CPU model offers the feature")                                     \
	NOT_JUDGED(HOST_VALUE, "SGDT and the like: the host's kernel emulates them (UMIP)")        \
	NOT_JUDGED(HOST_CALL, "would enter the host's kernel: SYSCALL, SYSENTER, INT 80h")         \
	NOT_JUDGED(HOST_EFER, "SYSRET outside 64-bit code: #UD or #GP by the host's EFER.SCE")     \
	NOT_JUDGED(SYSTEM, "privileged, and real mode is CPL 0: compared with kvm")                \
	NOT_JUDGED(IO, "port access, and real mode is CPL 0: compared with kvm")                   \
	NOT_JUDGED(SEGMENT_LOAD,                                                                   \
		"loads a segment register, differently in real mode: compared with kvm")           \
	NOT_JUDGED(FAR_BRANCH, "loads CS, differently in real mode: compared with kvm")            \
	NOT_JUDGED(REAL_FLAGS, "POPF and IRET change IF and IOPL in real mode: compared with kvm") \
	NOT_JUDGED(REAL_NONE,                                                                      \
		"not recognized in real mode (SDM vol. 3A 20.1.3), native code is protected")      \
	NOT_JUDGED(CODE_WRITE,                                                                     \
		"writes through CS: allowed in real mode, #GP in the native code segment")         \
	NOT_JUDGED(                                                                                \
		REP_LOOP, "F2, F3 before LOOPcc is reserved (SDM vol. 2A 2.1.1): AMD's tests ZF")  \
	NOT_JUDGED(PREFETCH_REG, "0F 0D with a register: #UD on AMD, NOP on Intel")                \
	NOT_JUDGED(                                                                                \
		LONG_CODE, "far CALL to the host's 64-bit code segment: the host is in long mode") \
	NOT_JUDGED(RETF_IMM, "RETF that releases 4 KiB or more: beyond the stack the order of "    \
			     "#SS and #GP varies")                                                 \
	NOT_JUDGED(ENTER_REAL,                                                                     \
		"ENTER with levels in real mode: if it faults, the frame covers what it pushed")   \
	NOT_JUDGED(                                                                                \
		BRANCH_66, "66 before a near branch in 64-bit mode: ignored on Intel, not on AMD") \
	NOT_JUDGED(FAR_64, "far pointers of 64 bits: AMD has none")                                \
	NOT_JUDGED(SHADOW,                                                                         \
		"MOV SS, POP SS, STI hold back kvm's single-step trap (and LSS, under QEMU)")      \
	NOT_JUDGED(NATIVE, "the real CPU judges it: not compared with kvm again")                  \
	NOT_JUDGED(DEBUG_REGISTER, "single-stepping kvm keeps the debug registers to itself")      \
	NOT_JUDGED(KVM_MANY, "repeated INS, OUTS: kvm moves several elements in one step")         \
	NOT_JUDGED(KVM_POINTERS, "x87 environments hold instruction pointers; ours read as zero")  \
	NOT_JUDGED(                                                                                \
		KVM_OWN, "CPUID, MSRs, INT1, SYSRET and the like: kvm's own, or stops its step")   \
	NOT_JUDGED(KVM_LACKS, "kvm's own emulator does not know the instruction")                  \
	FORGIVEN(PF_PRESENT, "#PF outside of the areas: the host has other pages there")           \
	FORGIVEN(PF_ADDRESS, "#PF in an operand of an FPU state: CR2 is any address in it")        \
	FORGIVEN(FLAT_END, "an FPU state across the end of flat 32-bit segments: #GP or #PF")      \
	FORGIVEN(RETURN_ORDER,                                                                     \
		"RETF, IRET: which of several faults of the stack, rIP, CS and SS comes first")    \
	FORGIVEN(NO_LIMITS,                                                                        \
		"the kvm that judges checks no limits and wraps no far pointer in real mode")      \
	FORGIVEN(MXCSR_MASK, "FXSAVE: this CPU has MXCSR.MM, which is no part of the guest's")     \
	FORGIVEN(WIDE_PE,                                                                          \
		"unmasked overflow, underflow: PE tells of the result with a wider exponent")      \
	FORGIVEN(VALUE, "the result is the host's own: CPUID, RDTSC, RDRAND, XGETBV")              \
	FORGIVEN(ICEBP, "INT1: its #DB is taken for the single-step trap, and may come before it") \
	FORGIVEN(SHA_ALIGN, "SHA with an operand that is not aligned: #GP by the SDM (type 4), "   \
			    "this CPU takes it")                                                   \
	FORGIVEN(MXCSR_MM, "LDMXCSR: this CPU has MXCSR.MM, which is reserved in the guest's")     \
	FORGIVEN(GATHER_TRAP, "gathers: the single-step trap may come between elements, before "   \
			      "a fault (SDM vol. 2, VGATHER)")                                     \
	FORGIVEN(MASK_NONE,                                                                        \
		"MASKMOV with an empty mask: whether it faults is the CPU's (SDM vol. 2B)")        \
	FORGIVEN(DOT_FLAGS,                                                                        \
		"DPPS, DPPD: an unmasked exception of the products hides those of the sums")       \
	FORGIVEN(HALF_UE, "VCVTPS2PH: beside another unmasked exception this CPU finds underflow " \
			  "before rounding")                                                       \
	FORGIVEN(PUSHF_TF, "native code runs with TF set, which the pushed image shows")           \
	FORGIVEN(PUSH_SEG, "wide PUSH of a segment: upper part zero or unchanged (SDM vol. 2B)")   \
	FORGIVEN(NULL_RPL,                                                                         \
		"the host's IRET on the way to the handler clears a null selector's RPL")          \
	FORGIVEN(HALF_DONE,                                                                        \
		"PUSHA, POPA, far CALL, FNSAVE, FNSTENV, FRSTOR, FLDENV that fault: this CPU "     \
		"keeps what was done; ours "                                                       \
		"does all or nothing")                                                             \
	FORGIVEN(BSF_ZERO, "BSF, BSR of 0: the destination is undefined (SDM vol. 2A)")            \
	FORGIVEN(SHD_COUNT,                                                                        \
		"SHLD, SHRD by more than the size: result and flags undefined (SDM vol. 2B)")      \
	FORGIVEN(BSWAP16, "BSWAP of a 16-bit register: the result is undefined (SDM vol. 2A)")     \
	FORGIVEN(REAL_STACK, "real mode has no stack left to deliver the exception on: shutdown")

enum insn_exception {
	EXCEPTION_NONE,
#define X(id, why) EXCEPTION_##id,
	INSN_EXCEPTIONS(X, X)
#undef X
		EXCEPTION_COUNT
};

struct insn_exception_row {
	const char *name, *why;
};
extern const struct insn_exception_row insn_exception_table[EXCEPTION_COUNT];

#endif
