/** The opcode tables unfolded: one entry for each row, mode, register or memory form, width and prefix. */
import { type Encoding, PREFIX, parseEncoding } from '../../src/cpu/decode/opcode-notation.ts';
import { METHOD, type OperandSpec, parseOperand, WIDTH } from '../../src/cpu/decode/operands.ts';
import type { OpcodeRow } from '../../src/cpu/decode/types.ts';
import { excluded } from './exclusions.ts';

export type FormPrefix = '' | 'lock' | 'rep' | 'repne';
export type FormWidth = '' | '66' | 'w';

export interface Form {
  /** e.g. "64 add Ev,Gv mem 66 lock": unique together with the row's opcode. */
  readonly name: string;
  readonly row: OpcodeRow;
  readonly encoding: Encoding;
  readonly operands: readonly OperandSpec[];
  readonly mode: 64 | 32;
  /** 'none': no ModRM byte. */
  readonly kind: 'mem' | 'reg' | 'none';
  readonly width: FormWidth;
  readonly prefix: FormPrefix;
  readonly vexL: 0 | 1;
  readonly vexW: 0 | 1;
  readonly usesVectors: boolean;
  readonly usesX87: boolean;
  readonly usesMmx: boolean;
}

export interface FormFilter {
  readonly mode?: 64 | 32;
  /** Only these mnemonics. */
  readonly only?: ReadonlySet<string>;
  /** Only rows whose CPUID features are all among these. */
  readonly features?: ReadonlySet<string>;
  /** Also rows that the host does not run (exclusions.ts). */
  readonly all?: boolean;
}

const SIZED = new Set<number>([WIDTH.v, WIDTH.z]);
/** Rows without a sized operand that the operand size prefix changes all the same. */
const SIZED_IMPLICITLY =
  /^(cbw|cwd|push_seg|pusha|popa|pushf|popf|leave|enter|jcc|jcxz|loop.*|ret|call|jmp|ret_far|iret|pop_seg|call_far|jmp_far|l[defgs]s)$/;

export function enumerateForms(rows: readonly OpcodeRow[], filter: FormFilter = {}): Form[] {
  const forms: Form[] = [];
  for (const row of rows) {
    if (!filter.all && excluded(row) !== undefined) continue;
    if (filter.only !== undefined && !filter.only.has(row.mnemonic)) continue;
    const needed = row.feature?.split('+') ?? [];
    if (filter.features !== undefined && !needed.every((name) => filter.features!.has(name))) continue;
    const encoding = parseEncoding(row);
    for (const mode of [64, 32] as const) {
      if (filter.mode !== undefined && filter.mode !== mode) continue;
      if (row.only === (mode === 64 ? 'i64' : 'o64')) continue;
      addForms(forms, encoding, mode);
    }
  }
  return forms;
}

function addForms(forms: Form[], encoding: Encoding, mode: 64 | 32): void {
  const { row } = encoding;
  const operands = row.operands.map(parseOperand);
  const methods = operands.map((operand) => operand.method);
  const uses = (...wanted: number[]) => methods.some((method) => wanted.includes(method));
  const has = (codes: RegExp) => row.operands.some((code) => codes.test(code));
  const kinds: Form['kind'][] = [];
  if (!encoding.modrm) kinds.push('none');
  if (encoding.modrm && encoding.mods & 1) kinds.push('mem');
  if (encoding.modrm && encoding.mods & 2) kinds.push('reg');
  const common = {
    row,
    encoding,
    operands,
    mode,
    usesVectors:
      uses(METHOD.vectorReg, METHOD.vectorRm, METHOD.vectorVvvv, METHOD.vectorIs4, METHOD.xmm0, METHOD.vsib) ||
      /^vzero/.test(row.mnemonic),
    usesX87: row.opcode === '9B' || /^D[89A-F]\b/.test(row.opcode),
    usesMmx: uses(METHOD.mmxReg, METHOD.mmxRm) || row.mnemonic === 'emms',
  };
  for (const kind of kinds) {
    const prefixes: FormPrefix[] = [''];
    if (row.lock && kind === 'mem') prefixes.push('lock');
    if (row.repeats) prefixes.push('rep', 'repne');
    const ls = encoding.vex ? ([0, 1] as const).filter((l) => encoding.ls & (1 << l)) : ([0] as const);
    const ws = encoding.vex ? ([0, 1] as const).filter((w) => encoding.ws & (1 << w)) : ([0] as const);
    for (const width of encoding.vex ? ([''] as const) : widthsOf(encoding, operands, mode, has)) {
      for (const prefix of prefixes) {
        for (const vexL of ls) {
          for (const vexW of ws) {
            const name = [
              mode,
              row.mnemonic,
              row.operands.join(','),
              kind,
              width,
              prefix,
              encoding.vex ? `l${vexL}w${vexW}` : '',
            ]
              .filter((part) => part !== '' && part !== 'none')
              .join(' ');
            forms.push({ ...common, name, kind, width, prefix, vexL, vexW });
          }
        }
      }
    }
  }
}

function widthsOf(
  encoding: Encoding,
  operands: readonly OperandSpec[],
  mode: 64 | 32,
  has: (codes: RegExp) => boolean,
): FormWidth[] {
  const { row } = encoding;
  if (encoding.ws === 2) return ['w'];
  const widths: FormWidth[] = [''];
  const sized =
    operands.some(({ width, memoryWidth }) => SIZED.has(width) || SIZED.has(memoryWidth)) ||
    SIZED_IMPLICITLY.test(row.mnemonic);
  // A 66 prefix on a near branch in 64-bit code: Intel ignores it, AMD truncates RIP.
  // With MOVSXD it makes Intel read 16 bits, AMD 32.
  const differing = (row.size === 'f64' && mode === 64) || row.mnemonic === 'movsxd';
  const allows66 =
    !encoding.consumes66 && (encoding.prefixes & (1 << PREFIX.p66) || !(encoding.prefixes & (1 << PREFIX.none)));
  if (sized && allows66 && !differing) widths.push('66');
  // Far pointers with a 64-bit offset exist on Intel only (SDM vol. 2, CALL, JMP, LSS; AMD APM vol. 3, the same).
  const far = operands.some(({ width }) => width === WIDTH.p);
  const wide = (sized || has(/[yn]/)) && !far;
  if (mode === 64 && wide && encoding.ws & 2 && row.size !== 'f64') widths.push('w');
  return widths;
}

/** Bytes of an operand of this width. */
export function widthBytes(width: number, operandSize: number, form: Form): number {
  const vector = form.vexL === 1 ? 32 : 16;
  switch (width) {
    case WIDTH.b:
      return 1;
    case WIDTH.w:
      return 2;
    case WIDTH.d:
      return 4;
    case WIDTH.q:
      return 8;
    case WIDTH.t:
      return 10;
    case WIDTH.dq:
      return 16;
    case WIDTH.qq:
      return 32;
    case WIDTH.v:
      return operandSize;
    case WIDTH.z:
      return Math.min(operandSize, 4);
    case WIDTH.y:
      return form.width === 'w' || (form.encoding.vex && form.vexW === 1) ? 8 : 4;
    case WIDTH.n:
      return form.mode === 64 ? 8 : 4;
    case WIDTH.x:
      return vector;
    case WIDTH.h:
      return vector / 2;
    case WIDTH.f:
      return vector / 4;
    case WIDTH.e:
      return vector / 8;
    case WIDTH.p:
      return operandSize + 2;
    case WIDTH.s:
      return form.mode === 64 ? 10 : 6;
    case WIDTH.a:
      return operandSize * 2;
    default:
      return 0;
  }
}

export function operandSizeOf(form: Form): number {
  if (form.mode === 32) return form.width === '66' ? 2 : 4;
  if (form.width === 'w') return 8;
  if (form.width === '66') return 2;
  return form.row.size === undefined ? 4 : 8;
}
