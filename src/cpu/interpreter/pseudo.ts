/** Records that are no instruction of the guest; they cost no budget. */
export const PSEUDO = {
  /** Control runs off the page or the decoded run: look up pageBase + ipOffset. */
  fall: 0,
  /** Go on at the record in `imm` (same page, decoded earlier). */
  link: 1,
  /** The next record's instruction crosses into the page whose RAM page number is in `imm`: check that it still does. */
  cross: 2,
  /** A translated region starts here: table index in `imm`, entry number in `c`; the instruction's own record in `a`. */
  enter: 3,
} as const;
export const PSEUDO_COUNT = 4;
