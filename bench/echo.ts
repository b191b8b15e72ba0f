/** The echo server in the guest, used by a real client: what it can do, and how fast, beside QEMU in the same run. */
import { parseArgs } from 'node:util';
import { type Figures, type Target, TESTS } from './echo-client.ts';
import { type EchoGuest, startGuest } from './echo-guests.ts';

const HELP = `The echo server in the guest, used by a real client: what it can do, and how fast, beside QEMU in the same run.

usage: node bench/echo.ts [--guests KINDS] [--app APP] [options]
       node bench/echo.ts --target HOST:PORT [options]

  --guests KINDS    guests to start, of auto, interpreter, qemu [auto,interpreter,qemu]
  --app APP         ukl, or echo-user: the same server as an ordinary process [ukl]
  --target          a server that runs already, instead
  --test NAMES      of ${Object.keys(TESTS).join(', ')} [all]
  --rounds N        how often; guests take turns, test by test and round by round [1]
  --seconds N       how long lockstep and connect-rate measure [4]
  --scale X         part of the bytes and connections of bulk, slow and connects [1: 100 MB, 16 MB, 10,000]
  --json            figures of all rounds as JSON

Every byte that comes back is checked. CPU figures are those of the guest's process, user and system (Linux). Ends with 1 if a test
failed, with 2 for a wrong option.
`;

function parse() {
  try {
    return parseArgs({
      options: {
        help: { type: 'boolean', default: false },
        target: { type: 'string' },
        guests: { type: 'string', default: 'auto,interpreter,qemu' },
        app: { type: 'string', default: 'ukl' },
        test: { type: 'string', default: Object.keys(TESTS).join() },
        rounds: { type: 'string', default: '1' },
        seconds: { type: 'string', default: '4' },
        scale: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}; see --help`);
    process.exit(2);
  }
}

const values = parse();
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

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
    ...(used > 0 && figures['MB'] !== undefined && { 'guest CPU ms a MB': (used / figures['MB']) * 1000 }),
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
