import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bochsConfiguration, bootLoaderConfiguration, findBochs } from '../../../bench/bochs.ts';
import { findOptionalEngines } from '../../../bench/optional-engines.ts';
import { findV86, LINUX_686, missingFor32Bit, v86 } from '../../../bench/v86.ts';

const BOCHS_HELP = [
  "00000000000i[      ] LTDL_LIBRARY_PATH not set. using compile time default '/usr/lib/bochs/plugins'",
  'Usage: bochs [flags] [bochsrc options]',
  '  -rc filename     execute debugger commands stored in file',
  '                        Bochs x86 Emulator 2.7',
].join('\n');

describe('finding Bochs', () => {
  it('takes version and debugger from what its help says', () => {
    expect(
      findBochs(
        () => true,
        () => BOCHS_HELP,
      ),
    ).toEqual({ version: '2.7', hasDebugger: true });
    const plain = BOCHS_HELP.replace(/.*-rc.*\n/, '');
    expect(
      findBochs(
        () => true,
        () => plain,
      ),
    ).toEqual({ version: '2.7', hasDebugger: false });
  });

  it('says in one line what to install when it is not there', () => {
    const hint = findBochs(
      () => false,
      () => '',
    );
    expect(hint).toMatch(
      /^bochs is not installed[^\n]*apt-get install bochs bochs-term bochsbios vgabios isolinux [^\n]*xorriso$/,
    );
  });

  it('names only the packages that are missing beside it', () => {
    const without = (file: string) =>
      findBochs(
        (path) => !path.includes(file),
        () => BOCHS_HELP,
      );
    expect(without('xorriso')).toMatch(/apt-get install xorriso$/);
    expect(without('libbx_term_gui')).toMatch(/apt-get install bochs-term$/);
  });
});

describe("Bochs's configuration", () => {
  const lines = bochsConfiguration('/tmp/a b', 256).split('\n');

  it('has no window and writes the serial port to the FIFO', () => {
    expect(lines).toContain('display_library: term');
    expect(lines).toContain('com1: enabled=1, mode=file, dev="/tmp/a b/console"');
    expect(lines).toContain('memory: guest=256, host=256');
  });

  it('names every option once, as it takes the last of two', () => {
    const names = lines.filter((line) => line !== '').map((line) => line.split(':')[0]);
    expect(new Set(names).size).toBe(names.length);
  });

  it('boots the kernel with its command line without waiting for a key', () => {
    const text = bootLoaderConfiguration('console=ttyS0 scale=40');
    expect(text).toMatch(/^ {2}KERNEL \/kernel\n {2}INITRD \/initrd\n {2}APPEND console=ttyS0 scale=40$/m);
    expect(text).toMatch(/^PROMPT 0$/m);
  });
});

describe('finding v86', () => {
  it('takes a directory that is the package, or one that has it in node_modules', () => {
    const at = (directory: string) => (path: string) =>
      path.startsWith(directory) || path.startsWith('/usr/share/seabios');
    expect(findV86('/opt/v86', at('/opt/v86/build'))).toMatchObject({ directory: '/opt/v86' });
    const below = join('/opt/x', 'node_modules/v86');
    expect(findV86('/opt/x', at(below))).toMatchObject({ directory: below });
  });

  it('says in one line how to get what is missing', () => {
    expect(findV86(undefined, () => false)).toMatch(/^v86 is not installed[^\n]*npm install --no-save v86[^\n]*$/);
    expect(findV86('/nowhere', () => false)).toMatch(/^--v86 \/nowhere: no v86 there/);
    expect(findV86('/opt/v86', (path) => path.startsWith('/opt'))).toMatch(/apt-get install seabios$/);
    expect(
      missingFor32Bit(
        () => true,
        () => true,
      ),
    ).toBeUndefined();
    expect(
      missingFor32Bit(
        (path) => path !== LINUX_686,
        () => false,
      ),
    ).toMatch(/linux-686\.ts.*gcc-multilib$/);
  });

  it('starts the guest with the same words as the other engines', () => {
    const guest = { kernel: '/k', initrd: '/i', append: 'console=ttyS0 quiet', memoryMegabytes: 256 };
    const { args } = v86({ version: '1', directory: '/opt/v86' }, guest);
    expect(JSON.parse(args.at(-1)!)).toMatchObject({ ...guest, directory: '/opt/v86' });
  });
});

describe('optional engines', () => {
  const there = {
    bochs: () => ({ version: '2.7', hasDebugger: true }),
    v86: () => ({ version: '0.5', directory: '/opt/v86' }),
    missingFor32Bit: () => undefined,
  };
  const absent = { bochs: () => 'no Bochs', v86: () => 'no v86', missingFor32Bit: () => 'no kernel' };

  it('have no hints where they are installed', () => {
    const found = findOptionalEngines({}, there);
    expect(found).toMatchObject({ bochs: { version: '2.7' }, v86: { version: '0.5' }, hints: [] });
  });

  it('have one hint each where they are not, and nothing about a kernel that nobody would run', () => {
    expect(findOptionalEngines({}, absent).hints).toEqual(['no Bochs', 'no v86']);
    expect(findOptionalEngines({}, { ...there, missingFor32Bit: () => 'no kernel' }).hints).toEqual(['no kernel']);
  });

  it('are left out without a word on request', () => {
    const found = findOptionalEngines({ without: ['bochs', 'v86'] }, absent);
    expect(found).toMatchObject({ bochs: undefined, v86: undefined, hints: [] });
  });

  it('fail where the user is wrong about them', () => {
    expect(() => findOptionalEngines({ v86: '/nowhere' }, absent)).toThrow('no v86');
    expect(() => findOptionalEngines({ without: ['simics'] }, there)).toThrow('there are bochs, v86');
  });
});
