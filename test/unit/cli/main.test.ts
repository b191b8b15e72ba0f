import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { inputErrorLine, internalErrorText } from '../../../src/cli/errors.ts';
import { packageVersion, runCommand } from '../../../src/cli/main.ts';

const KERNEL = new URL('../../../images/prebuilt/ukl-echo.bzImage', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Runs a command line in this process. */
async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      stdout += String(text);
      return true;
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    }),
  ];
  try {
    return { code: await runCommand(args, '1.2.3'), stdout, stderr };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe('help', () => {
  const documented = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
  const blocks = [...documented.matchAll(/```text\n\$ ukl-emu ?(.*?) ?--help\n([\s\S]*?)\n```/g)];

  test('every command is documented', () => {
    expect(blocks.map(([, command]) => command)).toEqual([
      '',
      'boot',
      'lockstep',
      'inspect',
      'cpu',
      'cpu show',
      'profile',
      'bench',
      'bench syscall',
    ]);
  });

  test.each(blocks.map(([, command, text]) => [command, text]))(
    'docs/cli.md has the text of "%s --help"',
    async (...pair) => {
      const [command, text] = pair;
      const words = command!.split(' ').filter((word) => word !== '');
      const result = await run(...words, '--help');
      expect(result).toEqual({ code: 0, stdout: `${text}\n`, stderr: '' });
    },
  );

  test('--version is that of the package', async () => {
    expect((await run('--version')).stdout).toBe('1.2.3\n');
    expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
  });
});

describe('inspect and cpu', () => {
  test('a bzImage, as text and as JSON', async () => {
    const { stdout } = await run('inspect', KERNEL, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'bzimage', bzImage: { protocol: '2.15', entry64: true } });
    expect((await run('inspect', KERNEL)).stdout).toMatch(/^ {2}payload:\n {4}format: gzip$/m);
  });

  test('models and features', async () => {
    expect((await run('cpu', 'list')).stdout).toContain('x86-64-v2 (default)');
    const { stdout } = await run('cpu', 'show', 'x86-64-v2,-smap');
    expect(stdout).toContain('smep');
    expect(stdout).not.toContain('smap');
  });
});

describe('bad usage and input: exit code 2 and one line that names what is wrong', () => {
  const text = file('text', 'no kernel at all');
  const empty = file('empty', '');
  const packed = file('packed.gz', gzipSync('no kernel at all'));
  const cut = file('cut.bzImage', readFileSync(KERNEL).subarray(0, 100_000));
  const damaged = file('damaged.bzImage', readFileSync(KERNEL).fill(0, 1_000_000, 1_001_000));
  const badInitrd = file('initrd.gz', gzipSync('x'.repeat(1000)).fill(0, 20, 24));
  const secret = file('secret', 'x');
  chmodSync(secret, 0);
  const huge = file('huge', '');
  truncateSync(huge, 3 * 2 ** 30);

  const cases: [name: string, args: string[], line: RegExp][] = [
    ['no command', [], /name a command/],
    ['an unknown command', ['frobnicate'], /frobnicate/],
    ['an unknown option', ['boot', KERNEL, '--frobnicate'], /frobnicate/],
    ['no kernel', ['boot'], /--help/],
    ['two kernels', ['boot', KERNEL, text], /text/],
    ['an option without its value', ['boot', KERNEL, '--initrd'], /initrd/],
    ['an option twice', ['boot', KERNEL, '--memory', '64M', '--memory', '64M'], /--memory/],
    ['a choice that is none', ['boot', KERNEL, '--clock', 'sun'], /clock.*sun/],
    ['a kernel that does not exist', ['boot', join(directory, 'gone')], /gone: path: does not exist; check/],
    ['a directory', ['boot', directory], /is a directory; name the file/],
    ['a device', ['boot', '/dev/zero'], /\/dev\/zero: path: is a device/],
    ['a file beyond all bounds', ['boot', huge], /huge: path: is too large/],
    ['an empty kernel', ['boot', empty], /empty: .*empty; name a kernel/],
    ['a text', ['boot', text], /text: kind of file: .*name a Linux/],
    ['a packed text', ['boot', packed], /packed\.gz: kind of file: unpacked it is no kernel.*; name a Linux/],
    ['a kernel cut short', ['boot', cut], /cut\.bzImage: \w+: .*; /],
    ['a damaged payload', ['boot', damaged, '--memory', '64M'], /damaged\.bzImage: payload: .*copy it again/],
    ['an initrd that does not exist', ['boot', KERNEL, '--initrd', '/nowhere/i'], /\/nowhere\/i: path: does not exist/],
    ['a damaged initrd', ['boot', KERNEL, '--initrd', badInitrd, '--memory', '64M'], /initrd\.gz: initrd: .*gzip/],
    ['an empty initrd', ['boot', KERNEL, '--initrd', empty, '--memory', '64M'], /empty: initrd: .*leave/],
    ['no memory', ['boot', KERNEL, '--memory', '0'], /--memory: .*'0'.*try 64M/],
    ['too much memory', ['boot', KERNEL, '--memory', '5G'], /--memory: .*'5G'.*4G/],
    ['memory of no size', ['boot', KERNEL, '--memory', 'lots'], /--memory: .*'lots'/],
    ['memory too small for the kernel', ['boot', KERNEL, '--memory', '16M'], /ukl-echo\.bzImage: .*--memory/],
    ['a command line too long', ['boot', KERNEL, '--append', 'x'.repeat(5000)], /command line|cmdline/],
    ['an unknown CPU', ['boot', KERNEL, '--cpu', '486'], /--cpu: no CPU model "486"; choose/],
    ['an unknown feature', ['boot', KERNEL, '--cpu', 'max,+flux'], /--cpu: "\+flux" is not/],
    ['an unknown CPU to show', ['cpu', 'show', '486'], /--cpu: no CPU model "486"/],
    ['a seed that is no number', ['boot', KERNEL, '--seed', 'x'], /--seed x: is not a whole number/],
    ['a timeout that is no number', ['boot', KERNEL, '--timeout', 'soon'], /--timeout soon: /],
    ['a pattern that is none', ['boot', KERNEL, '--exit-on', '('], /--exit-on \(: is not a regular expression/],
    ['a port that is none', ['boot', KERNEL, '--debug-exit=70000'], /--debug-exit 70000: /],
    ['an unknown serial backend', ['boot', KERNEL, '--serial', 'pty'], /--serial pty: is none of stdio/],
    ['a serial file that cannot be', ['boot', KERNEL, '--serial', 'file:/nowhere/x'], /--serial file:\/nowhere\/x: /],
    ['figures into a file that cannot be', ['boot', KERNEL, '--stats=/nowhere/x'], /--stats=\/nowhere\/x: /],
    ['a drive that does not exist', ['boot', KERNEL, '--drive', '/nowhere/d'], /drive \/nowhere\/d: no such file/],
    ['an unknown drive option', ['boot', KERNEL, '--drive', `${text},fast`], /--drive .*"fast"/],
    [
      'an unknown network',
      ['boot', KERNEL, '--net', 'carrier-pigeon'],
      /--net: there is no backend "carrier-pigeon"; choose/,
    ],
    ['a forward that is none', ['boot', KERNEL, '--net', 'user,hostfwd=tcp:x'], /--net user: hostfwd=tcp:x is not/],
    ['a record of no card', ['boot', KERNEL, '--pcap', 'x'], /--pcap x: /],
    ['an inspected text', ['inspect', join(directory, 'gone')], /gone: path: does not exist/],
    ['an inspected kernel cut short', ['inspect', cut], /cut\.bzImage: /],
  ];
  // root may read everything
  if (process.getuid?.() !== 0) cases.push(['a file that may not be read', ['boot', secret], /secret: path: may not/]);

  test.each(cases)('%s', async (_name, args, line) => {
    const result = await run(...args);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/^ukl-emu: [^\n]+\n$/);
    expect(result.stderr).toMatch(line);
  });

  test.runIf(existsSync('/dev/full'))('figures into a full file system', async () => {
    const result = await run(...['boot', KERNEL, '--memory', '64M', '--timeout', '0.01', '--stats=/dev/full']);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/^ukl-emu: --stats=\/dev\/full: ENOSPC[^\n]*; make room\n$/);
  });

  test('a port in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const result = await run('boot', KERNEL, '--serial', `tcp:127.0.0.1:${port}`);
    server.close();
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/^ukl-emu: --serial tcp:[^\n]*EADDRINUSE[^\n]*\n$/);
  });
});

test('a defect of the emulator is told with everything a report needs', () => {
  const text = internalErrorText(new Error('internal: no such thing'), '1.2.3', ['boot', 'a b']);
  expect(text).toContain('please report it');
  expect(text).toContain(`ukl-emu 1.2.3, Node ${process.version}, ${process.platform} ${process.arch}`);
  expect(text).toContain('ukl-emu "boot" "a b"');
  expect(text).toContain('  Error: internal: no such thing\n');
  expect(inputErrorLine(new Error('internal'))).toBeUndefined();
});
