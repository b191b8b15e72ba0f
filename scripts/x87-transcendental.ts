/** Compares the transcendental functions of the x87 with the host CPU: operands over the whole legal range and at its edges. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  angle,
  cosine,
  type Extended,
  exponential,
  logarithm,
  logarithmPlusOne,
  sine,
  tangent,
  type Wide,
} from '../src/cpu/numeric/transcendental.ts';
import { Random } from '../test/oracle/random.ts';

const USAGE = `node scripts/x87-transcendental.ts [options]
  --cases N   operands for each function (default 100000)
  --seed S    seed of the generator (default 1)`;
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean' },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const CASES = Number(values.cases);
const RECORD = 40;
const RESULT = 32;
const BATCH = 20_000;
const TOP = 1n << 63n;
const BIAS = 16383;
const HALF_PI_66 = 0x3243f6a8885a308d3n; // times 2^-65

const source = fileURLToPath(new URL('../test/oracle/transcendental.c', import.meta.url));
const folder = fileURLToPath(new URL('../.cache/oracle/', import.meta.url));
mkdirSync(folder, { recursive: true });
const program = `${folder}transcendental`;
execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-o', program, source], { stdio: ['ignore', 'inherit', 'inherit'] });

const r = new Random(Number(values.seed));
const wide = (): bigint => (BigInt(r.u32()) << 32n) | BigInt(r.u32());
const between = (low: number, high: number): number => low + r.below(high - low + 1);
function mantissa(): bigint {
  switch (r.below(5)) {
    case 0:
      return TOP;
    case 1:
      return TOP | BigInt(r.below(8));
    case 2:
      return (TOP << 1n) - 1n - BigInt(r.below(8));
    default:
      return TOP | wide();
  }
}
const real = (exponent: number, m = mantissa(), sign = r.below(2)): Extended => ({ sign, exponent, mantissa: m });
const anywhere = (): Extended => real(r.oneIn(2) ? between(-70, 70) : between(-16382, 16383));
/** Next to a multiple of pi/2, where range reduction cancels most. */
function nearQuarterTurn(): Extended {
  const turns = (wide() >> BigInt(r.below(64))) + 1n;
  const product = turns * HALF_PI_66;
  const length = product.toString(2).length;
  const shift = BigInt(length - 64);
  const exponent = length - 1 - 65;
  if (exponent > 62) return real(between(0, 62));
  const m = (shift > 0n ? product >> shift : product << -shift) + BigInt(between(-2, 2));
  return real(exponent, m < TOP ? TOP : m >> 64n ? (TOP << 1n) - 1n : m);
}
const circle = (): Extended =>
  r.oneIn(2) ? nearQuarterTurn() : real(r.oneIn(4) ? between(-16382, -1) : between(-70, 62));
const nearOne = (): Extended =>
  r.oneIn(2)
    ? real(0, TOP | (wide() >> BigInt(1 + r.below(63))), 0)
    : real(-1, (TOP << 1n) - 1n - (wide() >> BigInt(1 + r.below(63))), 0);

interface Tested {
  readonly name: string;
  readonly operands: () => readonly [Extended, Extended];
  readonly compute: (a: Extended, b: Extended) => Wide;
}
/** The function's number is its index; ST(0) is the first operand. */
const FUNCTIONS: readonly Tested[] = [
  {
    name: 'f2xm1',
    operands: () => [real(r.oneIn(4) ? between(-16382, -1) : between(-70, -1)), real(0)],
    compute: exponential,
  },
  {
    name: 'fyl2x',
    operands: () => [r.oneIn(3) ? nearOne() : { ...anywhere(), sign: 0 }, anywhere()],
    compute: logarithm,
  },
  {
    name: 'fyl2xp1',
    // from -(1 - sqrt(1/2)) to sqrt(2) - 1
    operands: () => [
      r.oneIn(3) ? real(-2, TOP + (wide() >> 5n)) : real(r.oneIn(4) ? between(-16382, -3) : between(-70, -3)),
      anywhere(),
    ],
    compute: logarithmPlusOne,
  },
  { name: 'fsin', operands: () => [circle(), real(0)], compute: sine },
  { name: 'fcos', operands: () => [circle(), real(0)], compute: cosine },
  { name: 'fptan', operands: () => [circle(), real(0)], compute: tangent },
  {
    name: 'fpatan',
    operands: () => {
      const x = anywhere();
      const y = r.oneIn(3) ? anywhere() : real(Math.max(-16382, Math.min(16383, x.exponent + between(-70, 70))));
      return [x, y];
    },
    compute: (x, y) => angle(y, x),
  },
];

function put(view: DataView, at: number, x: Extended): void {
  view.setBigUint64(at, x.mantissa, true);
  view.setUint16(at + 8, (x.exponent + BIAS) | (x.sign << 15), true);
}
/** A result as one integer that counts in units in the last place, rounded to nearest; undefined out of range. */
function ordinal({ exponent, mantissa: m }: Wide): bigint | undefined {
  const half = TOP;
  const low = m & ((1n << 64n) - 1n);
  const high = (m >> 64n) + (low > half || (low === half && (m >> 64n) & 1n) ? 1n : 0n);
  if (exponent < 1 - BIAS || exponent > BIAS) return undefined;
  return (BigInt(exponent + BIAS) << 63n) + high - TOP;
}

let failed = 0;
for (const [number, { name, operands, compute }] of FUNCTIONS.entries()) {
  const counts = [0, 0];
  let skipped = 0;
  let apart = 0;
  for (let done = 0; done < CASES; done += BATCH) {
    const size = Math.min(BATCH, CASES - done);
    const input = new Uint8Array(size * RECORD);
    const view = new DataView(input.buffer);
    const pairs = Array.from({ length: size }, (_, i) => {
      const pair = operands();
      view.setBigUint64(i * RECORD, BigInt(number), true);
      put(view, i * RECORD + 8, pair[0]);
      put(view, i * RECORD + 24, pair[1]);
      return pair;
    });
    const { stdout, status } = spawnSync(program, { input, maxBuffer: size * RESULT + 1024 });
    if (status !== 0) throw new Error(`the oracle ended with ${status}`);
    const results = new DataView(stdout.buffer, stdout.byteOffset, stdout.byteLength);
    pairs.forEach(([a, b], i) => {
      const result = compute(a, b);
      const mine = ordinal(result);
      const top = results.getUint16(i * RESULT + 8, true);
      const theirs = (BigInt(top & 0x7fff) << 63n) + results.getBigUint64(i * RESULT, true) - TOP;
      if (mine === undefined || (top & 0x7fff) === 0 || (top & 0x7fff) === 0x7fff) {
        skipped++;
        return;
      }
      const distance = Number(mine > theirs ? mine - theirs : theirs - mine);
      if (distance <= 1 && top >> 15 === result.sign) counts[distance]!++;
      else if (apart++ < 3) {
        const show = (x: Extended): string => `${x.sign ? '-' : ''}${x.mantissa.toString(16)}p${x.exponent}`;
        console.log(`${name} ${show(a)} ${show(b)}: ${distance} ulp apart`);
      }
    });
  }
  failed += apart;
  console.log(`${name.padEnd(8)} equal=${counts[0]} one-ulp=${counts[1]} further=${apart} out-of-range=${skipped}`);
}
console.log(`cases=${CASES * FUNCTIONS.length} differences=${failed}`);
process.exitCode = failed ? 1 : 0;
