/*
 * vmx_enter.S - into the guest by VMLAUNCH or VMRESUME, and back (SDM vol. 3C, 26, 27).
 *
 *   int vmx_enter_guest(u64 *gpr, int launched)
 *                       rdi       esi
 *
 * The VMCS switches rsp, rip, rflags, CRs, segments with their bases and some
 * MSRs; the other general registers go by hand. 0, or 1 if the instruction failed.
 */
#include "enter.inc"

#define HOST_RSP 0x6c14

	.text
	.globl vmx_enter_guest
	.type vmx_enter_guest, @function
	.balign 16
vmx_enter_guest:
	push_callee_saved
	push %rdi

	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	test %esi, %esi
	mov 0*8(%rdi), %rax
	load_guest
	jnz 1f
	vmlaunch
	jmp 2f
1:	vmresume
2:	ja vmx_exited			/* never: failure sets CF or ZF; checkers see the way on */
	mov $1, %eax
	jmp 3f

	.globl vmx_exited
vmx_exited:
	endbr64				/* its address is taken, so some hosts' tools want it */
	save_guest
	mov %rax, 0*8(%rdi)
	xor %eax, %eax

3:	forget_guest
	add $8, %rsp
	pop_callee_saved
	return
	.size vmx_enter_guest, . - vmx_enter_guest
	.section .note.GNU-stack, "", @progbits
