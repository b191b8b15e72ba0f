/**
 * Disks written by Debian's cloud kernel, compared byte for byte on this host. By hand, with the images of `npm run images:debian`:
 * `UKL_EMU_DEBIAN=1 npx vitest run --project guest test/guest/disk-debian.test.ts`
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openDrives } from '../../src/cli/drives.ts';
import { Machine } from '../../src/index.ts';
import { type GuestShell, guestShell } from '../../src/testing.ts';
import { ENGINE } from './support.ts';

const IMAGES = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ukl-emu', 'debian');
const SKIPPED = process.env['UKL_EMU_DEBIAN'] !== '1' || !existsSync(join(IMAGES, 'index.json'));
const BOOT_MS = 240_000;
const MIB = 1 << 20;
const SIZE = 24 * MIB;

const image = (name: string) => ({ name, bytes: readFileSync(join(IMAGES, name)) });
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function boot(drives: readonly string[]): Promise<{ machine: Machine; shell: GuestShell }> {
  const opened = await openDrives(drives);
  const machine = await Machine.create({
    kernel: image('cloud.vmlinuz'),
    initrd: image('cloud.initrd.cpio.gz'),
    cmdline: 'console=ttyS0 app=shell',
    engine: ENGINE,
    drives: opened.drives,
  });
  onTestFinished(async () => {
    await machine.stop();
    await opened.close();
  });
  machine.run().catch(() => {});
  await machine.waitFor(/\nukl# /, BOOT_MS);
  return { machine, shell: guestShell(machine) };
}

describe.skipIf(SKIPPED)('disks of a Debian guest', () => {
  test('what the guest writes, discards and flushes is in the file; what it may not write is not', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ukl-emu-disk-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const [disk, fixed] = [join(directory, 'disk'), join(directory, 'fixed')];
    const expected = randomBytes(SIZE);
    const constant = randomBytes(MIB);
    await writeFile(disk, expected);
    await writeFile(fixed, constant);
    const { machine, shell } = await boot([`${disk},discard`, `${fixed},readonly,transport=modern`]);
    const run = async (command: string): Promise<string> => {
      const { output, status } = await shell.run(command);
      expect(`${status}: ${output}`).toMatch(/^0: /);
      return output;
    };
    const inGuest = async (device: string): Promise<string> => (await run(`sha256sum /dev/${device}`)).slice(0, 64);

    expect((await run('cat /sys/block/vda/size')).trim()).toBe(String(SIZE / 512));
    expect(await inGuest('vda')).toBe(sha(expected));
    expect(await inGuest('vdb')).toBe(sha(constant));

    // large requests, single sectors at odd places, and a flush after each
    const dd = (from: string, block: number, count: number, at: number): Promise<string> =>
      run(`dd if=${from} of=/dev/vda bs=${block} count=${count} seek=${at} conv=notrunc,fsync 2>&1`);
    const pattern = Buffer.from('A line that the guest has written.\n');
    const lines = Buffer.alloc(3 * MIB, pattern);
    await run(`yes '${pattern.toString().trim()}' | head -c ${lines.length} > /tmp/lines`);
    await dd('/tmp/lines', 65_536, 48, 33);
    lines.copy(expected, 33 * 65_536);
    for (const sector of [0, 1, 7, 12_345, SIZE / 512 - 1]) {
      await dd('/tmp/lines', 512, 1, sector);
      lines.copy(expected, sector * 512, 0, 512);
    }
    await dd('/dev/zero', 4096, 300, 4000);
    expected.fill(0, 4000 * 4096, 4300 * 4096);
    // flushed: the file has it while the guest runs
    expect(sha(await readFile(disk))).toBe(sha(expected));

    const before = await stat(disk);
    await run(`blkdiscard -o ${8 * MIB} -l ${4 * MIB} /dev/vda`);
    expected.fill(0, 8 * MIB, 12 * MIB);
    expect(sha(await readFile(disk))).toBe(sha(expected));
    expect((await stat(disk)).blocks).toBeLessThan(before.blocks);
    await run('echo 3 > /proc/sys/vm/drop_caches');
    expect(await inGuest('vda')).toBe(sha(expected));

    expect((await run('cat /sys/block/vdb/ro')).trim()).toBe('1');
    expect((await shell.run('dd if=/dev/zero of=/dev/vdb bs=512 count=1')).status).not.toBe(0);
    expect((await run('dmesg | grep -cE "I/O error|Call Trace" || true')).trim()).toBe('0');
    await machine.stop();
    expect(sha(await readFile(disk))).toBe(sha(expected));
    expect(sha(await readFile(fixed))).toBe(sha(constant));
  });
});
