/** One-byte opcodes (SDM vol. 2, table A-2 and groups 1..5, 11). */
import { hexByte } from './opcode-notation.ts';

const ARITHMETIC: readonly (readonly [name: string, attributes: string])[] = [
  ['add', 'w=oszapc'],
  ['or', 'w=oszpc u=a'],
  ['adc', 'r=c w=oszapc'],
  ['sbb', 'r=c w=oszapc'],
  ['and', 'w=oszpc u=a'],
  ['sub', 'w=oszapc'],
  ['xor', 'w=oszpc u=a'],
  ['cmp', 'w=oszapc'],
];

function arithmeticRows(index: number, name: string, flags: string): string {
  const memory = name === 'cmp' ? flags : `lock ${flags}`;
  const op = (offset: number) => hexByte(index * 8 + offset);
  return `
    ${op(0)} /r | ${name} | Eb,Gb | ${memory}
    ${op(1)} /r | ${name} | Ev,Gv | ${memory}
    ${op(2)} /r | ${name} | Gb,Eb | ${flags}
    ${op(3)} /r | ${name} | Gv,Ev | ${flags}
    ${op(4)} | ${name} | AL,Ib | ${flags}
    ${op(5)} | ${name} | rAX,Iz | ${flags}
    80 /${index} | ${name} | Eb,Ib | ${memory}
    81 /${index} | ${name} | Ev,Iz | ${memory}
    82 /${index} | ${name} | Eb,Ib | ${memory} i64
    83 /${index} | ${name} | Ev,sIb | ${memory}`;
}

/** Group 2. A masked count of 0 leaves every flag alone; OF is defined for a count of 1 only. */
const SHIFTS: readonly (readonly [digit: number, name: string, byOne: string, byCount: string])[] = [
  [0, 'rol', 'w=oc', 'w=oc u=o m=oc'],
  [1, 'ror', 'w=oc', 'w=oc u=o m=oc'],
  [2, 'rcl', 'r=c w=oc', 'r=c w=oc u=o m=oc'],
  [3, 'rcr', 'r=c w=oc', 'r=c w=oc u=o m=oc'],
  [4, 'shl', 'w=oszpc u=a', 'w=oszpc u=oa m=oszapc'],
  [5, 'shr', 'w=oszpc u=a', 'w=oszpc u=oa m=oszapc'],
  [6, 'shl', 'w=oszpc u=a', 'w=oszpc u=oa m=oszapc'],
  [7, 'sar', 'w=oszpc u=a', 'w=oszpc u=oa m=oszapc'],
];

function shiftRows(digit: number, name: string, byOne: string, byCount: string): string {
  return `
    C0 /${digit} | ${name} | Eb,Ib | ${byCount}
    C1 /${digit} | ${name} | Ev,Ib | ${byCount}
    D0 /${digit} | ${name} | Eb,1 | ${byOne}
    D1 /${digit} | ${name} | Ev,1 | ${byOne}
    D2 /${digit} | ${name} | Eb,CL | ${byCount}
    D3 /${digit} | ${name} | Ev,CL | ${byCount}`;
}

export const ONE_BYTE_OPCODES = `
${ARITHMETIC.map(([name, flags], index) => arithmeticRows(index, name, flags)).join('')}
${SHIFTS.map((shift) => shiftRows(...shift)).join('')}
06 | push_seg | ES | i64
07 | pop_seg | ES | i64 ends
0E | push_seg | CS | i64
16 | push_seg | SS | i64
17 | pop_seg | SS | i64 ends
1E | push_seg | DS | i64
1F | pop_seg | DS | i64 ends
27 | daa | | i64 r=ac w=szapc u=o
2F | das | | i64 r=ac w=szapc u=o
37 | aaa | | i64 r=a w=ac u=oszp
3F | aas | | i64 r=a w=ac u=oszp
40+r | inc | Zv | i64 w=oszap
48+r | dec | Zv | i64 w=oszap
50+r | push | Zv | d64
58+r | pop | Zv | d64
60 | pusha | | i64
61 | popa | | i64
62 /r | bound | Gv,Ma | i64
63 /r | arpl | Ew,Gw | i64 w=z
63 /r | movsxd | Gv,Ez | o64
68 | push | Iz | d64
69 /r | imul | Gv,Ev,Iz | w=oc u=szap
6A | push | sIb | d64
6B /r | imul | Gv,Ev,sIb | w=oc u=szap
6C | ins | Yb,DX | rep r=d
6D | ins | Yz,DX | rep r=d
6E | outs | DX,Xb | rep r=d
6F | outs | DX,Xz | rep r=d
70+cc | jcc | Jb | f64 ends
84 /r | test | Eb,Gb | w=oszpc u=a
85 /r | test | Ev,Gv | w=oszpc u=a
86 /r | xchg | Eb,Gb | lock
87 /r | xchg | Ev,Gv | lock
88 /r | mov | Eb,Gb |
89 /r | mov | Ev,Gv |
8A /r | mov | Gb,Eb |
8B /r | mov | Gv,Ev |
8C /r | mov_seg | RvMw,Sw |
8D /r | lea | Gv,M |
8E /r | mov_seg | Sw,Ew | ends
8F /0 | pop | Ev | d64
F3 90 REX.B0 | pause | |
90 REX.B0 | nop | |
90+r | xchg | Zv,rAX |
98 | cbw | |
99 | cwd | |
9A | call_far | Ap | i64 ends
9C | pushf | | d64 r=oszapcdit
9D | popf | | d64 w=oszapcdit m=i
9E | sahf | | i64 w=szapc
9F | lahf | | i64 r=szapc
A0 | mov | AL,Ob |
A1 | mov | rAX,Ov |
A2 | mov | Ob,AL |
A3 | mov | Ov,rAX |
A4 | movs | Yb,Xb | rep r=d
A5 | movs | Yv,Xv | rep r=d
A6 | cmps | Xb,Yb | rep r=d w=oszapc m=oszapc
A7 | cmps | Xv,Yv | rep r=d w=oszapc m=oszapc
A8 | test | AL,Ib | w=oszpc u=a
A9 | test | rAX,Iz | w=oszpc u=a
AA | stos | Yb,AL | rep r=d
AB | stos | Yv,rAX | rep r=d
AC | lods | AL,Xb | rep r=d
AD | lods | rAX,Xv | rep r=d
AE | scas | AL,Yb | rep r=d w=oszapc m=oszapc
AF | scas | rAX,Yv | rep r=d w=oszapc m=oszapc
B0+r | mov | Zb,Ib |
B8+r | mov | Zv,Iv |
C2 | ret | Iw | f64 ends
C3 | ret | | f64 ends
C4 /r | les | Gz,Mp | i64 ends
C5 /r | lds | Gz,Mp | i64 ends
C6 /0 | mov | Eb,Ib |
C7 /0 | mov | Ev,Iz |
C8 | enter | Iw,Ib | d64
C9 | leave | | d64
CA | ret_far | Iw | ends
CB | ret_far | | ends
CC | int3 | | ends
CD | int | Ib | ends
CE | into | | i64 ends r=o
CF | iret | | ends w=oszapcdit m=i
D4 | aam | Ib | i64 w=szp u=oac
D5 | aad | Ib | i64 w=szp u=oac
D6 | salc | | i64 r=c
D7 | xlat | BBb |
E0 | loopne | Jb | f64 ends r=z
E1 | loope | Jb | f64 ends r=z
E2 | loop | Jb | f64 ends
E3 | jcxz | Jb | f64 ends
E4 | in | AL,Ib |
E5 | in | eAX,Ib |
E6 | out | Ib,AL |
E7 | out | Ib,eAX |
E8 | call | Jz | f64 ends
E9 | jmp | Jz | f64 ends
EA | jmp_far | Ap | i64 ends
EB | jmp | Jb | f64 ends
EC | in | AL,DX |
ED | in | eAX,DX |
EE | out | DX,AL |
EF | out | DX,eAX |
F1 | int1 | | ends
F4 | hlt | | cpl0 ends
F5 | cmc | | r=c w=c
F6 /0 | test | Eb,Ib | w=oszpc u=a
F6 /1 | test | Eb,Ib | w=oszpc u=a
F6 /2 | not | Eb | lock
F6 /3 | neg | Eb | lock w=oszapc
F6 /4 | mul | Eb | w=oc u=szap
F6 /5 | imul | Eb | w=oc u=szap
F6 /6 | div | Eb | u=oszapc
F6 /7 | idiv | Eb | u=oszapc
F7 /0 | test | Ev,Iz | w=oszpc u=a
F7 /1 | test | Ev,Iz | w=oszpc u=a
F7 /2 | not | Ev | lock
F7 /3 | neg | Ev | lock w=oszapc
F7 /4 | mul | Ev | w=oc u=szap
F7 /5 | imul | Ev | w=oc u=szap
F7 /6 | div | Ev | u=oszapc
F7 /7 | idiv | Ev | u=oszapc
F8 | clc | | w=c
F9 | stc | | w=c
FA | cli | | w=i
FB | sti | | w=i
FC | cld | | w=d
FD | std | | w=d
FE /0 | inc | Eb | lock w=oszap
FE /1 | dec | Eb | lock w=oszap
FF /0 | inc | Ev | lock w=oszap
FF /1 | dec | Ev | lock w=oszap
FF /2 | call | Ev | f64 ends
FF /3 | call_far | Mp | ends
FF /4 | jmp | Ev | f64 ends
FF /5 | jmp_far | Mp | ends
FF /6 | push | Ev | d64
@lahf_lm
9E | sahf | | o64 w=szapc
9F | lahf | | o64 r=szapc
`;
