# calls.S - the 20th Fibonacci number by recursion: calls, returns and a stack.
	.include "long.inc"
	begin
	mov $20, %edi
	call fib
	jmp 2f
fib:	cmp $2, %edi
	jb 1f
	push %rdi
	dec %edi
	call fib
	pop %rdi
	push %rax
	sub $2, %edi
	call fib
	pop %rdx
	add %rdx, %rax
	ret
1:	mov %rdi, %rax
	ret
2:
	again
