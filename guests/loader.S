# loader.S - a boot loader of several sectors that lives on the BIOS: INT 10h
# prints, 11h and 12h and 15h tell of the machine, 13h reads the rest from
# whatever it was started from, 16h asks for a key, 1Ah tells the time.
# Modes: real. Run: as a floppy, a disk and a CD-ROM, --firmware bios. Status 23.
.include "lib.inc"
.code16

.equ STAGE, 0x9000
.equ STAGE_OFFSET, 8192			# bytes from the start of the medium
.equ PACKET, 0x8800
.equ PARAMETERS, 0x8900
.equ MAP, 0x8a00
.equ KEY_MAKE, 0x1e			# "a", in scan code set 1
.equ KEY_BREAK, 0x9e
.equ SMAP, 0x534d4150

.globl _start
_start:
	jmp 1f
	.org 62				# firmware may write into a BIOS parameter block
1:	ljmp $0, $2f
2:	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	movb %dl, drive
	movw $COM1 + 3, %dx		# 8 data bits: the UART starts with 5
	movb $3, %al
	outb %al, %dx
	movw $text_hello, %si
	call print
	call read_stage
	jc bad
	cmpl $0x21444e32, STAGE		# "2ND!"
	jne bad
	jmp STAGE + 4

bad:	movw $text_bad, %si
	call print
	EXIT 1

# By the extensions if there are any: a CD-ROM has sectors of 2048 bytes.
read_stage:
	movb drive, %dl
	movw $0x55aa, %bx
	movb $0x41, %ah
	int $0x13
	jc by_chs
	movw $26, PARAMETERS
	movw $PARAMETERS, %si
	movb drive, %dl
	movb $0x48, %ah
	int $0x13
	jc 1f
	movw PARAMETERS + 24, %cx	# bytes a sector
	xorw %dx, %dx
	movw $STAGE_OFFSET, %ax
	divw %cx
	movl $0x00010010, PACKET	# one sector
	movw $STAGE, PACKET + 4
	movw $0, PACKET + 6
	movzwl %ax, %eax
	movl %eax, PACKET + 8
	movl $0, PACKET + 12
	movw $PACKET, %si
	movb drive, %dl
	movb $0x42, %ah
	int $0x13
1:	ret

by_chs:
	movw $0x0201, %ax		# sector 16 is cylinder 0, head 0, sector 17
	movw $17, %cx
	movb $0, %dh
	movb drive, %dl
	movw $STAGE, %bx
	int $0x13
	ret

print:
	cld
1:	lodsb
	testb %al, %al
	jz 2f
	movb $0x0e, %ah
	movw $7, %bx
	int $0x10
	movw $COM1, %dx
	outb %al, %dx
	jmp 1b
2:	ret

drive:	.byte 0
text_hello:	.asciz "loader: started\r\n"
text_bad:	.asciz "loader: cannot read the rest\r\n"
	.org 510
	.byte 0x55, 0xaa

# ---- the second stage, run at STAGE ----
	.org STAGE_OFFSET
stage:
	.ascii "2ND!"
.macro SAY text
	movw $STAGE + \text - stage, %si
	call print_far
.endm
	SAY text_stage
	int $0x12			# KiB of base memory
	cmpw $600, %ax
	jb bad_far
	SAY text_base

	xorl %ebx, %ebx			# memory map: RAM above 1 MiB is among it
	xorw %bp, %bp
1:	movl $0xe820, %eax
	movl $SMAP, %edx
	movl $20, %ecx
	movw $MAP, %di
	int $0x15
	jc 2f
	cmpl $SMAP, %eax
	jne bad_far
	cmpl $0x100000, MAP
	jne 3f
	cmpl $1, MAP + 16
	jne 3f
	incw %bp
3:	testl %ebx, %ebx
	jnz 1b
2:	cmpw $1, %bp
	jne bad_far
	SAY text_map

	movb $1, %ah			# no key waits
	int $0x16
	jnz bad_far
	movb $2, %ah			# the clock runs
	int $0x1a
	jc bad_far
	movb $0, %ah			# timer ticks come
	int $0x1a
	movw %dx, %di
4:	sti
	hlt
	movb $0, %ah
	int $0x1a
	cmpw %di, %dx
	je 4b
	SAY text_time

	movb $0x0f, %ah			# the text mode, 80 columns
	int $0x10
	cmpw $0x5003, %ax
	jne bad_far
	movb $KEY_MAKE, %al		# as if typed
	call key
	movb $KEY_BREAK, %al
	call key
	movb $0, %ah
	int $0x16
	cmpw $KEY_MAKE << 8 | 'a', %ax
	jne bad_far
	movb $1, %ah			# and none more
	int $0x16
	jnz bad_far
	SAY text_key
	EXIT 11

# The keyboard controller is to take AL for the keyboard's.
key:	movb %al, %bl
1:	inb $0x64, %al
	testb $3, %al			# nothing waits in either direction
	jnz 1b
	movb $0xd2, %al
	outb %al, $0x64
2:	inb $0x64, %al
	testb $2, %al
	jnz 2b
	movb %bl, %al
	outb %al, $0x60
	ret

bad_far: SAY text_fail
	EXIT 2

print_far:
	cld
1:	lodsb
	testb %al, %al
	jz 2f
	movb $0x0e, %ah
	movw $7, %bx
	int $0x10
	movw $COM1, %dx
	outb %al, %dx
	jmp 1b
2:	ret

text_stage:	.asciz "loader: the rest is here\r\n"
text_base:	.asciz "loader: base memory\r\n"
text_map:	.asciz "loader: memory map\r\n"
text_time:	.asciz "loader: time passes\r\n"
text_key:	.asciz "loader: a key comes\r\n"
text_fail:	.asciz "loader: something is wrong\r\n"
	.org STAGE_OFFSET + 2048
