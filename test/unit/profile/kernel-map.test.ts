import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { parseSymbolMap } from '../../../src/loader/symbols.ts';
import { KernelMap, plainName } from '../../../src/profile/kernel-map.ts';

const map = (text: string): KernelMap => new KernelMap(parseSymbolMap(text));
const at = (address: bigint): number => Number(BigInt.asIntN(64, address));

const SYMBOLS = `
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000000 T _stext
ffffffff81000100 T do_syscall_64
ffffffff81000200 T vfs_read
ffffffff81000300 t exit_to_user_mode_prepare.constprop.0
ffffffff81000400 T ukl_load
ffffffff81000500 T kernel_thing
ffffffff81000600 T ukl__start
ffffffff81000640 t ukl_helper
ffffffff81000700 T another_thing
ffffffff81001000 T __entry_text_start
ffffffff81001000 T entry_SYSCALL_64
ffffffff81001100 T ukl_entry_SYSCALL_64
ffffffff81001200 T __entry_text_end
ffffffff81001200 T __static_call_text_end
ffffffff81001200 T ukl_main
ffffffff81001300 T _etext
`;

describe('a kernel map', () => {
  test.each([
    [0xffff_ffff_8100_0010n, 'kernel', 'startup_64'],
    [0xffff_ffff_8100_0150n, 'entry', 'do_syscall_64'],
    [0xffff_ffff_8100_0200n, 'kernel', 'vfs_read'],
    [0xffff_ffff_8100_0304n, 'entry', 'exit_to_user_mode_prepare.constprop.0'],
    // a kernel function with the application's prefix, and the application's own
    [0xffff_ffff_8100_0404n, 'kernel', 'ukl_load'],
    [0xffff_ffff_8100_0600n, 'application', 'ukl__start'],
    [0xffff_ffff_8100_06ffn, 'application', 'ukl_helper'],
    [0xffff_ffff_8100_0700n, 'kernel', 'another_thing'],
    [0xffff_ffff_8100_1000n, 'entry', 'entry_SYSCALL_64'],
    [0xffff_ffff_8100_11ffn, 'entry', 'ukl_entry_SYSCALL_64'],
    [0xffff_ffff_8100_1200n, 'application', 'ukl_main'],
  ])('%x is %s code of %s', (address, part, name) => {
    expect(map(SYMBOLS).locate(at(address), false)).toMatchObject({ part, name });
  });

  test('code without symbols is the kernel’s or the user’s by its ring', () => {
    expect(map(SYMBOLS).locate(0x7c00, false)).toEqual({ part: 'kernel', name: '0x7c00', start: 0x7c00 });
    expect(map(SYMBOLS).locate(0x40_1234, true)).toMatchObject({ part: 'user', name: '0x401234' });
    expect(map('').locate(at(0xffff_ffff_8100_0000n), false)).toMatchObject({ name: '0xffffffff81000000' });
  });

  test('functions end where the next begins, or by their size', () => {
    expect(map(SYMBOLS).endOf(at(0xffff_ffff_8100_0210n))).toBe(at(0xffff_ffff_8100_0300n));
    expect(map(SYMBOLS).endOf(at(0xffff_ffff_8100_1300n))).toBe(Number.POSITIVE_INFINITY);
  });
});

test.each([
  ['do_syscall_64', 'do_syscall_64'],
  ['update_curr.constprop.0', 'update_curr'],
  ['foo.isra.0.part.3', 'foo'],
  ['bar.cold', 'bar'],
  ['a.b', 'a.b'],
])('%s is plainly %s', (name, plain) => expect(plainName(name)).toBe(plain));

test('the prebuilt kernels: the application is what its archive brought', () => {
  for (const name of ['ukl-bench', 'ukl-echo']) {
    const packed = readFileSync(new URL(`../../../images/prebuilt/${name}.System.map.gz`, import.meta.url));
    const symbols = parseSymbolMap(gunzipSync(packed).toString());
    const kernel = new KernelMap(symbols);
    const partOf = (function_: string): string => {
      const symbol = symbols.find(function_);
      return symbol === undefined ? 'absent' : kernel.locate(at(symbol.address), false).part;
    };
    for (const own of ['ukl__start', 'ukl_start', 'ukl_main', 'ukl_print', 'ukl_memset'])
      expect(partOf(own)).toBe('application');
    for (const entry of [
      'entry_SYSCALL_64',
      'ukl_entry_SYSCALL_64',
      'ukl_bypass',
      'asm_exc_page_fault',
      'do_syscall_64',
    ]) {
      expect(partOf(entry)).toBe('entry');
    }
    for (const body of ['ukl_load', 'ukl_start_thread', 'vfs_read', 'tcp_sendmsg', '__x64_sys_getppid']) {
      expect(partOf(body)).toBe('kernel');
    }
  }
});
