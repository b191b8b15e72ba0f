/** VEX-encoded opcodes: AVX, AVX2, FMA, F16C, BMI1, BMI2, VAES, VPCLMULQDQ (SDM vol. 2, tables ). */
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

function packed(map: string, operations: readonly PackedOperation[], operands: string): string {
  return operations
    .map(({ opcode, mnemonic }) => `VEX.66.${map}.WIG ${opcode} /r | v${mnemonic} | ${operands} |`)
    .join('\n');
}

const FLOATS = [
  ...[...FLOAT_ALL, ...FLOAT_PACKED].map(
    ({ opcode, mnemonic }) => `
      VEX.NP.0F.WIG ${opcode} /r | v${mnemonic}ps | Vps,Hps,Wps |
      VEX.66.0F.WIG ${opcode} /r | v${mnemonic}pd | Vpd,Hpd,Wpd |`,
  ),
  ...FLOAT_ALL.map(
    ({ opcode, mnemonic }) => `
      VEX.LIG.F3.0F.WIG ${opcode} /r | v${mnemonic}ss | Vss,Hss,Wss |
      VEX.LIG.F2.0F.WIG ${opcode} /r | v${mnemonic}sd | Vsd,Hsd,Wsd |`,
  ),
].join('');

const IMMEDIATE_SHIFTS = PACKED_SHIFT_IMMEDIATE.map(
  ([opcode, digit, mnemonic]) => `VEX.66.0F.WIG ${opcode} /${digit} | v${mnemonic} | Hx,Ux,Ib |`,
).join('\n');

const WIDENING = PACKED_WIDEN.map(
  ({ opcode, mnemonic, source }) => `VEX.66.0F38.WIG ${opcode} /r | v${mnemonic} | Vx,W${source} |`,
).join('\n');

/** Fused multiply-add: rows 9x, Ax, Bx of 0F 38 are the operand orders 132, 213, 231. */
const FUSED = (['132', '213', '231'] as const)
  .flatMap((order, index) => {
    const op = (low: string) => `${'9AB'.charAt(index)}${low}`;
    const packedRows = [
      ['6', `vfmaddsub${order}p`],
      ['7', `vfmsubadd${order}p`],
      ['8', `vfmadd${order}p`],
      ['A', `vfmsub${order}p`],
      ['C', `vfnmadd${order}p`],
      ['E', `vfnmsub${order}p`],
    ].map(
      ([low = '', name]) => `
        VEX.66.0F38.W0 ${op(low)} /r | ${name}s | Vps,Hps,Wps |
        VEX.66.0F38.W1 ${op(low)} /r | ${name}d | Vpd,Hpd,Wpd |`,
    );
    const scalarRows = [
      ['9', `vfmadd${order}s`],
      ['B', `vfmsub${order}s`],
      ['D', `vfnmadd${order}s`],
      ['F', `vfnmsub${order}s`],
    ].map(
      ([low = '', name]) => `
        VEX.LIG.66.0F38.W0 ${op(low)} /r | ${name}s | Vss,Hss,Wss |
        VEX.LIG.66.0F38.W1 ${op(low)} /r | ${name}d | Vsd,Hsd,Wsd |`,
    );
    return [...packedRows, ...scalarRows];
  })
  .join('');

export const VEX_OPCODES = `
@avx/avx2
${packed('0F', PACKED_MMX, 'Vx,Hx,Wx')}
${packed('0F', PACKED_UNPACK_LOW, 'Vx,Hx,Wx')}
${packed('0F', PACKED_SHIFT, 'Vx,Hx,Wdq')}
${packed('0F', PACKED_MMX_SSE, 'Vx,Hx,Wx')}
${packed('0F', PACKED_MMX_SSE2, 'Vx,Hx,Wx')}
${packed('0F', PACKED_SSE2, 'Vx,Hx,Wx')}
${packed('0F38', PACKED_SSSE3, 'Vx,Hx,Wx')}
${packed('0F38', PACKED_ABSOLUTE, 'Vx,Wx')}
${packed('0F38', PACKED_SSE4_1, 'Vx,Hx,Wx')}
${IMMEDIATE_SHIFTS}
${WIDENING}
VEX.66.0F.WIG 73 /3 | vpsrldq | Hx,Ux,Ib |
VEX.66.0F.WIG 73 /7 | vpslldq | Hx,Ux,Ib |
VEX.66.0F.WIG 70 /r | vpshufd | Vx,Wx,Ib |
VEX.F3.0F.WIG 70 /r | vpshufhw | Vx,Wx,Ib |
VEX.F2.0F.WIG 70 /r | vpshuflw | Vx,Wx,Ib |
VEX.66.0F.WIG D7 /r | vpmovmskb | Gy,Ux |
VEX.66.0F38.WIG 2A /r | vmovntdqa | Vx,Mx |
VEX.66.0F38.WIG 37 /r | vpcmpgtq | Vx,Hx,Wx |
VEX.66.0F3A.WIG 0E /r | vpblendw | Vx,Hx,Wx,Ib |
VEX.66.0F3A.WIG 0F /r | vpalignr | Vx,Hx,Wx,Ib |
VEX.66.0F3A.WIG 42 /r | vmpsadbw | Vx,Hx,Wx,Ib |
VEX.66.0F3A.W0 4C /r | vpblendvb | Vx,Hx,Wx,Lx |
@avx
${FLOATS}
VEX.NP.0F.WIG 51 /r | vsqrtps | Vps,Wps |
VEX.66.0F.WIG 51 /r | vsqrtpd | Vpd,Wpd |
VEX.LIG.F3.0F.WIG 51 /r | vsqrtss | Vss,Hss,Wss |
VEX.LIG.F2.0F.WIG 51 /r | vsqrtsd | Vsd,Hsd,Wsd |
VEX.NP.0F.WIG 52 /r | vrsqrtps | Vps,Wps |
VEX.LIG.F3.0F.WIG 52 /r | vrsqrtss | Vss,Hss,Wss |
VEX.NP.0F.WIG 53 /r | vrcpps | Vps,Wps |
VEX.LIG.F3.0F.WIG 53 /r | vrcpss | Vss,Hss,Wss |
VEX.NP.0F.WIG C2 /r | vcmpps | Vps,Hps,Wps,Ib |
VEX.66.0F.WIG C2 /r | vcmppd | Vpd,Hpd,Wpd,Ib |
VEX.LIG.F3.0F.WIG C2 /r | vcmpss | Vss,Hss,Wss,Ib |
VEX.LIG.F2.0F.WIG C2 /r | vcmpsd | Vsd,Hsd,Wsd,Ib |
VEX.NP.0F.WIG C6 /r | vshufps | Vps,Hps,Wps,Ib |
VEX.66.0F.WIG C6 /r | vshufpd | Vpd,Hpd,Wpd,Ib |
VEX.NP.0F.WIG 10 /r | vmovups | Vps,Wps |
VEX.NP.0F.WIG 11 /r | vmovups | Wps,Vps |
VEX.66.0F.WIG 10 /r | vmovupd | Vpd,Wpd |
VEX.66.0F.WIG 11 /r | vmovupd | Wpd,Vpd |
VEX.LIG.F3.0F.WIG 10 /r mem | vmovss | Vss,Md |
VEX.LIG.F3.0F.WIG 10 /r reg | vmovss | Vss,Hss,Uss |
VEX.LIG.F3.0F.WIG 11 /r mem | vmovss | Md,Vss |
VEX.LIG.F3.0F.WIG 11 /r reg | vmovss | Uss,Hss,Vss |
VEX.LIG.F2.0F.WIG 10 /r mem | vmovsd | Vsd,Mq |
VEX.LIG.F2.0F.WIG 10 /r reg | vmovsd | Vsd,Hsd,Usd |
VEX.LIG.F2.0F.WIG 11 /r mem | vmovsd | Mq,Vsd |
VEX.LIG.F2.0F.WIG 11 /r reg | vmovsd | Usd,Hsd,Vsd |
VEX.128.NP.0F.WIG 12 /r mem | vmovlps | Vdq,Hdq,Mq |
VEX.128.NP.0F.WIG 12 /r reg | vmovhlps | Vdq,Hdq,Udq |
VEX.128.NP.0F.WIG 13 /r | vmovlps | Mq,Vdq |
VEX.128.NP.0F.WIG 16 /r mem | vmovhps | Vdq,Hdq,Mq |
VEX.128.NP.0F.WIG 16 /r reg | vmovlhps | Vdq,Hdq,Udq |
VEX.128.NP.0F.WIG 17 /r | vmovhps | Mq,Vdq |
VEX.128.66.0F.WIG 12 /r | vmovlpd | Vdq,Hdq,Mq |
VEX.128.66.0F.WIG 13 /r | vmovlpd | Mq,Vdq |
VEX.128.66.0F.WIG 16 /r | vmovhpd | Vdq,Hdq,Mq |
VEX.128.66.0F.WIG 17 /r | vmovhpd | Mq,Vdq |
VEX.128.F2.0F.WIG 12 /r | vmovddup | Vdq,Wq |
VEX.256.F2.0F.WIG 12 /r | vmovddup | Vqq,Wqq |
VEX.F3.0F.WIG 12 /r | vmovsldup | Vps,Wps |
VEX.F3.0F.WIG 16 /r | vmovshdup | Vps,Wps |
VEX.NP.0F.WIG 28 /r | vmovaps | Vps,Wps |
VEX.NP.0F.WIG 29 /r | vmovaps | Wps,Vps |
VEX.66.0F.WIG 28 /r | vmovapd | Vpd,Wpd |
VEX.66.0F.WIG 29 /r | vmovapd | Wpd,Vpd |
VEX.NP.0F.WIG 2B /r | vmovntps | Mps,Vps |
VEX.66.0F.WIG 2B /r | vmovntpd | Mpd,Vpd |
VEX.LIG.F3.0F 2A /r | vcvtsi2ss | Vss,Hss,Ey |
VEX.LIG.F2.0F 2A /r | vcvtsi2sd | Vsd,Hsd,Ey |
VEX.LIG.F3.0F 2C /r | vcvttss2si | Gy,Wss |
VEX.LIG.F2.0F 2C /r | vcvttsd2si | Gy,Wsd |
VEX.LIG.F3.0F 2D /r | vcvtss2si | Gy,Wss |
VEX.LIG.F2.0F 2D /r | vcvtsd2si | Gy,Wsd |
VEX.LIG.NP.0F.WIG 2E /r | vucomiss | Vss,Wss | w=oszapc
VEX.LIG.66.0F.WIG 2E /r | vucomisd | Vsd,Wsd | w=oszapc
VEX.LIG.NP.0F.WIG 2F /r | vcomiss | Vss,Wss | w=oszapc
VEX.LIG.66.0F.WIG 2F /r | vcomisd | Vsd,Wsd | w=oszapc
VEX.NP.0F.WIG 50 /r | vmovmskps | Gy,Ups |
VEX.66.0F.WIG 50 /r | vmovmskpd | Gy,Upd |
VEX.NP.0F.WIG 5A /r | vcvtps2pd | Vpd,Wh |
VEX.66.0F.WIG 5A /r | vcvtpd2ps | Vdq,Wpd |
VEX.LIG.F3.0F.WIG 5A /r | vcvtss2sd | Vsd,Hsd,Wss |
VEX.LIG.F2.0F.WIG 5A /r | vcvtsd2ss | Vss,Hss,Wsd |
VEX.NP.0F.WIG 5B /r | vcvtdq2ps | Vps,Wx |
VEX.66.0F.WIG 5B /r | vcvtps2dq | Vx,Wps |
VEX.F3.0F.WIG 5B /r | vcvttps2dq | Vx,Wps |
VEX.66.0F.WIG E6 /r | vcvttpd2dq | Vdq,Wpd |
VEX.F3.0F.WIG E6 /r | vcvtdq2pd | Vpd,Wh |
VEX.F2.0F.WIG E6 /r | vcvtpd2dq | Vdq,Wpd |
VEX.66.0F.WIG 7C /r | vhaddpd | Vpd,Hpd,Wpd |
VEX.F2.0F.WIG 7C /r | vhaddps | Vps,Hps,Wps |
VEX.66.0F.WIG 7D /r | vhsubpd | Vpd,Hpd,Wpd |
VEX.F2.0F.WIG 7D /r | vhsubps | Vps,Hps,Wps |
VEX.66.0F.WIG D0 /r | vaddsubpd | Vpd,Hpd,Wpd |
VEX.F2.0F.WIG D0 /r | vaddsubps | Vps,Hps,Wps |
VEX.F2.0F.WIG F0 /r | vlddqu | Vx,Mx |
VEX.66.0F.WIG 6F /r | vmovdqa | Vx,Wx |
VEX.66.0F.WIG 7F /r | vmovdqa | Wx,Vx |
VEX.F3.0F.WIG 6F /r | vmovdqu | Vx,Wx |
VEX.F3.0F.WIG 7F /r | vmovdqu | Wx,Vx |
VEX.128.66.0F.W0 6E /r | vmovd | Vdq,Ed |
VEX.128.66.0F.W1 6E /r | vmovq | Vdq,Eq | o64
VEX.128.66.0F.W0 7E /r | vmovd | Ed,Vdq |
VEX.128.66.0F.W1 7E /r | vmovq | Eq,Vdq | o64
VEX.128.F3.0F.WIG 7E /r | vmovq | Vq,Wq |
VEX.128.66.0F.WIG D6 /r | vmovq | Wq,Vq |
VEX.66.0F.WIG E7 /r | vmovntdq | Mx,Vx |
VEX.128.66.0F.WIG F7 /r | vmaskmovdqu | Vdq,Udq,DIdq |
VEX.128.NP.0F.WIG 77 | vzeroupper | |
VEX.256.NP.0F.WIG 77 | vzeroall | |
VEX.LZ.NP.0F.WIG AE /2 | vldmxcsr | Md |
VEX.LZ.NP.0F.WIG AE /3 | vstmxcsr | Md |
VEX.128.66.0F.W0 C4 /r | vpinsrw | Vdq,Hdq,RyMw,Ib |
VEX.128.66.0F.W1 C4 /r | vpinsrw | Vdq,Hdq,RyMw,Ib |
VEX.128.66.0F.WIG C5 /r | vpextrw | Gy,Udq,Ib |
VEX.66.0F38.W0 0C /r | vpermilps | Vps,Hps,Wps |
VEX.66.0F38.W0 0D /r | vpermilpd | Vpd,Hpd,Wpd |
VEX.66.0F38.W0 0E /r | vtestps | Vps,Wps | w=oszapc
VEX.66.0F38.W0 0F /r | vtestpd | Vpd,Wpd | w=oszapc
VEX.66.0F38.WIG 17 /r | vptest | Vx,Wx | w=oszapc
VEX.66.0F38.W0 18 /r mem | vbroadcastss | Vps,Md |
VEX.256.66.0F38.W0 19 /r mem | vbroadcastsd | Vqq,Mq |
VEX.256.66.0F38.W0 1A /r | vbroadcastf128 | Vqq,Mdq |
VEX.66.0F38.W0 2C /r | vmaskmovps | Vps,Hps,Mps |
VEX.66.0F38.W0 2D /r | vmaskmovpd | Vpd,Hpd,Mpd |
VEX.66.0F38.W0 2E /r | vmaskmovps | Mps,Hps,Vps |
VEX.66.0F38.W0 2F /r | vmaskmovpd | Mpd,Hpd,Vpd |
VEX.128.66.0F38.WIG 41 /r | vphminposuw | Vdq,Wdq |
VEX.66.0F3A.W0 04 /r | vpermilps | Vps,Wps,Ib |
VEX.66.0F3A.W0 05 /r | vpermilpd | Vpd,Wpd,Ib |
VEX.256.66.0F3A.W0 06 /r | vperm2f128 | Vqq,Hqq,Wqq,Ib |
VEX.66.0F3A.WIG 08 /r | vroundps | Vps,Wps,Ib |
VEX.66.0F3A.WIG 09 /r | vroundpd | Vpd,Wpd,Ib |
VEX.LIG.66.0F3A.WIG 0A /r | vroundss | Vss,Hss,Wss,Ib |
VEX.LIG.66.0F3A.WIG 0B /r | vroundsd | Vsd,Hsd,Wsd,Ib |
VEX.66.0F3A.WIG 0C /r | vblendps | Vps,Hps,Wps,Ib |
VEX.66.0F3A.WIG 0D /r | vblendpd | Vpd,Hpd,Wpd,Ib |
VEX.128.66.0F3A 14 /r | vpextrb | RyMb,Vdq,Ib |
VEX.128.66.0F3A 15 /r | vpextrw | RyMw,Vdq,Ib |
VEX.128.66.0F3A.W0 16 /r | vpextrd | Ed,Vdq,Ib |
VEX.128.66.0F3A.W1 16 /r | vpextrq | Eq,Vdq,Ib | o64
VEX.128.66.0F3A 17 /r | vextractps | RyMd,Vdq,Ib |
VEX.256.66.0F3A.W0 18 /r | vinsertf128 | Vqq,Hqq,Wdq,Ib |
VEX.256.66.0F3A.W0 19 /r | vextractf128 | Wdq,Vqq,Ib |
VEX.128.66.0F3A 20 /r | vpinsrb | Vdq,Hdq,RyMb,Ib |
VEX.128.66.0F3A.WIG 21 /r | vinsertps | Vdq,Hdq,Wd,Ib |
VEX.128.66.0F3A.W0 22 /r | vpinsrd | Vdq,Hdq,Ed,Ib |
VEX.128.66.0F3A.W1 22 /r | vpinsrq | Vdq,Hdq,Eq,Ib | o64
VEX.66.0F3A.WIG 40 /r | vdpps | Vps,Hps,Wps,Ib |
VEX.128.66.0F3A.WIG 41 /r | vdppd | Vdq,Hdq,Wdq,Ib |
VEX.66.0F3A.W0 4A /r | vblendvps | Vps,Hps,Wps,Lx |
VEX.66.0F3A.W0 4B /r | vblendvpd | Vpd,Hpd,Wpd,Lx |
VEX.128.66.0F3A.WIG 60 /r | vpcmpestrm | Vdq,Wdq,Ib | w=oszapc
VEX.128.66.0F3A.WIG 61 /r | vpcmpestri | Vdq,Wdq,Ib | w=oszapc
VEX.128.66.0F3A.WIG 62 /r | vpcmpistrm | Vdq,Wdq,Ib | w=oszapc
VEX.128.66.0F3A.WIG 63 /r | vpcmpistri | Vdq,Wdq,Ib | w=oszapc
@avx2
VEX.256.66.0F3A.W1 00 /r | vpermq | Vqq,Wqq,Ib |
VEX.256.66.0F3A.W1 01 /r | vpermpd | Vqq,Wqq,Ib |
VEX.66.0F3A.W0 02 /r | vpblendd | Vx,Hx,Wx,Ib |
VEX.256.66.0F3A.W0 38 /r | vinserti128 | Vqq,Hqq,Wdq,Ib |
VEX.256.66.0F3A.W0 39 /r | vextracti128 | Wdq,Vqq,Ib |
VEX.256.66.0F3A.W0 46 /r | vperm2i128 | Vqq,Hqq,Wqq,Ib |
VEX.256.66.0F38.W0 16 /r | vpermps | Vqq,Hqq,Wqq |
VEX.256.66.0F38.W0 36 /r | vpermd | Vqq,Hqq,Wqq |
VEX.66.0F38.W0 18 /r reg | vbroadcastss | Vps,Udq |
VEX.256.66.0F38.W0 19 /r reg | vbroadcastsd | Vqq,Udq |
VEX.256.66.0F38.W0 5A /r | vbroadcasti128 | Vqq,Mdq |
VEX.66.0F38.W0 58 /r | vpbroadcastd | Vx,Wd |
VEX.66.0F38.W0 59 /r | vpbroadcastq | Vx,Wq |
VEX.66.0F38.W0 78 /r | vpbroadcastb | Vx,Wb |
VEX.66.0F38.W0 79 /r | vpbroadcastw | Vx,Ww |
VEX.66.0F38.W0 45 /r | vpsrlvd | Vx,Hx,Wx |
VEX.66.0F38.W1 45 /r | vpsrlvq | Vx,Hx,Wx |
VEX.66.0F38.W0 46 /r | vpsravd | Vx,Hx,Wx |
VEX.66.0F38.W0 47 /r | vpsllvd | Vx,Hx,Wx |
VEX.66.0F38.W1 47 /r | vpsllvq | Vx,Hx,Wx |
VEX.66.0F38.W0 8C /r | vpmaskmovd | Vx,Hx,Mx |
VEX.66.0F38.W1 8C /r | vpmaskmovq | Vx,Hx,Mx |
VEX.66.0F38.W0 8E /r | vpmaskmovd | Mx,Hx,Vx |
VEX.66.0F38.W1 8E /r | vpmaskmovq | Mx,Hx,Vx |
VEX.66.0F38.W0 90 /r | vpgatherdd | Vx,VMd,Hx |
VEX.66.0F38.W1 90 /r | vpgatherdq | Vx,VMq,Hx |
VEX.66.0F38.W0 91 /r | vpgatherqd | Vdq,VMd,Hdq |
VEX.66.0F38.W1 91 /r | vpgatherqq | Vx,VMq,Hx |
VEX.66.0F38.W0 92 /r | vgatherdps | Vx,VMd,Hx |
VEX.66.0F38.W1 92 /r | vgatherdpd | Vx,VMq,Hx |
VEX.66.0F38.W0 93 /r | vgatherqps | Vdq,VMd,Hdq |
VEX.66.0F38.W1 93 /r | vgatherqpd | Vx,VMq,Hx |
@fma
${FUSED}
@f16c
VEX.66.0F38.W0 13 /r | vcvtph2ps | Vps,Wh |
VEX.66.0F3A.W0 1D /r | vcvtps2ph | Wh,Vps,Ib |
@bmi1
VEX.LZ.NP.0F38 F2 /r | andn | Gy,By,Ey | w=oszc u=ap
VEX.LZ.NP.0F38 F3 /1 | blsr | By,Ey | w=oszc u=ap
VEX.LZ.NP.0F38 F3 /2 | blsmsk | By,Ey | w=oszc u=ap
VEX.LZ.NP.0F38 F3 /3 | blsi | By,Ey | w=oszc u=ap
VEX.LZ.NP.0F38 F7 /r | bextr | Gy,Ey,By | w=ozc u=sap
@bmi2
VEX.LZ.NP.0F38 F5 /r | bzhi | Gy,Ey,By | w=oszc u=ap
VEX.LZ.F3.0F38 F5 /r | pext | Gy,By,Ey |
VEX.LZ.F2.0F38 F5 /r | pdep | Gy,By,Ey |
VEX.LZ.F2.0F38 F6 /r | mulx | Gy,By,Ey |
VEX.LZ.66.0F38 F7 /r | shlx | Gy,Ey,By |
VEX.LZ.F3.0F38 F7 /r | sarx | Gy,Ey,By |
VEX.LZ.F2.0F38 F7 /r | shrx | Gy,Ey,By |
VEX.LZ.F2.0F3A F0 /r | rorx | Gy,Ey,Ib |
@aes+avx/vaes+avx
VEX.66.0F38.WIG DC /r | vaesenc | Vx,Hx,Wx |
VEX.66.0F38.WIG DD /r | vaesenclast | Vx,Hx,Wx |
VEX.66.0F38.WIG DE /r | vaesdec | Vx,Hx,Wx |
VEX.66.0F38.WIG DF /r | vaesdeclast | Vx,Hx,Wx |
@aes+avx
VEX.128.66.0F38.WIG DB /r | vaesimc | Vdq,Wdq |
VEX.128.66.0F3A.WIG DF /r | vaeskeygenassist | Vdq,Wdq,Ib |
@pclmulqdq+avx/vpclmulqdq+avx
VEX.66.0F3A.WIG 44 /r | vpclmulqdq | Vx,Hx,Wx,Ib |
`;
