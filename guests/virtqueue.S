# virtqueue.S - a hostile guest: every virtio device gets queues of random
# descriptors, in memory, beyond it and in the device's own registers, is told of
# them while others are written, is configured while it runs, and starts anew.
# Nothing of it may harm the monitor, and afterwards each device still starts.
# Modes: protected. Run: from a disk, bare. Status 57.
# Where the registers are (virtio 1.2, 4.1.4) is taken for granted: four pages of BAR 4.
.include "lib.inc"
.equ REST_SECTORS, 3
.equ ROUNDS, 60

.equ PCI_ADDRESS, 0xcf8
.equ PCI_DATA, 0xcfc
.equ ENABLE, 0x80000000
.equ LAST_BUS_0, 0x8000ff00
.equ COMMAND, 0x04
.equ MEMORY_MASTER, 6
.equ BAR4, 0x20
.equ VIRTIO_FIRST, 0x10401af4
.equ VIRTIO_LAST, 0x107f1af4
.equ FIRST_PLACE, 0xe1000000
.equ MAX, 8

# The pages, and registers of the first.
.equ NOTIFY, 0x1000
.equ ISR, 0x2000
.equ CONFIG, 0x3000
.equ FEATURE_SELECT, 0
.equ FEATURE, 4
.equ DRIVER_SELECT, 8
.equ DRIVER, 12
.equ QUEUES, 18
.equ STATUS, 20
.equ SELECT, 22
.equ SIZE, 24
.equ ENABLED, 28
.equ DESC, 32
.equ AVAIL, 40
.equ USED, 48
.equ WITH_DRIVER, 3			# acknowledged, and a driver is here
.equ FEATURES_OK, 8
.equ DRIVER_OK, 4

.equ seed, 0x10000			# away from code: it is written all the time

# 16 KiB for each of up to four queues.
.equ RINGS, 0x20000
.equ RING, 0x4000
.equ RING_AVAIL, 0x2000
.equ RING_USED, 0x3000

.include "flat.inc"

other:	hlt
first:	call find
	SAY text_found
	movl $ROUNDS, rounds
	movl $0x7f4a7c15, seed
1:	xorl %esi, %esi
2:	movl place(, %esi, 4), %ebp
	call torment
	incl %esi
	cmpl devices, %esi
	jb 2b
	decl rounds
	jnz 1b
	SAY text_tried
	call restart
	SAY text_restarted
	EXIT 28
failed:	SAY text_failed
	EXIT 9

# EAX: random (xorshift).
random:	movl seed, %eax
	pushl %edx
	movl %eax, %edx
	shll $13, %edx
	xorl %edx, %eax
	movl %eax, %edx
	shrl $17, %edx
	xorl %edx, %eax
	movl %eax, %edx
	shll $5, %edx
	xorl %edx, %eax
	movl %eax, seed
	popl %edx
	ret

pci_read:
	movw $PCI_ADDRESS, %dx
	outl %eax, %dx
	movw $PCI_DATA, %dx
	inl %dx, %eax
	ret

pci_write:
	movw $PCI_ADDRESS, %dx
	outl %eax, %dx
	movl %ecx, %eax
	movw $PCI_DATA, %dx
	outl %eax, %dx
	ret

# Every virtio function's BAR 4 gets a place.
find:	movl $ENABLE, %ebx
	movl $FIRST_PLACE, %edi
1:	movl %ebx, %eax
	call pci_read
	cmpw $0x1af4, %ax
	jne 2f
	cmpl $VIRTIO_FIRST, %eax
	jb 2f
	cmpl $VIRTIO_LAST, %eax
	ja 2f
	leal BAR4(%ebx), %eax
	movl %edi, %ecx
	call pci_write
	leal COMMAND(%ebx), %eax
	movl $MEMORY_MASTER, %ecx
	call pci_write
	movl devices, %eax
	movl %edi, place(, %eax, 4)
	addl $0x10000, %edi
	incl devices
	cmpl $MAX, devices
	je 3f
2:	addl $0x100, %ebx
	cmpl $LAST_BUS_0, %ebx
	jbe 1b
3:	cmpl $0, devices
	je failed
	ret

# The device at EBP: from reset to features, of which it has the version and what EAX masks.
begin:	movb $0, STATUS(%ebp)
	movb $WITH_DRIVER, STATUS(%ebp)
	movl $0, FEATURE_SELECT(%ebp)
	movl $0, DRIVER_SELECT(%ebp)
	andl FEATURE(%ebp), %eax
	movl %eax, DRIVER(%ebp)
	movl $1, DRIVER_SELECT(%ebp)
	movl $1, DRIVER(%ebp)
	movb $WITH_DRIVER | FEATURES_OK, STATUS(%ebp)
	testb $FEATURES_OK, STATUS(%ebp)
	jz failed
	ret

torment:
	call random
	call begin
	call queues
	movb $WITH_DRIVER | FEATURES_OK | DRIVER_OK, STATUS(%ebp)
	movl $4, %ecx
1:	call fill
	call notify
	call meddle
	loop 1b
	ret

# The queues, mostly where they are looked for.
queues:	movzwl QUEUES(%ebp), %ecx
	cmpl $4, %ecx
	jbe 1f
	movl $4, %ecx
1:	movl $RINGS, %edi
	xorl %ebx, %ebx
2:	movw %bx, SELECT(%ebp)
	pushl %ecx
	call random
	movl %eax, %ecx
	movl $1, %eax
	andb $7, %cl
	shll %cl, %eax
	popl %ecx
	movw %ax, SIZE(%ebp)
	movl $DESC, %edx
	xorl %eax, %eax
	call part
	movl $AVAIL, %edx
	movl $RING_AVAIL, %eax
	call part
	movl $USED, %edx
	movl $RING_USED, %eax
	call part
	movw $1, ENABLED(%ebp)
	addl $RING, %edi
	incl %ebx
	loop 2b
	ret

# The register EDX: EDI + EAX, one time in 16 an address of no memory.
part:	pushl %eax
	call random
	testb $15, %al
	jnz 1f
	orl $0x80000000, %eax
	movl %eax, (%esp)
	jmp 2f
1:	addl %edi, (%esp)
2:	popl %eax
	movl %eax, (%ebp, %edx)
	movl $0, 4(%ebp, %edx)
	ret

# Random words in the queues, and descriptors that could be ones.
fill:	pushl %ecx
	movl $RINGS, %edi
	movzwl QUEUES(%ebp), %ebx
	cmpl $4, %ebx
	jbe 1f
	movl $4, %ebx
1:	pushl %edi
	movl $128, %ecx
2:	call descriptor
	addl $16, %edi
	loop 2b
	popl %edi
	call available
	addl $RING, %edi
	decl %ebx
	jnz 1b
	popl %ecx
	ret

# At EDI. One in eight is of the device's own registers, one in eight too long.
descriptor:
	call random
	movl %eax, %edx
	andl $0x1ffff, %eax
	addl $RINGS, %eax
	testl $0x700000, %edx
	jnz 1f
	andl $0x3fff, %eax
	addl %ebp, %eax
1:	movl %eax, (%edi)
	movl $0, 4(%edi)
	call random
	testl $0x700000, %eax
	jz 2f
	andl $0x1fff, %eax
2:	movl %eax, 8(%edi)
	call random
	andl $0x007f0007, %eax
	movl %eax, 12(%edi)
	ret

# What the ring at EDI makes available: any descriptor, at most 15 of them.
available:
	movl $128, %ecx
1:	call random
	andw $127, %ax
	movw %ax, RING_AVAIL + 2(%edi, %ecx, 2)
	loop 1b
	call random
	andl $0x000f0000, %eax
	movl %eax, RING_AVAIL(%edi)
	ret

notify:	movzwl QUEUES(%ebp), %eax
1:	decl %eax
	movw %ax, NOTIFY(%ebp, %eax, 4)
	jnz 1b
	ret

# Registers that are not to be written while the device runs, and some that may be.
meddle:	pushl %ecx
	movl $16, %ecx
1:	call random
	movl %eax, %edx
	andl $0x3c, %edx
	cmpl $STATUS, %edx
	je 2f
	call random
	movl %eax, (%ebp, %edx)
2:	movl CONFIG(%ebp, %edx), %eax
	movl %eax, CONFIG(%ebp, %edx)
	movb ISR(%ebp), %al
	loop 1b
	popl %ecx
	ret

# Each device as a friendly guest would find it.
restart:
	xorl %esi, %esi
1:	movl place(, %esi, 4), %ebp
	xorl %eax, %eax
	call begin
	movb $0, STATUS(%ebp)
	cmpb $0, STATUS(%ebp)
	jne failed
	incl %esi
	cmpl devices, %esi
	jb 1b
	ret

rounds:	.long 0
devices: .long 0
place:	.fill MAX, 4, 0
text_found: .asciz "virtqueue: devices are there"
text_tried: .asciz "virtqueue: they had what they should not"
text_restarted: .asciz "virtqueue: each starts again"
text_failed: .asciz "virtqueue: FAILED"
	.org REST_SECTORS * 512 + 512
