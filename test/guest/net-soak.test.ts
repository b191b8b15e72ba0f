/** A minute of what `node bench/echo-soak.ts --minutes 30` does by hand. */
import { expect, onTestFinished, test } from 'vitest';
import { residentBytes, startGuest } from '../../bench/echo-guests.ts';
import { mixedLoad } from '../support/echo-load.ts';
import { ENGINE } from './support.ts';

const HALF_MS = 30_000;
/** Code that is translated in the second half minute takes its place; what is echoed in it, and leaked, would take more. */
const MOST_GROWTH = 100e6;

test('a minute of mixed load: no byte lost or in another place, memory stays', async () => {
  const guest = await startGuest(ENGINE);
  onTestFinished(() => guest.stop());
  const first = await mixedLoad(guest.target, HALF_MS);
  const before = residentBytes(guest.pid);
  const second = await mixedLoad(guest.target, HALF_MS);
  expect(first.connections).toBeGreaterThan(50);
  expect(second.connections).toBeGreaterThan(50);
  expect(second.resets).toBeGreaterThan(5);
  expect(residentBytes(guest.pid) - before).toBeLessThan(MOST_GROWTH);
});
