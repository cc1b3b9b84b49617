/*
 * rtc.h - MC146818 real-time clock with 128 bytes of CMOS RAM. vm->lock held.
 */
#ifndef TINAMOU_RTC_H
#define TINAMOU_RTC_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

struct rtc;

#define RTC_CENTURY 0x32 /* the century's place in the RAM, BCD; for the FADT */

/* epoch: seconds since 1970 that the clock shows now. irq: IRQ8. */
struct rtc *rtc_new(struct clock *clock, struct irq irq, uint64_t epoch);
struct device *rtc_device(struct rtc *r);
struct bus_region *rtc_region(struct rtc *r); /* 2 ports, 70h */

/* For the board: memory sizes and the like. index 14..127; others are ignored. */
void rtc_set_cmos(struct rtc *r, unsigned index, uint8_t value);
/* Bit 7 of port 70h: the guest masks NMI. */
bool rtc_nmi_masked(const struct rtc *r);

#endif
