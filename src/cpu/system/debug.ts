import { STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import type { Processor } from './processor.ts';

/** Debug status (SDM vol. 3, 17.2.3). */
export const DR6 = { bd: 0x2000n, bs: 0x4000n } as const;
export const DR7_GD = 0x2000n;
/** Values of the R/W fields of DR7. */
const EXECUTE = 0;
const PORT = 2;
const CR4_DE = 8;
/** Bytes by the LEN field of DR7. */
const LENGTHS = [1, 2, 8, 4] as const;

/** DR6 bits of the enabled instruction breakpoints at the next instruction (SDM vol. 3, 17.2.4 and 17.3.1.1). */
export function breakpointsAt(state: StateMemory): bigint {
  const dr7 = state.get32(STATE.dr + 56);
  let hit = 0;
  for (let n = 0; n < 4; n++) {
    if (!((dr7 >>> (2 * n)) & 3) || ((dr7 >>> (16 + 4 * n)) & 3) !== EXECUTE) continue;
    // both halves as numbers: this is asked before every instruction
    const at = STATE.dr + n * 8;
    const same = state.get32(at) === state.get32(STATE.ip) && state.get32(at + 4) === state.get32(STATE.ip + 4);
    if (same) hit |= 1 << n;
  }
  return hit === 0 ? 0n : BigInt(hit);
}
/** Notes the enabled I/O breakpoints that an access to `width` ports from `port` on meets: a trap after the instruction (SDM vol. 3, 17.2.4). */
export function watchPorts(state: StateMemory, port: number, width: number): void {
  const dr7 = state.get32(STATE.dr + 56);
  if ((dr7 & 0xff) === 0 || !(state.get32(STATE.cr4) & CR4_DE)) return;
  for (let n = 0; n < 4; n++) {
    if (!((dr7 >>> (2 * n)) & 3) || ((dr7 >>> (16 + 4 * n)) & 3) !== PORT) continue;
    const length = LENGTHS[((dr7 >>> (18 + 4 * n)) & 3) as 0 | 1 | 2 | 3];
    // the low bits of the address are not compared
    const first = state.get32(STATE.dr + n * 8) & ~(length - 1);
    if (port < first + length && first < port + width)
      state.set32(STATE.watchHits, state.get32(STATE.watchHits) | (1 << n));
  }
}
/** Adds bits to DR6, which only software clears. */
export const noteDebug = (p: Processor, bits: bigint): void =>
  p.state.set64(STATE.dr + 48, p.state.get64(STATE.dr + 48) | bits);

/** After a change of DR7: data breakpoints keep the TLB from being used. */
export function watchData(p: Processor): void {
  const { state } = p;
  const dr7 = state.get32(STATE.dr + 56);
  let watching = 0;
  for (let n = 0; n < 4; n++) {
    const kind = (dr7 >>> (16 + 4 * n)) & 3;
    if ((dr7 >>> (2 * n)) & 3 && (kind === 1 || kind === 3)) watching |= 1 << n;
  }
  if (watching !== 0 && state.get32(STATE.watching) === 0) p.core.flushTlb();
  state.set32(STATE.watching, watching);
}
