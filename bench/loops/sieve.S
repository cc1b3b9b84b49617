# sieve.S - Eratosthenes: the primes below 32768, a byte a number.
	.include "long.inc"
	begin
	mov $0x20000, %edi
	xor %eax, %eax
	mov $4095, %ecx
1:	mov %rax, (%rdi,%rcx,8)
	dec %ecx
	jns 1b
	mov $2, %ecx
2:	cmpb $0, (%rdi,%rcx)
	jne 4f
	lea (%rcx,%rcx), %eax
3:	movb $1, (%rdi,%rax)
	add %ecx, %eax
	cmp $32768, %eax
	jb 3b
4:	inc %ecx
	cmp $16384, %ecx
	jb 2b
	again
