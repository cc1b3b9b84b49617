# bars.S - a hostile guest: every PCI base address register goes
# where every other one is, then onto memory, ROM and the interrupt controllers,
# with accesses there; each time it must come back. And code: what lies in the
# frame buffer runs where the frame buffer is put, and what was there before
# runs again afterwards. Modes: protected. Run: as a disk, --firmware bios.
# Status 45.
.include "lib.inc"
.equ REST_SECTORS, 3

.equ PCI_ADDRESS, 0xcf8
.equ PCI_DATA, 0xcfc
.equ ENABLE, 0x80000000
.equ LAST_BUS_0, 0x8000ff00
.equ COMMAND, 0x04
.equ BAR0, 0x10
.equ BARS_END, 0x28
.equ DECODE, 3				# ports and memory
.equ FRAME_BUFFER, 0xe0000000		# where BARs are to begin
.equ PORTS, 0xc000
.equ CODE, 0x1800000			# a place for code, and then for a BAR over it
.equ MAX, 32

.include "flat.inc"

other:	hlt
first:	addl $20 * ROW_BYTES, row	# below what a BIOS said
	call find
	SAY text_found
	call each_onto_each
	SAY text_each
	call onto_all
	SAY text_all
	call code
	SAY text_code
	EXIT 22
failed:	SAY text_failed
	EXIT 9

# EAX: the register with address EAX. pci_write: ECX to it.
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

# ---- what is there ----

# Every function's registers that are bases: into `bar`, placed one after the other.
find:	movl $ENABLE, %ebx
1:	movl %ebx, %eax
	call pci_read
	cmpw $0xffff, %ax
	je 5f
	leal BAR0(%ebx), %edi
2:	movl %edi, %eax
	movl $-1, %ecx
	call pci_write
	movl %edi, %eax
	call pci_read
	testl %eax, %eax
	jz 4f
	call place
4:	addl $4, %edi
	movl %edi, %eax
	andl $0xff, %eax
	cmpl $BARS_END, %eax
	jb 2b
	leal COMMAND(%ebx), %eax
	movl $DECODE, %ecx
	call pci_write
5:	addl $0x100, %ebx
	cmpl $LAST_BUS_0, %ebx
	jbe 1b
	cmpl $2, bars
	jb failed
	ret

# The BAR at EDI with EAX, what was read of all ones: gets its place, and one in the list.
place:	movl bars, %ecx
	cmpl $MAX, %ecx
	jae failed
	movl %edi, bar(, %ecx, 4)
	movl %eax, %ebp
	andl $1, %eax
	movl %eax, ports(, %ecx, 4)
	andl $~15, %ebp
	testl %eax, %eax
	jz 1f
	orl $0xffff0000, %ebp		# ports have 16 bits
1:	negl %ebp			# its size
	movl %ebp, size(, %ecx, 4)
	movl next(, %eax, 4), %edx
	addl %ebp, %edx
	decl %edx
	negl %ebp
	andl %ebp, %edx
	movl %edx, base(, %ecx, 4)
	subl %ebp, %edx
	movl %edx, next(, %eax, 4)
	incl bars
	movl %ecx, %esi
# The ESIth BAR to its own place, which must be read back.
settle:	movl base(, %esi, 4), %ecx
# The ESIth BAR to ECX, as far as its size lets it.
move:	movl bar(, %esi, 4), %eax
	call pci_write
	movl bar(, %esi, 4), %eax
	call pci_read
	andl $~15, %eax
	movl size(, %esi, 4), %edx
	negl %edx
	andl %ecx, %edx
	cmpl $1, ports(, %esi, 4)
	jne 1f
	andl $0xffff, %eax
	andl $0xffff, %edx
1:	cmpl %edx, %eax
	jne failed
	ret

# ---- over each other ----

# Reads and writes at EDX, of the ESIth BAR's kind.
touch:	cmpl $1, ports(, %esi, 4)
	je 1f
	movl (%edx), %eax
	movl %eax, (%edx)
	movb 1(%edx), %al
	ret
1:	inl %dx, %eax
	outl %eax, %dx
	addw $2, %dx
	inb %dx, %al
	ret

each_onto_each:
	xorl %esi, %esi
1:	xorl %edi, %edi
2:	movl ports(, %esi, 4), %eax
	cmpl ports(, %edi, 4), %eax
	jne 3f
	movl base(, %edi, 4), %ecx
	call move
	movl base(, %edi, 4), %edx
	call touch
	call settle
	movl base(, %esi, 4), %edx
	call touch
3:	incl %edi
	cmpl bars, %edi
	jb 2b
	incl %esi
	cmpl bars, %esi
	jb 1b
	ret

# ---- onto what does not move ----

onto_all:
	xorl %esi, %esi
1:	movl $memories, %edi
	cmpl $1, ports(, %esi, 4)
	jne 2f
	movl $port_list, %edi
2:	movl (%edi), %ecx
	jecxz 3f
	call move
	movl (%edi), %edx
	call touch
	call settle
	addl $4, %edi
	jmp 2b
3:	incl %esi
	cmpl bars, %esi
	jb 1b
	ret

memories: .long CODE, 0xf0000000, 0xfec00000, 0xfed00000, 0xfee00000, 0xffff0000, 0xfffffff0, 0
port_list: .long 0x1f0, 0x60, 0x20, 0x40, 0x70, 0x3c0, 0x600, 0xcf0, 0x3f0, 0xfff0, 0

# ---- code under the frame buffer ----

code:	xorl %esi, %esi			# the largest one is it
	xorl %edi, %edi
1:	movl size(, %edi, 4), %eax
	cmpl size(, %esi, 4), %eax
	jbe 2f
	movl %edi, %esi
2:	incl %edi
	cmpl bars, %edi
	jb 1b
	movl $CODE, %edi		# movl $1, %eax; ret
	movl base(, %esi, 4), %ebp
	movl size(, %esi, 4), %ecx
	negl %ecx
	notl %ecx
	andl %edi, %ecx
	addl %ecx, %ebp			# where in it CODE will be
	movl $0x000001b8, (%edi)
	movl $0x0000c300, 4(%edi)
	movl $0x000002b8, (%ebp)
	movl $0x0000c300, 4(%ebp)
	movl $20, %ebx
3:	call *%edi
	cmpl $1, %eax
	jne failed
	movl %edi, %ecx
	call move
	call *%edi
	cmpl $2, %eax
	jne failed
	incl 1(%edi)			# and changes as it is there
	call *%edi
	cmpl $3, %eax
	jne failed
	decl 1(%edi)
	call settle
	decl %ebx
	jnz 3b
	ret

text_found:	.asciz "bars: found"
text_each:	.asciz "bars: each onto each"
text_all:	.asciz "bars: onto what does not move"
text_code:	.asciz "bars: code under the frame buffer"
text_failed:	.asciz "bars: something is wrong"

	.balign 4
next:	.long FRAME_BUFFER, PORTS	# for memory, for ports
bars:	.long 0
	.org (REST_SECTORS + 1) * 512
bar = .					# not loaded
ports = bar + MAX * 4
size = ports + MAX * 4
base = size + MAX * 4
