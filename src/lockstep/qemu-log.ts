/**
 * Reads the log of `qemu-system-x86_64 -d cpu,exec,int,nochain` with the trace event memory_region_ops_read (QEMU 7.2): registers at
 * the start of each translation block and before each interruption, and what reads of ports and devices gave.
 */

/** Registers as QEMU prints them, read only where something is asked for: most dumps are compared as text. */
export class QemuRegisters {
  /** Of general registers; 64-bit code has four lines of them, other code two. */
  readonly lines: readonly string[];
  #values: Map<string, bigint> | undefined;

  constructor(lines: readonly string[]) {
    this.lines = lines;
  }

  get wide(): boolean {
    return this.lines[0]?.startsWith('R') === true;
  }
  /** Offset in the code segment. */
  get ip(): bigint {
    return hex(/IP=([0-9a-f]+)/.exec(this.lines[this.wide ? 4 : 2] ?? '')?.[1] ?? '0');
  }
  /** By name in lower case without the width's letter: `ax`, `r8`, `flags`, `cs`, `cs.base`, `cr0`, `gdt.limit`. */
  get(name: string): bigint {
    if (this.#values === undefined) {
      this.#values = new Map();
      for (const line of this.lines) readRegisterLine(line, this.#values);
    }
    return this.#values.get(name) ?? 0n;
  }
}

export type QemuEvent =
  /** A translation block is about to be executed. */
  | { readonly kind: 'block'; readonly registers: QemuRegisters }
  /** An exception, software interrupt or external interrupt is about to be delivered. */
  | {
      readonly kind: 'interruption';
      readonly vector: number;
      readonly software: boolean;
      readonly registers: QemuRegisters;
    }
  /** A port (below 64 KiB) or a device in memory was read. */
  | { readonly kind: 'read'; readonly address: number; readonly size: number; readonly value: bigint };

const INTERRUPTION = /^ *\d+: v=([0-9a-f]+) e=[0-9a-f]+ i=(\d)/;
const READ = /^memory_region_ops_read .* addr 0x([0-9a-f]+) value 0x([0-9a-f]+) size (\d)/;
const GENERAL = /\b(?:[RE]([A-D]X|[SD]I|[BSI]P)|R([89]|1[0-5])) ?=([0-9a-f]+)/g;
const VECTOR = /\bXMM(\d\d)=([0-9a-f]{16}) ([0-9a-f]{16})/g;
const CONTROL = /\b(CR[0-4]|EFER|MXCSR|DR[0-7])=([0-9a-f]+)/g;
const SEGMENT = /^([CDEFGS]S|LDT|TR) *=([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)/;
const TABLE = /^([GI]DT)= +([0-9a-f]+) ([0-9a-f]+)/;
const FLAGS = /\b[RE]FL=([0-9a-f]+)/;
function hex(text: string): bigint {
  return BigInt(`0x${text}`);
}

function readRegisterLine(line: string, registers: Map<string, bigint>): void {
  for (const [, name, numbered, value = '0'] of line.matchAll(GENERAL)) {
    registers.set(name?.toLowerCase() ?? `r${numbered}`, hex(value));
  }
  for (const [, name = '', value = '0'] of line.matchAll(CONTROL)) registers.set(name.toLowerCase(), hex(value));
  for (const [, number, high = '0', low = '0'] of line.matchAll(VECTOR)) {
    registers.set(`xmm${Number(number)}.high`, hex(high));
    registers.set(`xmm${Number(number)}`, hex(low));
  }
  const flags = FLAGS.exec(line);
  if (flags) registers.set('flags', hex(flags[1]!));
  const segment = SEGMENT.exec(line);
  if (segment) {
    const [, name = '', selector = '0', base = '0', limit = '0', attributes = '0'] = segment;
    const prefix = name.toLowerCase();
    registers.set(prefix, hex(selector));
    registers.set(`${prefix}.base`, hex(base));
    registers.set(`${prefix}.limit`, hex(limit));
    registers.set(`${prefix}.attributes`, hex(attributes));
  }
  const table = TABLE.exec(line);
  if (table) {
    registers.set(`${table[1]!.toLowerCase()}.base`, hex(table[2]!));
    registers.set(`${table[1]!.toLowerCase()}.limit`, hex(table[3]!));
  }
}

/** Takes the log in pieces and hands out events, in order. */
export class QemuLog {
  readonly #sink: (event: QemuEvent) => void;
  #rest = '';
  /** The dump that is being read, and what to make of it. */
  #dump: string[] | undefined;
  #finish: (registers: QemuRegisters) => QemuEvent = (registers) => ({ kind: 'block', registers });

  constructor(sink: (event: QemuEvent) => void) {
    this.#sink = sink;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line.startsWith('Trace ')) {
      this.#dump = [];
      this.#finish = (registers) => ({ kind: 'block', registers });
    } else if (line.startsWith('memory_region_ops_read')) {
      const [, address = '0', value = '0', digits = '1'] = READ.exec(line) ?? [];
      const size = Number(digits);
      this.#sink({
        kind: 'read',
        address: Number.parseInt(address, 16),
        size,
        value: BigInt.asUintN(8 * size, hex(value)),
      });
    } else if (line.startsWith(' ')) {
      const interruption = INTERRUPTION.exec(line);
      if (interruption === null) return;
      const vector = Number.parseInt(interruption[1]!, 16);
      const software = interruption[2] === '1';
      this.#dump = [];
      this.#finish = (registers) => ({ kind: 'interruption', vector, software, registers });
    } else if (this.#dump !== undefined) {
      this.#dump.push(line);
      // EFER is the last of a dump
      if (line.startsWith('EFER=')) {
        const event = this.#finish(new QemuRegisters(this.#dump));
        this.#dump = undefined;
        this.#sink(event);
      }
    }
  }
}
