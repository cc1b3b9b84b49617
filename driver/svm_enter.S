/*
 * svm_enter.S - into the guest by VMRUN, and back (AMD64 APM vol. 2, 15.5).
 *
 *   void svm_enter_guest(u64 vmcb, u64 *gpr, u64 host_vmcb)
 *                        rdi       rsi       rdx
 *
 * VMRUN switches rax, rsp, rip, rflags, CRs and some segments. FS, GS, TR, LDTR
 * with their bases and the MSRs of system calls go by VMSAVE and VMLOAD, the
 * other registers by hand. GIF is clear from before the first change until the
 * host is whole again; interrupts are on within, or the host's would not exit
 * (V_INTR_MASKING: RFLAGS.IF of the host decides).
 */
	.text
	.globl svm_enter_guest
	.type svm_enter_guest, @function
	.balign 16
svm_enter_guest:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rsi
	push %rdx
	push %rdi

	clgi
	sti
	mov %rdx, %rax
	vmsave %rax
	mov %rdi, %rax
	vmload %rax

	mov 1*8(%rsi), %rcx
	mov 2*8(%rsi), %rdx
	mov 3*8(%rsi), %rbx
	mov 5*8(%rsi), %rbp
	mov 7*8(%rsi), %rdi
	mov 8*8(%rsi), %r8
	mov 9*8(%rsi), %r9
	mov 10*8(%rsi), %r10
	mov 11*8(%rsi), %r11
	mov 12*8(%rsi), %r12
	mov 13*8(%rsi), %r13
	mov 14*8(%rsi), %r14
	mov 15*8(%rsi), %r15
	mov 6*8(%rsi), %rsi

	vmrun %rax

	vmsave %rax
	push %rdi
	mov 3*8(%rsp), %rdi		/* gpr */
	mov %rcx, 1*8(%rdi)
	mov %rdx, 2*8(%rdi)
	mov %rbx, 3*8(%rdi)
	mov %rbp, 5*8(%rdi)
	mov %rsi, 6*8(%rdi)
	mov %r8, 8*8(%rdi)
	mov %r9, 9*8(%rdi)
	mov %r10, 10*8(%rdi)
	mov %r11, 11*8(%rdi)
	mov %r12, 12*8(%rdi)
	mov %r13, 13*8(%rdi)
	mov %r14, 14*8(%rdi)
	mov %r15, 15*8(%rdi)
	pop %rcx
	mov %rcx, 7*8(%rdi)

	mov 1*8(%rsp), %rax		/* host_vmcb */
	vmload %rax
	cli
	stgi

	/* Nothing of the guest stays where speculation could use it. */
	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	add $3*8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
	.size svm_enter_guest, . - svm_enter_guest
	.section .note.GNU-stack, "", @progbits
