// Two runs with the instruction clock are the same to the byte. From the checkout: npx node examples/deterministic.ts
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Machine } from '../src/index.ts';

const image = (name: string) => readFileSync(new URL(`../images/prebuilt/${name}`, import.meta.url));

for (let run = 1; run <= 2; run++) {
  const machine = await Machine.create({
    kernel: image('ukl-echo.bzImage'),
    initrd: image('initrd.cpio.xz'),
    cmdline: 'console=ttyS0 app=poweroff',
    clock: 'instructions',
    seed: 1,
  });
  const hash = createHash('sha256');
  machine.serial.onData((bytes) => hash.update(bytes));
  const { kind } = await machine.run();
  console.log(`run ${run}: ${kind} after ${machine.stats().instructions} instructions, output ${hash.digest('hex')}`);
}
