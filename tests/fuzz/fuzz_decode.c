/*
 * fuzz_decode.c - libFuzzer entry: the decoder and the disassembler on arbitrary bytes.
 *
 * Checks the contract of insn.h: the length lies within what was given, operands name registers
 * that exist, a truncated string asks for more, and the text fits its buffer.
 */
#include "x86/insn.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void try_mode(const uint8_t *data, size_t size, enum x86_mode mode)
{
	struct x86_insn insn, again;
	char text[64], tiny[8];

	if (x86_decode(data, size, mode, &insn) != X86_DECODE_OK)
		return;
	check(insn.len > 0 && insn.len <= size && insn.len <= X86_INSN_MAX);
	check(insn.nops <= 4 && insn.entry < x86_insn_table_count);
	for (unsigned i = 0; i < insn.nops; i++)
		check(insn.opnd[i].kind != X86_OPND_NONE && insn.opnd[i].reg < 16);
	check(x86_decode(data, insn.len - 1u, mode, &again) == X86_DECODE_MORE);
	check(strlen(x86_disasm(&insn, 0, text, sizeof(text))) < sizeof(text));
	check(strlen(x86_disasm(&insn, 0, tiny, sizeof(tiny))) < sizeof(tiny));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned mode = X86_MODE_16; mode <= X86_MODE_64; mode++)
		try_mode(data, size, (enum x86_mode)mode);
	return 0;
}
