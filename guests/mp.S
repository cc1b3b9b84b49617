# mp.S - what a small multiprocessor system does with the machine: it finds the
# MP table, starts each processor by INIT and SIPI, counts together with them
# under a lock, and has the disk's interrupts sent to each by the I/O APIC.
# Modes: protected. Run: as a disk, two CPUs, --firmware none. Status 41.
.include "lib.inc"
.equ IDE_CONTROL, 0x3f6
.equ REST_SECTORS, 4

.equ FLOATING, 0x5f504d5f		# "_MP_"
.equ TABLE, 0x504d4350			# "PCMP"
.equ APIC_ID, 0x20
.equ APIC_EOI, 0xb0
.equ APIC_SVR, 0xf0
.equ APIC_ICR, 0x300
.equ ICR_INIT, 0x4500
.equ ICR_STARTUP, 0x4600
.equ SPURIOUS, 0xff
.equ DISK_IRQ, 14
.equ DISK_VECTOR, 0x2e

.equ AP_PAGE, 9				# where a processor begins, at 9000h
.equ IDT, 0x5000
.equ BUFFER, 0xa000
.equ TURNS, 2000
.equ READS, 32

.include "flat.inc"

first:	lidtl idtr
	OUT 0x21, $0xff			# the PICs are silent
	OUT 0xa1, $0xff
	call find_table
	SAY text_table
	call read_table
	cmpl $2, cpus
	jne failed
	SAY text_cpus
	call make_idt
	call apic_on
	call start_others
	SAY text_started
	call take_turns
1:	pause
	cmpl $2, finished
	jne 1b
	cmpl $2 * TURNS, turns
	jne failed
	SAY text_turns
	sti
	xorl %ebx, %ebx
2:	call disk_to
	incl %ebx
	cmpl cpus, %ebx
	jb 2b
	SAY text_disk
	EXIT 20
failed:	SAY text_failed
	EXIT 9

# Any other processor: counts along, then waits for interrupts.
other:	lidtl idtr
	call apic_on
	call take_turns
	sti
1:	hlt
	jmp 1b

# ---- the table (MultiProcessor Specification 1.4, chapter 4) ----

# ESI: the floating pointer structure, between F0000 and 1 MiB.
find_table:
	movl $0xf0000, %esi
1:	cmpl $FLOATING, (%esi)
	je 2f
	addl $16, %esi
	cmpl $0x100000, %esi
	jb 1b
	jmp failed
2:	movl $16, %ecx
	call sum
	movl 4(%esi), %esi
	cmpl $TABLE, (%esi)
	jne failed
	movzwl 4(%esi), %ecx
	call sum
	movl %esi, table
	ret

# The ECX bytes at ESI must sum up to zero.
sum:	pushl %esi
	xorl %eax, %eax
1:	addb (%esi), %al
	incl %esi
	loop 1b
	popl %esi
	testb %al, %al
	jnz failed
	ret

# Processors, the I/O APIC, and which of its inputs is the disk's.
read_table:
	movl table, %esi
	movl 36(%esi), %eax
	movl %eax, apic
	movzwl 34(%esi), %ecx
	addl $44, %esi
1:	movb (%esi), %al
	testb %al, %al
	jnz 2f
	movl cpus, %edx
	movb 1(%esi), %al
	movb %al, ids(%edx)
	incl cpus
	addl $20, %esi
	loop 1b
	ret
2:	cmpb $2, %al
	jne 3f
	movl 4(%esi), %edx
	movl %edx, ioapic
3:	cmpb $3, %al
	jne 4f
	cmpb $DISK_IRQ, 5(%esi)
	jne 4f
	movzbl 7(%esi), %edx
	movl %edx, input
4:	addl $8, %esi
	loop 1b
	ret

# ---- interrupts ----

make_idt:
	movl $disk_handler, %eax
	movl $IDT + 8 * DISK_VECTOR, %edi
	call gate
	movl $spurious_handler, %eax
	movl $IDT + 8 * SPURIOUS, %edi
gate:	movw %ax, (%edi)
	movl $0x8e000008, %edx
	movw %dx, 2(%edi)
	shrl $16, %edx
	movw %dx, 4(%edi)
	shrl $16, %eax
	movw %ax, 6(%edi)
	ret

apic_on:
	movl apic, %edi
	movl $0x100 | SPURIOUS, APIC_SVR(%edi)
	ret

disk_handler:
	pushal
	movw $IDE_STATUS, %dx
	inb %dx, %al
	movl apic, %edi
	movl APIC_ID(%edi), %eax
	shrl $24, %eax
	movl %eax, came_to
	movl $0, APIC_EOI(%edi)
	incl came
	popal
spurious_handler:
	iret

# ---- the other processors (SDM vol. 3A 10.4.4) ----

start_others:
	movb $0xea, AP_PAGE << 12	# a far jump
	movw $protect, (AP_PAGE << 12) + 1
	movw $0, (AP_PAGE << 12) + 3
	movl $1, %ebx
1:	cmpl cpus, %ebx
	jae 2f
	movl $ICR_INIT, %eax
	call send
	movl $ICR_STARTUP | AP_PAGE, %eax
	call send
	incl %ebx
3:	pause
	cmpl processors, %ebx
	jne 3b
	jmp 1b
2:	ret

# IPI EAX to the EBXth processor; then some time passes.
send:	movl apic, %edi
	movzbl ids(%ebx), %edx
	shll $24, %edx
	movl %edx, APIC_ICR + 16(%edi)
	movl %eax, APIC_ICR(%edi)
	movl $1000, %ecx
1:	inb $0x61, %al
	loop 1b
	ret

# ---- the lock ----

take_turns:
	movl $TURNS, %ecx
1:	movl $1, %eax
2:	pause
	xchgl %eax, lock
	testl %eax, %eax
	jnz 2b
	incl turns			# not locked, it would count wrong without the lock
	movl $0, lock
	loop 1b
	lock incl finished
	ret

# ---- the disk, its interrupts sent to the EBXth processor ----

disk_to:
	movl ioapic, %edi
	movl input, %eax
	leal 0x11(, %eax, 2), %eax
	movl %eax, (%edi)
	movzbl ids(%ebx), %edx
	shll $24, %edx
	movl %edx, 16(%edi)
	decl %eax
	movl %eax, (%edi)
	movl $DISK_VECTOR, 16(%edi)
	movl $READS, %ecx
1:	pushl %ecx
	call read_once
	popl %ecx
	loop 1b
	ret

# This guest's own third sector must come, after one interrupt.
read_once:
	movl came, %ebp
	incl %ebp
	OUT IDE_CONTROL, $0		# interrupts on
	START_READ $2
1:	pause
	cmpl came, %ebp
	jne 1b
	movzbl ids(%ebx), %eax
	cmpl %eax, came_to
	jne failed
	movw $IDE_STATUS, %dx
	inb %dx, %al
	testb $DRQ, %al
	jz failed
	movl $BUFFER, %edi
	movl $256, %ecx
	movw $IDE, %dx
	rep insw
	movl $BUFFER, %esi
	movl $REST + 512, %edi
	movl $512, %ecx
	repe cmpsb
	jne failed
	ret

idtr:	.word 256 * 8 - 1
	.long IDT
text_table:	.asciz "mp: the table is there"
text_cpus:	.asciz "mp: it has two processors"
text_started:	.asciz "mp: both run"
text_turns:	.asciz "mp: they have counted together"
text_disk:	.asciz "mp: each had the disk's interrupts"
text_failed:	.asciz "mp: something is wrong"

	.org REST_SECTORS * 512		# the last sector: what changes
	.balign 4
table:	.long 0
apic:	.long 0
ioapic:	.long 0
input:	.long 0
cpus:	.long 0
ids:	.fill 16, 1, 0
lock:	.long 0
turns:	.long 0
finished: .long 0
came:	.long 0
came_to: .long 0
	.org (REST_SECTORS + 1) * 512
