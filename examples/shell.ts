// Boots a shell, runs a command in it, powers off. From the checkout: npx node examples/shell.ts
import { readFileSync } from 'node:fs';
import { Machine } from '../src/index.ts';

const image = (name: string) => ({ name, bytes: readFileSync(new URL(`../images/prebuilt/${name}`, import.meta.url)) });

await using machine = await Machine.create({
  kernel: image('ukl-echo.bzImage'),
  initrd: image('initrd.cpio.xz'),
  cmdline: 'console=ttyS0 app=shell',
});
const running = machine.run();
await machine.waitFor(/ukl# /, 60_000);
await machine.serial.write('uname -a\n');
const [, kernel] = await machine.waitFor(/^(Linux .*?)\r?\n/m, 10_000);
console.log(kernel);
await machine.serial.write('poweroff -f\n');
console.log(await running);
