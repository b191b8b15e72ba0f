/** The time-stamp counter counts guest nanoseconds: one source of time, and CPUID 0x15/0x16 can tell the truth. */
export const TSC_FREQUENCY = 1_000_000_000;
/** MAXPHYADDR. */
export const PHYSICAL_ADDRESS_BITS = 40;
