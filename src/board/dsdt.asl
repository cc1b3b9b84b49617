/*
 * dsdt.asl - what ACPI tells of the board that a table cannot.
 *
 * Source: ACPI 6.4, chapters 5 to 7. Sleep states: only soft-off.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "TINAMO", "PC", 1)
{
    /* SLP_TYP for PM1a and PM1b; acpi_pm.h has the same number. */
    Name (\_S5, Package () {5, 5, 0, 0})

    Scope (\_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () {4}
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () {8}
            })
        }

        Device (KBD)
        {
            Name (_HID, EisaId ("PNP0303"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0060, 0x0060, 1, 1)
                IO (Decode16, 0x0064, 0x0064, 1, 1)
                IRQNoFlags () {1}
            })
        }

        Device (MOU)
        {
            Name (_HID, EisaId ("PNP0F13"))
            Name (_CRS, ResourceTemplate ()
            {
                IRQNoFlags () {12}
            })
        }

        /* The firmware's or the system's choice: 8259s, or I/O APIC. */
        Name (PICM, 0)
        Method (\_PIC, 1)
        {
            \_SB.PICM = Arg0
        }

        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0xFF, 0, 0x100)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
            })

            /* Slot s, pin p: PIRQ (s + p + 3) mod 4, as the board wires them. */
            Method (_PRT, 0, Serialized)
            {
                Local0 = Package (128) {}
                Local1 = 0
                While (Local1 < 128)
                {
                    Local2 = ((Local1 >> 2) + Local1 + 3) & 3
                    If (PICM)
                    {
                        Local3 = Package (4) {0, 0, 0, 0}
                        Local3[3] = 16 + Local2
                    }
                    ElseIf (Local2 == 0)
                    {
                        Local3 = Package (4) {0, 0, LNKA, 0}
                    }
                    ElseIf (Local2 == 1)
                    {
                        Local3 = Package (4) {0, 0, LNKB, 0}
                    }
                    ElseIf (Local2 == 2)
                    {
                        Local3 = Package (4) {0, 0, LNKC, 0}
                    }
                    Else
                    {
                        Local3 = Package (4) {0, 0, LNKD, 0}
                    }
                    Local3[0] = ((Local1 >> 2) << 16) | 0xFFFF
                    Local3[1] = Local1 & 3
                    Local0[Local1] = Local3
                    Local1++
                }
                Return (Local0)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 4)
            }
        }

        Field (PCI0.ISA.PIRQ, ByteAcc, NoLock, Preserve)
        {
            PRQA, 8,
            PRQB, 8,
            PRQC, 8,
            PRQD, 8
        }

        Name (BUF, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {0}
        })

        /* A link's line as a resource. */
        Method (IRQR, 1, Serialized)
        {
            CreateDWordField (BUF, 0x05, LINE)
            LINE = 0
            If (!(Arg0 & 0x80))
            {
                LINE = Arg0
            }
            Return (BUF)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0)
            {
                If (PRQA & 0x80)
                {
                    Return (0x09)
                }
                Return (0x0B)
            }
            Method (_DIS, 0)
            {
                PRQA |= 0x80
            }
            Method (_CRS, 0)
            {
                Return (IRQR (PRQA))
            }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, LINE)
                PRQA = LINE
            }
        }

        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0)
            {
                If (PRQB & 0x80)
                {
                    Return (0x09)
                }
                Return (0x0B)
            }
            Method (_DIS, 0)
            {
                PRQB |= 0x80
            }
            Method (_CRS, 0)
            {
                Return (IRQR (PRQB))
            }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, LINE)
                PRQB = LINE
            }
        }

        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0)
            {
                If (PRQC & 0x80)
                {
                    Return (0x09)
                }
                Return (0x0B)
            }
            Method (_DIS, 0)
            {
                PRQC |= 0x80
            }
            Method (_CRS, 0)
            {
                Return (IRQR (PRQC))
            }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, LINE)
                PRQC = LINE
            }
        }

        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {5, 10, 11}
            })
            Method (_STA, 0)
            {
                If (PRQD & 0x80)
                {
                    Return (0x09)
                }
                Return (0x0B)
            }
            Method (_DIS, 0)
            {
                PRQD |= 0x80
            }
            Method (_CRS, 0)
            {
                Return (IRQR (PRQD))
            }
            Method (_SRS, 1)
            {
                CreateDWordField (Arg0, 0x05, LINE)
                PRQD = LINE
            }
        }
    }
}
