/** Mixed load on the echo server for a long time: no byte may be lost or change places, and memory may not grow. */
import { parseArgs } from 'node:util';
import { mixedLoad } from '../test/support/echo-load.ts';
import { residentBytes, startGuest } from './echo-guests.ts';

const HELP = `Mixed load on the echo server for a long time: no byte may be lost or change places, and memory may not grow.

usage: node bench/echo-soak.ts [--minutes 30] [--warm-up 3] [--guest auto|interpreter|qemu] [--app ukl|echo-user]

Prints the resident memory of the guest's process every half minute, and in the end its slope after the warm-up (least squares).
Ends with 1 if a byte was wrong or the slope is 1 MB a minute or more.
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '30' },
    'warm-up': { type: 'string', default: '3' },
    guest: { type: 'string', default: 'auto' },
    app: { type: 'string', default: 'ukl' },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

const SAMPLE_MS = 2000;
const PRINT_EVERY = 15;
const LIMIT = 1;
const minutes = Number(values.minutes);

interface Sample {
  readonly minute: number;
  readonly megabytes: number;
}

function slope(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number => samples.reduce((sum, s) => sum + of(s), 0) / samples.length;
  const minute = mean((s) => s.minute);
  const megabytes = mean((s) => s.megabytes);
  return (
    mean((s) => (s.minute - minute) * (s.megabytes - megabytes)) /
    mean((s) => (s.minute - minute) * (s.minute - minute))
  );
}

const guest = await startGuest(values.guest, values.app);
const start = performance.now();
const cpu = guest.cpuSeconds();
const samples: Sample[] = [];
const timer = setInterval(() => {
  const minute = (performance.now() - start) / 60_000;
  const megabytes = residentBytes(guest.pid) / 1e6;
  samples.push({ minute, megabytes });
  if (samples.length % PRINT_EVERY === 0) console.log(`${minute.toFixed(1)} min: ${megabytes.toFixed(1)} MB`);
}, SAMPLE_MS);
try {
  const { connections, bytes, resets } = await mixedLoad(guest.target, minutes * 60_000);
  console.log(
    `${connections} connections, ${(bytes / 1e6).toFixed(0)} MB echoed, every byte in its place, ${resets} resets`,
  );
  console.log(`${(guest.cpuSeconds() - cpu).toFixed(1)} CPU s of the guest`);
  const after = slope(samples.filter(({ minute }) => minute > Number(values['warm-up'])));
  console.log(`memory: ${after.toFixed(3)} MB a minute after ${values['warm-up']} minutes`);
  if (!(after < LIMIT)) process.exitCode = 1;
} catch (error) {
  console.error(`FAILED: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  clearInterval(timer);
  guest.stop();
}
