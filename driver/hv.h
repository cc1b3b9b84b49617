/*
 * hv.h - between the half that knows Linux and the half that knows the CPU.
 *
 * A mechanism (svm.c, vmx.c) is one struct hv_ops. A machine has one nested page
 * table; a vCPU is struct hv_vcpu, first in the mechanism's own. Who holds the
 * vCPU's lock may touch it. The map may change only while no vCPU runs.
 */
#ifndef TINAMOU_DRIVER_HV_H
#define TINAMOU_DRIVER_HV_H

#include "abi.h"
#include "host.h"

#define HV_CPU_PAGES 2

struct hv_vcpu;

/* What a mechanism keeps for each CPU while machines exist. */
struct hv_cpu {
	void *page[HV_CPU_PAGES]; /* SVM: host save area, VMSAVE area; VMX: VMXON region */
	u64 last;                 /* vCPU that ran here last, 0: none */
	int on;
};

/* One for the module. */
struct hv {
	const struct hv_ops *ops;
	const struct hv_host *host;
	u32 flags; /* TINAMOU_HAS_* */
	u32 phys_bits;
	int levels; /* of the nested page table */
	u64 xcr0;   /* features of XSAVE that guests may have */
	void *priv; /* the mechanism's own */
};

/* A machine, as the CPU sees it. */
struct hv_vm {
	struct hv *hv;
	void *ctx;      /* the host's, for fault and release */
	u64 root;       /* physical address of the nested page table */
	u64 generation; /* changes with the map: translations made before are stale */
	const struct table_format *format;
};

/* What enter() says. */
enum hv_next {
	HV_AGAIN, /* the host's business is done: enter again */
	HV_FAULT, /* the guest touched exit.gpa, which has no entry or forbids it */
	HV_USER   /* exit says why */
};

/* What the CPU does not switch by itself is in host and guest here (switch.c). */
struct hv_vcpu {
	struct hv_vm *vm;
	u64 id;                   /* never used twice, never 0 */
	struct tinamou_regs regs; /* as far as it is not in the VMCB or VMCS */
	struct tinamou_exit exit;
	struct hv_cpu *last_cpu;
	u64 generation;
	u64 tsc_offset;
	int flush;  /* translations of this vCPU are stale */
	int window; /* exit when an interrupt would be taken */
	u64 host_dr[8], host_xcr0, host_tsc_aux;
};

struct hv_ops {
	const char *name;
	u32 kind;
	const struct table_format *format;
	/* Writes what the CPU offers to the log; 0, or -HV_EOPNOTSUPP with the reason there. */
	int (*detect)(struct hv *hv);
	int (*init)(struct hv *hv);
	void (*exit)(struct hv *hv);
	/* On each CPU. -HV_EBUSY: another hypervisor holds it. */
	int (*cpu_on)(struct hv *hv, struct hv_cpu *cpu);
	void (*cpu_off)(struct hv *hv, struct hv_cpu *cpu);

	struct hv_vcpu *(*vcpu_new)(struct hv_vm *vm);
	void (*vcpu_free)(struct hv_vcpu *v);
	/* v->regs to the hardware's form and back; what they hold has been checked. */
	void (*put)(struct hv_vcpu *v, u32 groups);
	void (*get)(struct hv_vcpu *v, u32 groups);
	/* Begin and end of a stay, between host begin and end; NULL: nothing to do. */
	void (*arrive)(struct hv_vcpu *v);
	void (*depart)(struct hv_vcpu *v);
	/* One entry and exit; between host begin and end, interrupts off. */
	enum hv_next (*enter)(struct hv_vcpu *v, struct hv_cpu *cpu);
};

extern const struct hv_ops svm_ops, vmx_ops;

/* ---- run.c ---- */

/* The mechanism of this CPU, or NULL with the reason in the log. */
const struct hv_ops *hv_detect(struct hv *hv);
/*
 * Enters until the engine must decide: 0, with v->exit. -HV_EINTR: a signal, or
 * *immediate_exit. *page stays readable all the time; it may change any time.
 */
int hv_run(struct hv_vcpu *v, const volatile struct tinamou_page *page);
/* 0 or -HV_EINVAL: could any of it harm the host? What only harms the guest is let pass. */
int hv_check(const struct hv *hv, const struct tinamou_regs *r, u32 groups);
/* Groups of from to to. */
void hv_copy(struct tinamou_regs *to, const struct tinamou_regs *from, u32 groups);

/* ---- switch.c ---- */

void switch_to_guest(struct hv_vcpu *v);
void switch_to_host(struct hv_vcpu *v);

#endif
