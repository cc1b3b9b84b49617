# hash.S - FNV-1a over 64 KiB, a byte at a time, each value counted in one of 256 buckets.
	.include "long.inc"
	begin
	mov $0x20000, %esi
	mov $0x40000, %edi
	mov $0x811c9dc5, %eax
	xor %ecx, %ecx
1:	movzbl (%rsi,%rcx), %edx
	xor %edx, %eax
	imul $16777619, %eax, %eax
	movzbl %al, %edx
	incl (%rdi,%rdx,4)
	inc %ecx
	cmp $65536, %ecx
	jne 1b
	again
