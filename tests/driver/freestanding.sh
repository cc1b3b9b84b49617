#!/bin/sh
# freestanding - the files of the module that know the CPU compile without any host.
#
#   freestanding.sh SOURCE
#
# No include path but driver/ itself, warnings are errors, and the table of what
# they ask of their host has at most 20 functions.
set -eu
cd "$1/driver"
passed=0
for file in run switch table svm svm_state svm_exit vmx vmx_host vmx_state vmx_exit; do
	for compiler in gcc clang; do
		command -v $compiler >/dev/null || continue
		$compiler -ffreestanding -nostdinc -I. -std=gnu11 -O2 -Wall -Wextra -Werror \
			-Wno-unused-parameter -c -o /dev/null $file.c
	done
	passed=$((passed + 1))
done
if grep -n '#include <' types.h abi.h host.h hv.h cpu.h table.h svm*.[chS] vmx*.[chS] enter.inc run.c switch.c table.c; then
	echo "a header of the host" >&2
	exit 1
fi
functions=$(sed -n '/^struct hv_host {/,/^};/p' host.h | grep -c '(\*[a-z_]*)(')
echo "$functions functions of the host"
[ "$functions" -le 20 ]
echo "$((passed + 1)) passed, 0 failed, 0 skipped"
