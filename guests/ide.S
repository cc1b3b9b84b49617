# ide.S - a disk that reads and writes itself without firmware: the boot sector
# fetches the rest by PIO; then PIO, bus-master DMA, their interrupts, a flush.
# Modes: real. Run: as a disk of 16 sectors, --firmware none. Status 21.
.include "lib.inc"
.code16

.equ IDE, 0x1f0
.equ IDE_COUNT, IDE + 2
.equ IDE_LBA0, IDE + 3
.equ IDE_DEVICE, IDE + 6
.equ IDE_COMMAND, IDE + 7
.equ BSY, 0x80
.equ DRQ, 0x08
.equ ERR, 0x01
.equ READ, 0x20
.equ WRITE, 0x30
.equ READ_DMA, 0xc8
.equ WRITE_DMA, 0xca
.equ FLUSH, 0xe7

.equ PCI_ADDRESS, 0xcf8
.equ PCI_DATA, 0xcfc
.equ IDE_FUNCTION, 0x80000900		# bus 0, slot 1, function 1
.equ PCI_COMMAND, 0x04
.equ PCI_BAR4, 0x20
.equ BM_START, 1
.equ BM_TO_MEMORY, 8
.equ BM_IRQ, 4

.equ REST, 0x7e00
.equ REST_SECTORS, 3
.equ PRD, 0x6000
.equ BUFFER, 0x9000
.equ IRQ14, 0x76 * 4

.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	xorw %bp, %bp
	movb $1, %bl
	movb $REST_SECTORS, %bh
	movw $REST, %di
	call pio_read
	jmp rest

# Sends command AL for BH sectors from LBA BL on.
command:
	pushw %ax
	movw $IDE_DEVICE, %dx
	movb $0xe0, %al
	outb %al, %dx
	movw $IDE_COUNT, %dx
	movb %bh, %al
	outb %al, %dx
	incw %dx
	movb %bl, %al
	outb %al, %dx
	xorb %al, %al
	incw %dx
	outb %al, %dx
	incw %dx
	outb %al, %dx
	popw %ax
	movw $IDE_COMMAND, %dx
	outb %al, %dx
	ret

# Until not busy; carry: error.
wait_drive:
	movw $IDE_COMMAND, %dx
1:	inb %dx, %al
	testb $BSY, %al
	jnz 1b
	testb $ERR, %al
	jz 2f
	stc
2:	ret

# BH sectors from LBA BL on to ES:DI.
pio_read:
	movb $READ, %al
	call command
1:	call wait_drive
	jc failed
	testb $DRQ, %al
	jz failed
	movw $256, %cx
	movw $IDE, %dx
	cld
	rep insw
	decb %bh
	jnz 1b
	ret

failed:	EXIT 9

	.org 510
	.byte 0x55, 0xaa

# ---- the rest, at 7E00 ----

# One sector from DS:SI to LBA BL.
pio_write:
	movb $1, %bh
	movb $WRITE, %al
	call command
	call wait_drive
	jc failed
	movw $256, %cx
	movw $IDE, %dx
	cld
	rep outsw
	call wait_drive
	jc failed
	ret

# 512 bytes at DI must be AL.
check:
	movw $512, %cx
	repe scasb
	jne failed
	ret

# EAX: register AL of the IDE function.
pci_read:
	call pci_select
	inl %dx, %eax
	ret

pci_select:
	movzbl %al, %eax
	orl $IDE_FUNCTION, %eax
	movw $PCI_ADDRESS, %dx
	outl %eax, %dx
	movw $PCI_DATA, %dx
	ret

# Moves BH sectors from LBA BL on by DMA; AL: the command, AH: the direction.
dma:
	movb $0, irqs
	pushw %ax
	movw master, %dx
	addw $4, %dx			# the table's address
	movl $PRD, %eax
	outl %eax, %dx
	movw master, %dx
	addw $2, %dx
	movb $BM_IRQ, %al
	outb %al, %dx
	popw %ax
	pushw %ax
	call command
	popw %ax
	movw master, %dx
	movb %ah, %al
	orb $BM_START, %al
	outb %al, %dx
	cli
1:	cmpb $0, irqs
	jne 2f
	sti
	hlt
	cli
	jmp 1b
2:	movw master, %dx
	addw $2, %dx
	inb %dx, %al
	andb $7, %al			# not active, no error, interrupt
	cmpb $BM_IRQ, %al
	jne failed
	movw master, %dx
	xorb %al, %al
	outb %al, %dx
	ret

on_irq:
	pushw %ax
	pushw %dx
	incb irqs
	movw $IDE_COMMAND, %dx		# reading the status takes the interrupt back
	inb %dx, %al
	movb $0x20, %al
	outb %al, $0xa0
	outb %al, $0x20
	popw %dx
	popw %ax
	iret

# Vectors from 70h on for the second chip; lines 2 and 14 are let through.
init_pics:
	movb $0x11, %al
	outb %al, $0x20
	outb %al, $0xa0
	movb $0x08, %al
	outb %al, $0x21
	movb $0x70, %al
	outb %al, $0xa1
	movb $4, %al
	outb %al, $0x21
	movb $2, %al
	outb %al, $0xa1
	movb $1, %al
	outb %al, $0x21
	outb %al, $0xa1
	movb $0xfb, %al
	outb %al, $0x21
	movb $0xbf, %al
	outb %al, $0xa1
	movw $on_irq, IRQ14
	movw $0, IRQ14 + 2
	ret

rest:
	PUTS text_fetched
	movw $8, %bx
	movb $1, %bh
	movw $BUFFER, %di
	call pio_read
	movw $BUFFER, %di
	movb $'P', %al
	call check
	PUTS text_read

	movw $BUFFER, %di		# sector 12 becomes Ws
	movb $'W', %al
	movw $512, %cx
	rep stosb
	movw $BUFFER, %si
	movb $12, %bl
	call pio_write
	movb $1, %bh
	movw $BUFFER + 512, %di
	call pio_read
	movw $BUFFER + 512, %di
	movb $'W', %al
	call check
	PUTS text_written

	call init_pics
	movb $PCI_BAR4, %al
	call pci_read
	testb $1, %al
	jz failed
	andb $0xf0, %al
	movw %ax, master
	movl $BUFFER, PRD		# two regions: 512 and 1024 bytes
	movl $512, PRD + 4
	movl $BUFFER + 0x1000, PRD + 8
	movl $0x80000400, PRD + 12
	movw $0x0309, %bx
	movb $READ_DMA, %al
	movb $BM_TO_MEMORY, %ah
	call dma
	movw $BUFFER, %di
	movb $'D', %al
	call check
	movw $BUFFER + 0x1000, %di
	movb $'E', %al
	call check
	movb $'F', %al
	call check
	PUTS text_dma_read

	movw $0x030d, %bx		# and from there to sectors 13 to 15
	movb $WRITE_DMA, %al
	movb $0, %ah
	call dma
	movw $0x010e, %bx
	movw $BUFFER, %di
	call pio_read
	movw $BUFFER, %di
	movb $'E', %al
	call check
	PUTS text_dma_written

	movb $FLUSH, %al
	call command
	call wait_drive
	jc failed
	movw $0x0110, %bx		# there is no sector 16
	movb $READ, %al
	call command
	call wait_drive
	jnc failed
	PUTS text_end
	EXIT 10

.include "puts16.inc"

master:	.word 0
irqs:	.byte 0
text_fetched:	.asciz "ide: the rest is here"
text_read:	.asciz "ide: read by PIO"
text_written:	.asciz "ide: written by PIO"
text_dma_read:	.asciz "ide: read by DMA"
text_dma_written: .asciz "ide: written by DMA"
text_end:	.asciz "ide: flushed; the end is an error"

	.org 8 * 512
	.fill 512, 1, 'P'
	.fill 512, 1, 'D'
	.fill 512, 1, 'E'
	.fill 512, 1, 'F'
	.fill 4 * 512, 1, 0
