/* feature.h - enum x86_feature, what a row of the opcode table needs the CPU to have. */
#ifndef TINAMOU_X86_FEATURE_H
#define TINAMOU_X86_FEATURE_H

enum x86_feature {
#define X86_FEATURE_ROW(name, text) X86_FEATURE_##name,
#include "x86/feature.def"
	X86_FEATURE_COUNT
};

#endif
