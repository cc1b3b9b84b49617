# input.S - a picture of 320x200 whose colour follows the keys, and every byte of the keyboard and
# the mouse at port E9h: 'k' or 'm', then the byte. tests/viewer looks on from outside.
# Modes: real. Run: as a disk, --firmware bios. Ends with Escape let go, status 1.
.include "lib.inc"
.code16

.equ DEBUGCON, 0xe9
.equ PS2_DATA, 0x60
.equ PS2_STATUS, 0x64
.equ FULL, 1				# of the status: there is a byte
.equ BUSY, 2				# the controller has not taken the last one
.equ FROM_MOUSE, 0x20
.equ ESCAPE_UP, 0x81

.globl _start
_start:
	ljmp $0, $1f
1:	xorw %ax, %ax
	movw %ax, %ss
	movw $0x7c00, %sp
	movw $0x13, %ax
	int $0x10
	cli				# the BIOS takes no byte away
	cld
	movw $0xa000, %ax
	movw %ax, %es
	movb $1, %al
	call fill
	movb $0xa8, %al			# the mouse's line on
	call command
	movb $0xd4, %al			# what follows is for the mouse: report movements
	call command
	movb $0xf4, %al
	call wait
	outb %al, $PS2_DATA

next:	inb $PS2_STATUS, %al
	testb $FULL, %al
	jz next
	movb %al, %ah
	inb $PS2_DATA, %al
	movb %al, %bl
	movb $'m', %al
	testb $FROM_MOUSE, %ah
	jnz 2f
	movb $'k', %al
2:	outb %al, $DEBUGCON
	xchgb %al, %bl
	outb %al, $DEBUGCON
	cmpb $'m', %bl
	je next
	cmpb $ESCAPE_UP, %al
	je done
	testb $0x80, %al
	jnz next
	call fill
	jmp next

done:	EXIT 0

# The screen in one colour.
fill:	xorw %di, %di
	movw $320 * 200, %cx
	rep stosb
	ret

command:
	call wait
	outb %al, $PS2_STATUS
	ret

wait:	xchgb %al, %ah
3:	inb $PS2_STATUS, %al
	testb $BUSY, %al
	jnz 3b
	xchgb %al, %ah
	ret

	.org 510
	.word 0xaa55
