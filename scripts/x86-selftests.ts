/**
 * The Linux kernel's own tests of its x86 entry code, signals, descriptors and debugging (tools/testing/selftests/x86, 64-bit),
 * built from Debian's linux-source and run as the only programs of a guest: on this emulator, and on QEMU with the same files.
 *
 *   node scripts/x86-selftests.ts --kernel VMLINUZ [--cpu max] [--with ukl-emu,qemu] [--only name,...] [--engine auto] [--log DIRECTORY]
 *
 * VMLINUZ is a Debian kernel (npm run images:debian). Ends with 1 if a test passes under QEMU and fails here.
 */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpio, type Entry } from '../images/cpio.ts';
import { fetchPackage, resolveNewest, unpack } from '../images/packages.ts';
import { CACHE, capture, Failure, run, runMain, withCleanup } from '../images/support.ts';

const SOURCE = 'linux-source-6.1';
const TESTS = [
  ...[
    'single_step_syscall',
    'sysret_ss_attrs',
    'syscall_nt',
    'test_mremap_vdso',
    'check_initial_reg_state',
    'sigreturn',
  ],
  ...['iopl', 'ioperm', 'test_vsyscall', 'mov_ss_trap', 'sigtrap_loop', 'syscall_arg_fault', 'fsgsbase_restore'],
  ...['sigaltstack', 'fsgsbase', 'sysret_rip', 'syscall_numbering', 'corrupt_xstate_header', 'amx', 'ldt_gdt'],
  'ptrace_syscall',
];
const EXTRA: Readonly<Record<string, readonly string[]>> = {
  sysret_ss_attrs: ['thunks.S'],
  check_initial_reg_state: ['-Wl,-ereal_start'],
};
/** It looks for the vDSO with dlopen, which needs the dynamic linker. */
const DYNAMIC = new Set(['test_vsyscall']);
const LIBRARIES = ['/lib64/ld-linux-x86-64.so.2', '/lib/x86_64-linux-gnu/libc.so.6'];
const PROGRAMS = new URL('../test/programs/', import.meta.url).pathname;
const BIN = new URL('../bin/ukl-emu.js', import.meta.url).pathname;
const SECONDS = 900;

/** Compiles the tests; returns the directory with them. */
async function build(): Promise<string> {
  const source = await resolveNewest(SOURCE);
  const directory = join(CACHE, `x86-selftests-${source.version}`);
  const made = await readdir(directory).catch(() => []);
  if (made.length === TESTS.length) return directory;
  const scratch = await mkdtemp(join(CACHE, 'selftests-'));
  await withCleanup(
    () => rm(scratch, { recursive: true, force: true }),
    async () => {
      await unpack(await fetchPackage(source), scratch);
      const wanted = ['tools/testing/selftests/x86', 'tools/testing/selftests/kselftest.h', 'arch/x86/include/asm'];
      const archive = join(scratch, `usr/src/${SOURCE}.tar.xz`);
      await run('tar', ['-C', scratch, '-xJf', archive, ...wanted.map((path) => `${SOURCE}/${path}`)]);
      const cwd = join(scratch, SOURCE, 'tools/testing/selftests/x86');
      await mkdir(directory, { recursive: true });
      for (const test of TESTS) {
        const link = DYNAMIC.has(test) ? [] : ['-static'];
        const flags = ['-m64', '-O2', '-std=gnu99', '-pthread', '-w', '-no-pie', '-s', '-I..', ...link];
        // the 32-bit halves of some tests are run with INT 80h from 64-bit code
        const defines = ['-DCAN_BUILD_32', '-DCAN_BUILD_64'];
        await run('gcc', [...flags, ...defines, `${test}.c`, ...(EXTRA[test] ?? []), '-o', join(scratch, test)], {
          cwd,
        });
        await copyFile(join(scratch, test), join(directory, test));
      }
    },
  );
  return directory;
}

async function initrd(directory: string, tests: readonly string[], scratch: string): Promise<string> {
  const init = join(scratch, 'init');
  await run('gcc', ['-O1', '-static', '-s', join(PROGRAMS, 'selftest-init.c'), '-o', init]);
  const file = async (path: string, from: string): Promise<Entry> => ({
    kind: 'file',
    path,
    mode: 0o755,
    content: await readFile(from),
  });
  const directories = ['dev', 'tests', 'lib64', 'lib', 'lib/x86_64-linux-gnu'];
  const entries: Entry[] = [
    ...directories.map((path): Entry => ({ kind: 'directory', path })),
    { kind: 'device', path: 'dev/console', major: 5, minor: 1 },
    await file('init', init),
    ...(await Promise.all(LIBRARIES.map((path) => file(path.slice(1), path)))),
    ...(await Promise.all(tests.map((test) => file(`tests/${test}`, join(directory, test))))),
  ];
  const path = join(scratch, 'selftests.cpio');
  await writeFile(path, cpio(entries, 0));
  return path;
}

interface Result {
  /** As PID 1 says: "exit 0", "signal 11"; undefined if it never ended. */
  readonly end: string | undefined;
  readonly ok: number;
  readonly failed: readonly string[];
}
function results(log: string): Map<string, Result> {
  const found = new Map<string, Result>();
  for (const [, name = '', body = ''] of log.matchAll(
    /^@@ start (\S+)\n([\s\S]*?)(?=^@@ start|^@@ done|$(?![\s\S]))/gm,
  )) {
    const failed = [...body.matchAll(/^(\[FAIL\].*|not ok .*)$/gm)].map(([line]) => line);
    const end = /^@@ end \S+ (.*)$/m.exec(body)?.[1];
    found.set(name, { end, ok: [...body.matchAll(/^(\[OK\]|ok )/gm)].length, failed });
  }
  return found;
}
const passes = (result: Result | undefined): boolean => result?.end === 'exit 0' && result.failed.length === 0;

runMain('x86-selftests', async () => {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string' },
      cpu: { type: 'string', default: 'max' },
      engine: { type: 'string', default: 'auto' },
      with: { type: 'string', default: 'ukl-emu,qemu' },
      only: { type: 'string' },
      log: { type: 'string' },
    },
  });
  const { kernel } = values;
  if (kernel === undefined) throw new Failure('--kernel names no file; give a Debian kernel (npm run images:debian)');
  const tests = TESTS.filter((test) => values.only === undefined || values.only.split(',').includes(test));
  await mkdir(CACHE, { recursive: true });
  const scratch = await mkdtemp(join(CACHE, 'selftests-run-'));
  await withCleanup(
    () => rm(scratch, { recursive: true, force: true }),
    async () => {
      const archive = await initrd(await build(), tests, scratch);
      const append = 'console=ttyS0 panic=-1 quiet';
      const qemuCpu = values.cpu;
      const commands: Readonly<Record<string, readonly [string, readonly string[]]>> = {
        'ukl-emu': [
          process.execPath,
          [
            ...[BIN, 'boot', kernel, '--initrd', archive, '--append', append, '--cpu', values.cpu],
            // the same run each time
            ...['--clock', 'instructions', '--engine', values.engine, '--timeout', `${SECONDS}`],
          ],
        ],
        qemu: [
          'qemu-system-x86_64',
          [
            ...['-accel', 'tcg,thread=single', '-m', '512', '-cpu', qemuCpu, '-display', 'none', '-no-reboot'],
            ...['-kernel', kernel, '-initrd', archive, '-append', append, '-serial', 'stdio', '-monitor', 'none'],
          ],
        ],
      };
      const all = new Map<string, Map<string, Result>>();
      for (const name of values.with.split(',')) {
        const command = commands[name];
        if (command === undefined)
          throw new Failure(`--with ${name}: is not one of ${Object.keys(commands).join(', ')}`);
        const { stdout } = await capture(command[0], command[1]);
        const log = stdout.toString().replaceAll('\r', '');
        if (values.log !== undefined) {
          await mkdir(values.log, { recursive: true });
          await writeFile(join(values.log, `${basename(name)}.log`), log);
        }
        all.set(name, results(log));
      }
      let worse = 0;
      for (const test of tests) {
        const columns = [...all].map(([name, found]) => {
          const result = found.get(test);
          return `${name}: ${passes(result) ? 'pass' : 'FAIL'} (${result?.end ?? 'did not end'}, ${result?.ok ?? 0} OK)`;
        });
        console.log(`${test.padEnd(24)} ${columns.join('   ')}`);
        for (const [name, found] of all)
          for (const line of found.get(test)?.failed ?? []) console.log(`    ${name}: ${line}`);
        if (passes(all.get('qemu')?.get(test)) && all.has('ukl-emu') && !passes(all.get('ukl-emu')?.get(test))) worse++;
      }
      if (worse > 0) process.exitCode = 1;
    },
  );
});
