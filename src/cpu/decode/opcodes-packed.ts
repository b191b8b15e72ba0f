/**
 * Packed integer operations that exist as MMX, SSE and AVX forms of one opcode, written once:
 * `opcode mnemonic`, map given by the list. Expanded by opcodes-sse.ts and opcodes-vex.ts.
 */
export interface PackedOperation {
  /** Hexadecimal, two digits. */
  readonly opcode: string;
  readonly mnemonic: string;
}

function list(text: string): readonly PackedOperation[] {
  const operations: PackedOperation[] = [];
  const words = text.trim().split(/\s+/);
  for (let i = 0; i + 1 < words.length; i += 2) operations.push({ opcode: words[i]!, mnemonic: words[i + 1]! });
  return operations;
}

/** 0F map, two sources, MMX form in MMX, xmm form in SSE2. */
export const PACKED_MMX = list(`
  63 packsswb 64 pcmpgtb 65 pcmpgtw 66 pcmpgtd 67 packuswb 68 punpckhbw 69 punpckhwd 6A punpckhdq 6B packssdw
  74 pcmpeqb 75 pcmpeqw 76 pcmpeqd D5 pmullw D8 psubusb D9 psubusw DB pand DC paddusb DD paddusw DF pandn
  E5 pmulhw E8 psubsb E9 psubsw EB por EC paddsb ED paddsw EF pxor F5 pmaddwd F8 psubb F9 psubw FA psubd
  FC paddb FD paddw FE paddd`);

/** As PACKED_MMX, but the MMX form reads 32 bits of memory. */
export const PACKED_UNPACK_LOW = list('60 punpcklbw 61 punpcklwd 62 punpckldq');

/** As PACKED_MMX, but the second source is a shift count: 128 bits in the VEX.256 form too. */
export const PACKED_SHIFT = list('D1 psrlw D2 psrld D3 psrlq E1 psraw E2 psrad F1 psllw F2 pslld F3 psllq');

/** 0F map; the MMX form came with SSE. */
export const PACKED_MMX_SSE = list('DA pminub DE pmaxub E0 pavgb E3 pavgw E4 pmulhuw EA pminsw EE pmaxsw F6 psadbw');

/** 0F map; the MMX form came with SSE2. */
export const PACKED_MMX_SSE2 = list('D4 paddq F4 pmuludq FB psubq');

/** 0F map, no MMX form. */
export const PACKED_SSE2 = list('6C punpcklqdq 6D punpckhqdq');

/** 0F 38 map, two sources, MMX and xmm forms in SSSE3. */
export const PACKED_SSSE3 = list(`
  00 pshufb 01 phaddw 02 phaddd 03 phaddsw 04 pmaddubsw 05 phsubw 06 phsubd 07 phsubsw 08 psignb 09 psignw
  0A psignd 0B pmulhrsw`);

/** 0F 38 map, one source, MMX and xmm forms in SSSE3. */
export const PACKED_ABSOLUTE = list('1C pabsb 1D pabsw 1E pabsd');

/** 0F 38 map, two sources, no MMX form. */
export const PACKED_SSE4_1 = list(`
  28 pmuldq 29 pcmpeqq 2B packusdw 38 pminsb 39 pminsd 3A pminuw 3B pminud 3C pmaxsb 3D pmaxsd 3E pmaxuw 3F pmaxud
  40 pmulld`);

/** 0F 38 map, widening moves: the third word is the part of the destination's width that the source has. */
export const PACKED_WIDEN: readonly (PackedOperation & { readonly source: 'h' | 'f' | 'e' })[] = ['s', 'z'].flatMap(
  (kind, index) =>
    (
      [
        ['bw', 'h'],
        ['bd', 'f'],
        ['bq', 'e'],
        ['wd', 'h'],
        ['wq', 'f'],
        ['dq', 'h'],
      ] as const
    ).map(([suffix, source], offset) => ({
      opcode: `${index + 2}${offset}`,
      mnemonic: `pmov${kind}x${suffix}`,
      source,
    })),
);

/** 0F map: shifts by an immediate: opcode, ModRM digit, mnemonic. */
export const PACKED_SHIFT_IMMEDIATE: readonly (readonly [opcode: string, digit: number, mnemonic: string])[] = [
  ['71', 2, 'psrlw'],
  ['71', 4, 'psraw'],
  ['71', 6, 'psllw'],
  ['72', 2, 'psrld'],
  ['72', 4, 'psrad'],
  ['72', 6, 'pslld'],
  ['73', 2, 'psrlq'],
  ['73', 6, 'psllq'],
];

/** 0F map: floating-point arithmetic in ps, pd, ss and sd forms (NP, 66, F3, F2). */
export const FLOAT_ALL = list('58 add 59 mul 5C sub 5D min 5E div 5F max');

/** 0F map: floating-point operations in ps and pd forms. */
export const FLOAT_PACKED = list('14 unpckl 15 unpckh 54 and 55 andn 56 or 57 xor');
