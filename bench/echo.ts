/**
 * The echo server in the guest, used by a real client: what it can do, and how fast, beside QEMU in the same run.
 *
 *     node bench/echo.ts --target 127.0.0.1:5555 [--test single,lockstep]
 *     node bench/echo.ts --guests auto,interpreter,qemu [--app ukl|echo-user] [--test …] [--rounds 3] [--seconds 4] [--scale 1]
 *
 * Guests take turns, test by test and round by round. CPU figures are those of the guest's process, user and system.
 */
import { parseArgs } from 'node:util';
import { type Figures, type Target, TESTS } from './echo-client.ts';
import { type EchoGuest, startGuest } from './echo-guests.ts';

const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    guests: { type: 'string', default: 'auto,interpreter,qemu' },
    app: { type: 'string', default: 'ukl' },
    test: { type: 'string', default: Object.keys(TESTS).join() },
    rounds: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '4' },
    scale: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});

const names = values.test.split(',');
const unknown = names.find((name) => !Object.hasOwn(TESTS, name));
if (unknown !== undefined) {
  console.error(`--test ${unknown}: unknown; there are ${Object.keys(TESTS).join(', ')}`);
  process.exit(2);
}

const text = (figures: Figures): string =>
  Object.entries(figures)
    .map(([name, value]) => `${Number(value.toPrecision(4))} ${name}`)
    .join(', ');

async function measure(name: string, target: Target, cpuSeconds: () => number): Promise<Figures> {
  const cpu = cpuSeconds();
  const start = performance.now();
  const figures = await TESTS[name]!(target, Number(values.scale), Number(values.seconds));
  const seconds = (performance.now() - start) / 1000;
  const used = cpuSeconds() - cpu;
  const rate = figures['round trips/s'] ?? figures['connections/s'];
  return {
    ...figures,
    seconds,
    ...(used > 0 && { 'guest CPU s': used }),
    ...(used > 0 && rate !== undefined && { 'guest CPU us each': (used / seconds / rate) * 1e6 }),
  };
}

if (values.target !== undefined) {
  const [host = '127.0.0.1', port] = values.target.split(':');
  for (const name of names) console.log(`${name}: ${text(await measure(name, { host, port: Number(port) }, () => 0))}`);
} else {
  const guests: EchoGuest[] = [];
  try {
    for (const kind of values.guests.split(',')) guests.push(await startGuest(kind, values.app));
    const all = new Map<string, Figures[]>();
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const name of names) {
        for (const guest of guests) {
          const key = `${name} ${guest.kind}`;
          try {
            const figures = await measure(name, guest.target, guest.cpuSeconds);
            all.set(key, [...(all.get(key) ?? []), figures]);
            if (!values.json) console.log(`${key}: ${text(figures)}`);
          } catch (error) {
            process.exitCode = 1;
            console.error(`${key}: FAILED: ${(error as Error).message}`);
          }
        }
      }
    }
    if (values.json) console.log(JSON.stringify({ app: values.app, results: Object.fromEntries(all) }));
  } finally {
    for (const guest of guests) guest.stop();
  }
}
