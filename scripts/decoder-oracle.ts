/**
 * Compares the decoder with iced-x86: every opcode systematically, then random byte strings.
 * `node scripts/decoder-oracle.ts --cases N --seed S [--no-systematic]`; exit status 1 on any unexplained difference.
 */
import { parseArgs } from 'node:util';
import type { CodeMode } from '../src/cpu/decode/types.ts';
import { createRandom, legacyCases, randomBatch, vexCases } from '../test/cpu/decoder-cases.ts';
import { BATCH, DecoderOracle, EXPLANATIONS } from '../test/cpu/decoder-oracle.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    systematic: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const modes: readonly CodeMode[] = [64, 32, 16];
const random = createRandom(Number(values.seed));
const oracle = new DecoderOracle();
const { report } = oracle;

if (values.systematic) {
  for (const mode of modes) {
    legacyCases(mode, random, (data) => oracle.run(data, mode));
    vexCases(mode, random, (data) => oracle.run(data, mode));
  }
}
const systematic = report.cases;
for (let done = 0, turn = 0; done < Number(values.cases); done += BATCH, turn++) {
  oracle.run(randomBatch(random), modes[turn % modes.length]!);
}

for (const { bytes, mode, ours, theirs } of report.unexplained.slice(0, 60)) {
  console.log(`${mode} ${bytes}\n  ours   ${ours}\n  theirs ${theirs}`);
}
for (const { name, reason } of EXPLANATIONS) {
  const found = report.explained.get(name);
  if (found === undefined) continue;
  const { mode, bytes, ours, theirs } = found.example;
  console.log(`explained ${found.count} ${name}: ${reason}\n  e.g. ${mode} ${bytes}: ${ours} / ${theirs}`);
}
console.log(`iced codes equal to ours at least once: ${report.codes.size}`);
console.log(
  `systematic=${systematic} random=${report.cases - systematic} valid=${report.valid} ` +
    `explained=${[...report.explained.values()].reduce((sum, { count }) => sum + count, 0)} differences=${report.unexplainedCount}`,
);
process.exitCode = report.unexplainedCount === 0 ? 0 : 1;
