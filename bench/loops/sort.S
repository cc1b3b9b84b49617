# sort.S - insertion sort of 1024 random words of 32 bits.
	.include "long.inc"
	begin
	mov $0x20000, %edi
	mov $12345, %eax
	xor %ecx, %ecx
1:	imul $1103515245, %eax, %eax
	add $12345, %eax
	mov %eax, (%rdi,%rcx,4)
	inc %ecx
	cmp $1024, %ecx
	jne 1b
	mov $1, %ecx
2:	mov (%rdi,%rcx,4), %eax
	mov %rcx, %rdx
3:	mov -4(%rdi,%rdx,4), %esi
	cmp %eax, %esi
	jbe 4f
	mov %esi, (%rdi,%rdx,4)
	dec %rdx
	jnz 3b
4:	mov %eax, (%rdi,%rdx,4)
	inc %ecx
	cmp $1024, %ecx
	jne 2b
	again
