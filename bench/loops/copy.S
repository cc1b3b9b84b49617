# copy.S - 64 KiB copied by 8 bytes.
	.include "long.inc"
	begin
	mov $0x20000, %esi
	mov $0x40000, %edi
	xor %ecx, %ecx
1:	mov (%rsi,%rcx,8), %rax
	mov %rax, (%rdi,%rcx,8)
	inc %ecx
	cmp $8192, %ecx
	jne 1b
	again
