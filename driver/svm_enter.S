/*
 * svm_enter.S - into the guest by VMRUN, and back (AMD64 APM vol. 2, 15.5).
 *
 *   void svm_enter_guest(u64 *gpr, u64 vmcb, u64 host_vmcb)
 *                        rdi       rsi       rdx
 *
 * VMRUN switches rax, rsp, rip, rflags, CRs and some segments. FS, GS, TR, LDTR
 * with their bases and the MSRs of system calls go by VMSAVE and VMLOAD, the
 * other registers by hand. GIF is clear from before the first change until the
 * host is whole again; interrupts are on within, or the host's would not exit
 * (V_INTR_MASKING: RFLAGS.IF of the host decides).
 */
#include "enter.inc"

	.text
	.globl svm_enter_guest
	.type svm_enter_guest, @function
	.balign 16
svm_enter_guest:
	push_callee_saved
	push %rdx
	push %rdi

	clgi
	sti
	mov %rdx, %rax
	vmsave %rax
	mov %rsi, %rax
	vmload %rax
	load_guest
	vmrun %rax
	vmsave %rax
	save_guest

	mov 1*8(%rsp), %rax		/* host_vmcb */
	vmload %rax
	cli
	stgi

	forget_guest
	add $2*8, %rsp
	pop_callee_saved
	return
	.size svm_enter_guest, . - svm_enter_guest
	.section .note.GNU-stack, "", @progbits
