/*
 * vmx_enter.S - into the guest by VMLAUNCH or VMRESUME, and back (SDM vol. 3C, 26, 27).
 *
 *   int vmx_enter_guest(u64 *gpr, int launched)
 *                       rdi       esi
 *
 * The VMCS switches rsp, rip, rflags, CRs, segments with their bases and some
 * MSRs; the other general registers go by hand. 0, or 1 if the instruction failed.
 */
#define HOST_RSP 0x6c14

	.text
	.globl vmx_enter_guest
	.type vmx_enter_guest, @function
	.balign 16
vmx_enter_guest:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi

	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	test %esi, %esi

	mov 0*8(%rdi), %rax
	mov 1*8(%rdi), %rcx
	mov 2*8(%rdi), %rdx
	mov 3*8(%rdi), %rbx
	mov 5*8(%rdi), %rbp
	mov 6*8(%rdi), %rsi
	mov 8*8(%rdi), %r8
	mov 9*8(%rdi), %r9
	mov 10*8(%rdi), %r10
	mov 11*8(%rdi), %r11
	mov 12*8(%rdi), %r12
	mov 13*8(%rdi), %r13
	mov 14*8(%rdi), %r14
	mov 15*8(%rdi), %r15
	mov 7*8(%rdi), %rdi

	jnz 1f
	vmlaunch
	jmp 2f
1:	vmresume
2:	mov $1, %eax
	jmp 3f

	.globl vmx_exited
vmx_exited:
	push %rdi
	mov 8(%rsp), %rdi		/* gpr */
	mov %rax, 0*8(%rdi)
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
	xor %eax, %eax

	/* Nothing of the guest stays where speculation could use it. */
3:	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
	.size vmx_enter_guest, . - vmx_enter_guest
	.section .note.GNU-stack, "", @progbits
