import { expect, test } from 'vitest';
import { DebugConsole, DebugExit, PostPort } from '../../../src/devices/debug-ports.ts';
import { FwCfg } from '../../../src/devices/fw-cfg.ts';
import { hammer, TestClock } from './fuzz.ts';

test('debug exit: (v << 1) | 1, as an exit code can hold it', () => {
  const codes: number[] = [];
  const device = new DebugExit({ onDebugExit: (code) => codes.push(code) });
  device.write(0, 1, 0);
  device.write(0, 4, 0x10);
  device.write(0, 4, 0xffffffff);
  expect([codes, device.read(0, 4)]).toEqual([[1, 0x21, 0xff], 0]);
  hammer(device, new TestClock(), [0, 1, 2, 3]);
});

test('debug console: reads 0xe9, gathers bytes for flush or 1024 of them', () => {
  const batches: string[] = [];
  const device = new DebugConsole({ sink: (bytes) => batches.push(new TextDecoder('latin1').decode(bytes)) });
  for (const c of 'hi\n') device.write(0, 1, c.charCodeAt(0));
  expect([device.read(0, 1), batches]).toEqual([0xe9, []]);
  device.flush();
  device.flush();
  for (let i = 0; i < 1024; i++) device.write(0, 1, 0x2e);
  expect(batches).toEqual(['hi\n', '.'.repeat(1024)]);
  hammer(device, new TestClock(), [0]);
});

test('POST port: reads back the last code', () => {
  const device = new PostPort();
  device.write(0, 1, 0x1a5);
  expect([device.read(0, 1), device.code]).toEqual([0xa5, 0xa5]);
  device.reset();
  expect(device.code).toBe(0);
  hammer(device, new TestClock(), [0]);
});

test('fw_cfg: items by selector, byte by byte, zeros past the end', () => {
  const device = new FwCfg({ memory: 0x1_2345_6000, processors: 3, items: new Map([[0x8001, Uint8Array.of(9, 8)]]) });
  const item = (selector: number, length: number) => {
    device.write(0, 2, selector);
    return Array.from({ length }, () => device.read(1, 1));
  };
  expect(String.fromCharCode(...item(0, 4))).toBe('QEMU');
  expect(item(1, 5)).toEqual([1, 0, 0, 0, 0]);
  expect(item(3, 8)).toEqual([0x00, 0x60, 0x45, 0x23, 1, 0, 0, 0]);
  expect([item(5, 2), item(0x0f, 2), item(0x19, 4)]).toEqual([
    [3, 0],
    [3, 0],
    [0, 0, 0, 0],
  ]);
  expect([item(0x8001, 3), item(0x7777, 1)]).toEqual([[9, 8, 0], [0]]);
  device.write(0, 2, 0);
  device.read(1, 1);
  device.write(1, 1, 0xff);
  const saved = device.save();
  device.reset();
  device.load(saved);
  expect(device.read(1, 1)).toBe('E'.charCodeAt(0));
  hammer(device, new TestClock(), [0, 1]);
});
