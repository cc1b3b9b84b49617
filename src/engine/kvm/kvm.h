/* kvm.h - the engine that runs the guest on the CPU, through /dev/kvm. */
#ifndef TINAMOU_KVM_H
#define TINAMOU_KVM_H

#include "core/engine.h"

extern const struct engine_ops kvm_engine;

#endif
