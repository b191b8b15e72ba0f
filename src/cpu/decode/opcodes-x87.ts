/** x87 escape opcodes D8..DF (SDM vol. 2, tables ), with the undocumented aliases every CPU decodes. */

const ARITHMETIC = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'] as const;

function memoryRows(opcode: string, prefix: string, width: string): string {
  return ARITHMETIC.map((name, digit) => {
    const integer = prefix === '' ? name : name.replace(/^f/, 'fi');
    return `${opcode} /${digit} mem | ${integer} | M${width} |`;
  }).join('\n');
}

function registerRows(opcode: string, names: readonly string[], operands: string): string {
  return names
    .map((name, digit) => `${opcode} ${(0xc0 + digit * 8).toString(16).toUpperCase()}+i | ${name} | ${operands} |`)
    .join('\n');
}

/** D9 E0..FF without operands; "-" where the encoding is undefined. */
const CONSTANTS_AND_FUNCTIONS = `
  fchs fabs - - ftst fxam - - fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz -
  f2xm1 fyl2x fptan fpatan fxtract fprem1 fdecstp fincstp fprem fyl2xp1 fsqrt fsincos frndint fscale fsin fcos`
  .trim()
  .split(/\s+/)
  .map((name, index) => (name === '-' ? '' : `D9 ${(0xe0 + index).toString(16).toUpperCase()} | ${name} | |`))
  .join('\n');

export const X87_OPCODES = `
@fpu
${memoryRows('D8', '', 'd')}
${memoryRows('DA', 'i', 'd')}
${memoryRows('DC', '', 'q')}
${memoryRows('DE', 'i', 'w')}
${registerRows('D8', ARITHMETIC, 'ST0,STi')}
${registerRows('DC', ['fadd', 'fmul'], 'STi,ST0')}
DC D0+i | fcom | ST0,STi |
DC D8+i | fcomp | ST0,STi |
DC E0+i | fsubr | STi,ST0 |
DC E8+i | fsub | STi,ST0 |
DC F0+i | fdivr | STi,ST0 |
DC F8+i | fdiv | STi,ST0 |
DE C0+i | faddp | STi,ST0 |
DE C8+i | fmulp | STi,ST0 |
DE D0+i | fcomp | ST0,STi |
DE D9 | fcompp | |
DE E0+i | fsubrp | STi,ST0 |
DE E8+i | fsubp | STi,ST0 |
DE F0+i | fdivrp | STi,ST0 |
DE F8+i | fdivp | STi,ST0 |
D9 /0 mem | fld | Md |
D9 /2 mem | fst | Md |
D9 /3 mem | fstp | Md |
D9 /4 mem | fldenv | M |
D9 /5 mem | fldcw | Mw |
D9 /6 mem | fnstenv | M |
D9 /7 mem | fnstcw | Mw |
D9 C0+i | fld | STi |
D9 C8+i | fxch | ST0,STi |
D9 D0 | fnop | |
D9 D8+i | fstp1 | STi |
${CONSTANTS_AND_FUNCTIONS}
DA E9 | fucompp | |
DB /0 mem | fild | Md |
DB /2 mem | fist | Md |
DB /3 mem | fistp | Md |
DB /5 mem | fld | Mt |
DB /7 mem | fstp | Mt |
DB E0 | fneni | |
DB E1 | fndisi | |
DB E2 | fnclex | |
DB E3 | fninit | |
DB E4 | fnsetpm | |
DD /0 mem | fld | Mq |
DD /2 mem | fst | Mq |
DD /3 mem | fstp | Mq |
DD /4 mem | frstor | M |
DD /6 mem | fnsave | M |
DD /7 mem | fnstsw | Mw |
DD C0+i | ffree | STi |
DD C8+i | fxch | ST0,STi |
DD D0+i | fst | STi |
DD D8+i | fstp | STi |
DD E0+i | fucom | ST0,STi |
DD E8+i | fucomp | ST0,STi |
DF /0 mem | fild | Mw |
DF /2 mem | fist | Mw |
DF /3 mem | fistp | Mw |
DF /4 mem | fbld | Mt |
DF /5 mem | fild | Mq |
DF /6 mem | fbstp | Mt |
DF /7 mem | fistp | Mq |
DF C0+i | ffreep | STi |
DF C8+i | fxch | ST0,STi |
DF D0+i | fstp | STi |
DF D8+i | fstp | STi |
DF E0 | fnstsw | AX |
9B | fwait | |
DB E8+i | fucomi | ST0,STi | w=oszapc
DB F0+i | fcomi | ST0,STi | w=oszapc
DF E8+i | fucomip | ST0,STi | w=oszapc
DF F0+i | fcomip | ST0,STi | w=oszapc
@sse3
DB /1 mem | fisttp | Md |
DD /1 mem | fisttp | Mq |
DF /1 mem | fisttp | Mw |
@cmov+fpu
DA C0+i | fcmovb | ST0,STi | r=c
DA C8+i | fcmove | ST0,STi | r=z
DA D0+i | fcmovbe | ST0,STi | r=cz
DA D8+i | fcmovu | ST0,STi | r=p
DB C0+i | fcmovnb | ST0,STi | r=c
DB C8+i | fcmovne | ST0,STi | r=z
DB D0+i | fcmovnbe | ST0,STi | r=cz
DB D8+i | fcmovnu | ST0,STi | r=p
`;
