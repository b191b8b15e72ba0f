/** MMX, SSE to SSE4.2, AES, PCLMULQDQ and SHA in their legacy encodings (SDM vol. 2, tables ). */
import {
  FLOAT_ALL,
  FLOAT_PACKED,
  PACKED_ABSOLUTE,
  PACKED_MMX,
  PACKED_MMX_SSE,
  PACKED_MMX_SSE2,
  PACKED_SHIFT,
  PACKED_SHIFT_IMMEDIATE,
  PACKED_SSE2,
  PACKED_SSE4_1,
  PACKED_SSSE3,
  PACKED_UNPACK_LOW,
  PACKED_WIDEN,
  type PackedOperation,
} from './opcodes-packed.ts';

type Operations = readonly PackedOperation[];

function packed(feature: string, map: string, operations: Operations, operands: string, prefix: 'NP' | '66'): string {
  const rows = operations.map(({ opcode, mnemonic }) => `${prefix} ${map} ${opcode} /r | ${mnemonic} | ${operands} |`);
  return `@${feature}\n${rows.join('\n')}\n`;
}

function floats(operations: Operations, packedOnly: boolean): string {
  return operations
    .map(({ opcode, mnemonic }) => {
      const single = `NP 0F ${opcode} /r | ${mnemonic}ps | Vps,Wps |`;
      const double = `66 0F ${opcode} /r | ${mnemonic}pd | Vpd,Wpd |`;
      if (packedOnly) return `@sse\n${single}\n@sse2\n${double}`;
      return `@sse\n${single}\nF3 0F ${opcode} /r | ${mnemonic}ss | Vss,Wss |
        @sse2\n${double}\nF2 0F ${opcode} /r | ${mnemonic}sd | Vsd,Wsd |`;
    })
    .join('\n');
}

const IMMEDIATE_SHIFTS = PACKED_SHIFT_IMMEDIATE.map(
  ([opcode, digit, mnemonic]) => `
  @mmx
  NP 0F ${opcode} /${digit} | ${mnemonic} | Nq,Ib |
  @sse2
  66 0F ${opcode} /${digit} | ${mnemonic} | Udq,Ib |`,
).join('');

const WIDENING = PACKED_WIDEN.map(
  ({ opcode, mnemonic, source }) => `66 0F 38 ${opcode} /r | ${mnemonic} | Vdq,W${source} |`,
).join('\n');

export const SSE_OPCODES = `
${packed('mmx', '0F', PACKED_MMX, 'Pq,Qq', 'NP')}
${packed('mmx', '0F', PACKED_UNPACK_LOW, 'Pq,Qd', 'NP')}
${packed('mmx', '0F', PACKED_SHIFT, 'Pq,Qq', 'NP')}
${packed('sse', '0F', PACKED_MMX_SSE, 'Pq,Qq', 'NP')}
${packed('sse2', '0F', PACKED_MMX_SSE2, 'Pq,Qq', 'NP')}
${packed('ssse3', '0F 38', PACKED_SSSE3, 'Pq,Qq', 'NP')}
${packed('ssse3', '0F 38', PACKED_ABSOLUTE, 'Pq,Qq', 'NP')}
${packed('sse2', '0F', PACKED_MMX, 'Vdq,Wdq', '66')}
${packed('sse2', '0F', PACKED_UNPACK_LOW, 'Vdq,Wdq', '66')}
${packed('sse2', '0F', PACKED_SHIFT, 'Vdq,Wdq', '66')}
${packed('sse2', '0F', PACKED_MMX_SSE, 'Vdq,Wdq', '66')}
${packed('sse2', '0F', PACKED_MMX_SSE2, 'Vdq,Wdq', '66')}
${packed('sse2', '0F', PACKED_SSE2, 'Vdq,Wdq', '66')}
${packed('ssse3', '0F 38', PACKED_SSSE3, 'Vdq,Wdq', '66')}
${packed('ssse3', '0F 38', PACKED_ABSOLUTE, 'Vdq,Wdq', '66')}
${packed('sse4_1', '0F 38', PACKED_SSE4_1, 'Vdq,Wdq', '66')}
${WIDENING}
${floats(FLOAT_ALL, false)}
${floats(FLOAT_PACKED, true)}
${IMMEDIATE_SHIFTS}
@mmx
NP REX.W 0F 6E /r | movq | Pq,Ey | o64
NP 0F 6E /r | movd | Pq,Ey |
NP REX.W 0F 7E /r | movq | Ey,Pq | o64
NP 0F 7E /r | movd | Ey,Pq |
NP 0F 6F /r | movq | Pq,Qq |
NP 0F 7F /r | movq | Qq,Pq |
NP 0F 77 | emms | |
@sse
NP 0F 70 /r | pshufw | Pq,Qq,Ib |
NP 0F C4 /r | pinsrw | Pq,RyMw,Ib |
NP 0F C5 /r | pextrw | Gy,Nq,Ib |
NP 0F D7 /r | pmovmskb | Gy,Nq |
NP 0F E7 /r | movntq | Mq,Pq |
NP 0F F7 /r | maskmovq | Pq,Nq,DIq |
NP 0F 10 /r | movups | Vps,Wps |
NP 0F 11 /r | movups | Wps,Vps |
F3 0F 10 /r | movss | Vss,Wss |
F3 0F 11 /r | movss | Wss,Vss |
NP 0F 12 /r mem | movlps | Vps,Mq |
NP 0F 12 /r reg | movhlps | Vps,Ups |
NP 0F 13 /r | movlps | Mq,Vps |
NP 0F 16 /r mem | movhps | Vps,Mq |
NP 0F 16 /r reg | movlhps | Vps,Ups |
NP 0F 17 /r | movhps | Mq,Vps |
NP 0F 28 /r | movaps | Vps,Wps |
NP 0F 29 /r | movaps | Wps,Vps |
NP 0F 2A /r | cvtpi2ps | Vps,Qq |
F3 0F 2A /r | cvtsi2ss | Vss,Ey |
NP 0F 2B /r | movntps | Mps,Vps |
NP 0F 2C /r | cvttps2pi | Pq,Wq |
F3 0F 2C /r | cvttss2si | Gy,Wss |
NP 0F 2D /r | cvtps2pi | Pq,Wq |
F3 0F 2D /r | cvtss2si | Gy,Wss |
NP 0F 2E /r | ucomiss | Vss,Wss | w=oszapc
NP 0F 2F /r | comiss | Vss,Wss | w=oszapc
NP 0F 50 /r | movmskps | Gy,Ups |
NP 0F 51 /r | sqrtps | Vps,Wps |
F3 0F 51 /r | sqrtss | Vss,Wss |
NP 0F 52 /r | rsqrtps | Vps,Wps |
F3 0F 52 /r | rsqrtss | Vss,Wss |
NP 0F 53 /r | rcpps | Vps,Wps |
F3 0F 53 /r | rcpss | Vss,Wss |
NP 0F C2 /r | cmpps | Vps,Wps,Ib |
F3 0F C2 /r | cmpss | Vss,Wss,Ib |
NP 0F C6 /r | shufps | Vps,Wps,Ib |
@sse2
66 REX.W 0F 6E /r | movq | Vdq,Ey | o64
66 0F 6E /r | movd | Vdq,Ey |
66 REX.W 0F 7E /r | movq | Ey,Vdq | o64
66 0F 7E /r | movd | Ey,Vdq |
F3 0F 7E /r | movq | Vq,Wq |
66 0F D6 /r | movq | Wq,Vq |
66 0F 6F /r | movdqa | Vdq,Wdq |
66 0F 7F /r | movdqa | Wdq,Vdq |
F3 0F 6F /r | movdqu | Vdq,Wdq |
F3 0F 7F /r | movdqu | Wdq,Vdq |
66 0F 70 /r | pshufd | Vdq,Wdq,Ib |
F3 0F 70 /r | pshufhw | Vdq,Wdq,Ib |
F2 0F 70 /r | pshuflw | Vdq,Wdq,Ib |
66 0F 73 /3 | psrldq | Udq,Ib |
66 0F 73 /7 | pslldq | Udq,Ib |
66 0F C4 /r | pinsrw | Vdq,RyMw,Ib |
66 0F C5 /r | pextrw | Gy,Udq,Ib |
F3 0F D6 /r | movq2dq | Vdq,Nq |
F2 0F D6 /r | movdq2q | Pq,Uq |
66 0F D7 /r | pmovmskb | Gy,Udq |
66 0F E7 /r | movntdq | Mdq,Vdq |
66 0F F7 /r | maskmovdqu | Vdq,Udq,DIdq |
66 0F 10 /r | movupd | Vpd,Wpd |
66 0F 11 /r | movupd | Wpd,Vpd |
F2 0F 10 /r | movsd_sse | Vsd,Wsd |
F2 0F 11 /r | movsd_sse | Wsd,Vsd |
66 0F 12 /r | movlpd | Vpd,Mq |
66 0F 13 /r | movlpd | Mq,Vpd |
66 0F 16 /r | movhpd | Vpd,Mq |
66 0F 17 /r | movhpd | Mq,Vpd |
66 0F 28 /r | movapd | Vpd,Wpd |
66 0F 29 /r | movapd | Wpd,Vpd |
66 0F 2A /r | cvtpi2pd | Vpd,Qq |
F2 0F 2A /r | cvtsi2sd | Vsd,Ey |
66 0F 2B /r | movntpd | Mpd,Vpd |
66 0F 2C /r | cvttpd2pi | Pq,Wpd |
F2 0F 2C /r | cvttsd2si | Gy,Wsd |
66 0F 2D /r | cvtpd2pi | Pq,Wpd |
F2 0F 2D /r | cvtsd2si | Gy,Wsd |
66 0F 2E /r | ucomisd | Vsd,Wsd | w=oszapc
66 0F 2F /r | comisd | Vsd,Wsd | w=oszapc
66 0F 50 /r | movmskpd | Gy,Upd |
66 0F 51 /r | sqrtpd | Vpd,Wpd |
F2 0F 51 /r | sqrtsd | Vsd,Wsd |
66 0F C2 /r | cmppd | Vpd,Wpd,Ib |
F2 0F C2 /r | cmpsd_sse | Vsd,Wsd,Ib |
66 0F C6 /r | shufpd | Vpd,Wpd,Ib |
NP 0F 5A /r | cvtps2pd | Vpd,Wq |
66 0F 5A /r | cvtpd2ps | Vps,Wpd |
F3 0F 5A /r | cvtss2sd | Vsd,Wss |
F2 0F 5A /r | cvtsd2ss | Vss,Wsd |
NP 0F 5B /r | cvtdq2ps | Vps,Wdq |
66 0F 5B /r | cvtps2dq | Vdq,Wps |
F3 0F 5B /r | cvttps2dq | Vdq,Wps |
66 0F E6 /r | cvttpd2dq | Vdq,Wpd |
F3 0F E6 /r | cvtdq2pd | Vpd,Wq |
F2 0F E6 /r | cvtpd2dq | Vdq,Wpd |
@sse3
F2 0F 12 /r | movddup | Vpd,Wq |
F3 0F 12 /r | movsldup | Vps,Wps |
F3 0F 16 /r | movshdup | Vps,Wps |
66 0F 7C /r | haddpd | Vpd,Wpd |
F2 0F 7C /r | haddps | Vps,Wps |
66 0F 7D /r | hsubpd | Vpd,Wpd |
F2 0F 7D /r | hsubps | Vps,Wps |
66 0F D0 /r | addsubpd | Vpd,Wpd |
F2 0F D0 /r | addsubps | Vps,Wps |
F2 0F F0 /r | lddqu | Vdq,Mdq |
@ssse3
NP 0F 3A 0F /r | palignr | Pq,Qq,Ib |
66 0F 3A 0F /r | palignr | Vdq,Wdq,Ib |
@sse4_1
66 0F 38 10 /r | pblendvb | Vdq,Wdq,XMM0 |
66 0F 38 14 /r | blendvps | Vps,Wps,XMM0 |
66 0F 38 15 /r | blendvpd | Vpd,Wpd,XMM0 |
66 0F 38 17 /r | ptest | Vdq,Wdq | w=oszapc
66 0F 38 2A /r | movntdqa | Vdq,Mdq |
66 0F 38 41 /r | phminposuw | Vdq,Wdq |
66 0F 3A 08 /r | roundps | Vps,Wps,Ib |
66 0F 3A 09 /r | roundpd | Vpd,Wpd,Ib |
66 0F 3A 0A /r | roundss | Vss,Wss,Ib |
66 0F 3A 0B /r | roundsd | Vsd,Wsd,Ib |
66 0F 3A 0C /r | blendps | Vps,Wps,Ib |
66 0F 3A 0D /r | blendpd | Vpd,Wpd,Ib |
66 0F 3A 0E /r | pblendw | Vdq,Wdq,Ib |
66 0F 3A 14 /r | pextrb | RyMb,Vdq,Ib |
66 0F 3A 15 /r | pextrw | RyMw,Vdq,Ib |
66 REX.W 0F 3A 16 /r | pextrq | Ey,Vdq,Ib | o64
66 0F 3A 16 /r | pextrd | Ey,Vdq,Ib |
66 0F 3A 17 /r | extractps | RyMd,Vps,Ib |
66 0F 3A 20 /r | pinsrb | Vdq,RyMb,Ib |
66 0F 3A 21 /r | insertps | Vps,Wd,Ib |
66 REX.W 0F 3A 22 /r | pinsrq | Vdq,Ey,Ib | o64
66 0F 3A 22 /r | pinsrd | Vdq,Ey,Ib |
66 0F 3A 40 /r | dpps | Vps,Wps,Ib |
66 0F 3A 41 /r | dppd | Vpd,Wpd,Ib |
66 0F 3A 42 /r | mpsadbw | Vdq,Wdq,Ib |
@sse4_2
66 0F 38 37 /r | pcmpgtq | Vdq,Wdq |
66 0F 3A 60 /r | pcmpestrm | Vdq,Wdq,Ib | w=oszapc
66 0F 3A 61 /r | pcmpestri | Vdq,Wdq,Ib | w=oszapc
66 0F 3A 62 /r | pcmpistrm | Vdq,Wdq,Ib | w=oszapc
66 0F 3A 63 /r | pcmpistri | Vdq,Wdq,Ib | w=oszapc
@aes
66 0F 38 DB /r | aesimc | Vdq,Wdq |
66 0F 38 DC /r | aesenc | Vdq,Wdq |
66 0F 38 DD /r | aesenclast | Vdq,Wdq |
66 0F 38 DE /r | aesdec | Vdq,Wdq |
66 0F 38 DF /r | aesdeclast | Vdq,Wdq |
66 0F 3A DF /r | aeskeygenassist | Vdq,Wdq,Ib |
@pclmulqdq
66 0F 3A 44 /r | pclmulqdq | Vdq,Wdq,Ib |
@sha_ni
NP 0F 38 C8 /r | sha1nexte | Vdq,Wdq |
NP 0F 38 C9 /r | sha1msg1 | Vdq,Wdq |
NP 0F 38 CA /r | sha1msg2 | Vdq,Wdq |
NP 0F 38 CB /r | sha256rnds2 | Vdq,Wdq,XMM0 |
NP 0F 38 CC /r | sha256msg1 | Vdq,Wdq |
NP 0F 38 CD /r | sha256msg2 | Vdq,Wdq |
NP 0F 3A CC /r | sha1rnds4 | Vdq,Wdq,Ib |
`;
