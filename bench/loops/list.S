# list.S - a list of 4096 nodes across 64 KiB, built and summed up eight times.
	.include "long.inc"
	begin
	mov $0x20000, %edi
	xor %esi, %esi				# each node's successor is 1021 nodes on
	mov $4096, %ecx
1:	mov %esi, %eax
	shl $4, %eax
	add $1021, %esi
	and $4095, %esi
	mov %esi, %edx
	shl $4, %edx
	add %rdi, %rdx
	mov %rdx, (%rdi,%rax)
	mov %rcx, 8(%rdi,%rax)
	dec %ecx
	jnz 1b
	xor %eax, %eax
	mov $8 * 4096, %ecx
2:	add 8(%rdi), %rax
	mov (%rdi), %rdi
	dec %ecx
	jnz 2b
	again
