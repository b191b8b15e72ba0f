/** Interpreter and JIT on the bare-metal compute load: million guest instructions a CPU second. */
import { compileCompute, runCompute } from '../test/support/compute.ts';

const rounds = Number(process.argv[2] ?? 4000);
const program = compileCompute(rounds);
for (const engine of ['interpreter', 'auto'] as const) {
  const run = await runCompute(program.elf, engine, 128);
  const verdict = run.output === program.expected ? 'checksum as on the host' : `WRONG CHECKSUM ${run.output}`;
  const speed = (run.instructions / run.cpuSeconds / 1e6).toFixed(0);
  console.log(
    `${engine}: ${run.instructions} instructions, ${run.cpuSeconds.toFixed(2)} CPU s, ${speed} M/s, ${verdict}`,
  );
}
