import { once } from 'node:events';
import { expect, test } from 'vitest';
import { bootGuest, expectSerial } from '../../src/testing.ts';

const guest = {
  kernel: 'images/prebuilt/ukl-echo.bzImage',
  initrd: 'images/prebuilt/initrd.cpio.xz',
  cmdline: 'console=ttyS0 nowatchdog clearcpuid=smap,smep ip=dhcp app=ukl',
  net: 'user',
};

test('the application inside UKL sends back what it gets', async (context) => {
  const machine = await bootGuest(guest, context);
  await expectSerial(machine, /UKL-EMU: ready/);
  const connection = machine.net.connect(5555);
  connection.write('hello');
  expect(String((await once(connection, 'data'))[0])).toBe('hello');
});
