/*
 * Marks a region of interest for whoever runs the guest: CPUID with a leaf that no processor and no hypervisor
 * defines, allowed at any privilege, without effect but on the four registers it writes (docs/markers.md).
 */
#ifndef MARKER_H
#define MARKER_H

enum { MARKER_LEAF = 0x4f4c4b55, MARKER_BEGIN = 1, MARKER_END = 2 };

/* The name ends with a zero byte; operations is how many the region holds, for figures per operation. */
static inline void mark(unsigned what, const char *name, unsigned long operations) {
  unsigned leaf = MARKER_LEAF;
  (void)*(volatile const char *)name; /* the page must be there: nobody faults it in for the reader */
  __asm__ volatile("cpuid" : "+a"(leaf), "+b"(name), "+c"(what), "+d"(operations) : : "memory");
}

#endif
