/**
 * Markers: how guest code tells whoever watches it that a region of interest begins or ends (docs/markers.md). CPUID with a
 * leaf in the range that is left to hypervisors, which no hypervisor uses: EAX = leaf, ECX = 1 begin or 2 end, RBX = linear
 * address of the region's name, RDX = operations in the region (with begin; 0 when it does not matter).
 */

/** "UKLO" in memory order. */
export const MARKER_LEAF = 0x4f4c_4b55;
export const MARKER_KIND = { begin: 1, end: 2 } as const;

/** A marker that the guest has just executed. */
export interface Marker {
  readonly kind: keyof typeof MARKER_KIND;
  /** Linear address of the name, which ends with a zero byte. */
  readonly name: bigint;
  /** Operations in the region, as the guest says. */
  readonly operations: number;
}

/** The marker in the registers of a CPUID of MARKER_LEAF; undefined for a kind that has no meaning. */
export function readMarker(ecx: bigint, rbx: bigint, rdx: bigint): Marker | undefined {
  const code = Number(ecx & 0xffff_ffffn);
  const kind = code === MARKER_KIND.begin ? 'begin' : code === MARKER_KIND.end ? 'end' : undefined;
  return kind && { kind, name: rbx, operations: Number(rdx & 0xffff_ffffn) };
}
