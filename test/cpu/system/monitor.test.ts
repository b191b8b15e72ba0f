import { describe, expect, it } from 'vitest';
import { AT, BareMetal, DRIVERS, type Mode } from '../../support/bare-metal.ts';

const UNMAPPED = 0x4000_0000n;
const NON_CANONICAL = 1n << 47n;
interface Line {
  readonly name: string;
  readonly code: string;
  readonly mode?: Mode;
  readonly rax?: bigint;
  readonly rcx?: bigint;
  /** Where the processor stops, counted from the code's start (the HLT at its end included), or the exception. */
  readonly stops: number | string;
}
const LINES: readonly Line[] = [
  { name: 'MONITOR goes on', code: '0f01c8', stops: 4 },
  { name: 'MONITOR in 32-bit code', code: '0f01c8', mode: 'protected', rcx: 1n << 32n, stops: 4 },
  { name: 'MONITOR at CPL 3', code: '0f01c8', mode: 'user', stops: '#6' },
  { name: 'MONITOR with an extension', code: '0f01c8', rcx: 1n, stops: '#13 error 0' },
  { name: 'MONITOR of an unmapped line', code: '0f01c8', rax: UNMAPPED, stops: '#14 error 0' },
  { name: 'MONITOR of a short address', code: '670f01c8', rax: (1n << 47n) | BigInt(AT.data), stops: 5 },
  { name: 'MONITOR of a non-canonical line', code: '0f01c8', rax: NON_CANONICAL, stops: '#13 error 0' },
  { name: 'MWAIT sleeps where MONITOR has armed it', code: '0f01c8 0f01c9 90', stops: 6 },
  { name: 'MWAIT without MONITOR goes on', code: '0f01c9 90', stops: 5 },
  { name: 'MWAIT goes on when an exception came between', code: '0f01c8 cc 0f01c9 90', stops: 9 },
  { name: 'MWAIT at CPL 3', code: '0f01c9', mode: 'user', stops: '#6' },
  { name: 'MWAIT with an extension', code: '0f01c9', rcx: 1n, stops: '#13 error 0' },
];

/** SDM vol. 2, MONITOR and MWAIT. An INT3 is returned from. */
describe.each(DRIVERS)('MONITOR and MWAIT, %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  it.each(LINES)('$name', ({ code, mode = 'long', rax = BigInt(AT.data), rcx = 0n, stops }) => {
    b.enter(mode);
    p.setGpr(0, rax);
    p.setGpr(1, rcx);
    let o = b.run(code);
    if (o.vector === 3) {
      b.cpu.ip = BigInt(o.ip);
      o = b.resume();
    }
    expect(o.exit).toBe('halt');
    const error = o.error === undefined ? '' : ` error ${o.error}`;
    expect(o.vector === undefined ? o.ip - b.codeAt : `#${o.vector}${error}`).toBe(stops);
  });
  it('CPUID offers them without extensions, with lines of 64 bytes', () => {
    b.enter('long');
    p.setGpr(0, 5n);
    p.setGpr(1, 0n);
    expect(b.run('0fa2').gpr.slice(0, 4)).toEqual([64n, 0n, 0n, 64n]);
  });
});
