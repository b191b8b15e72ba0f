import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as aml from '../../../src/boot/acpi/aml.ts';
import { buildAcpiTables } from '../../../src/boot/acpi/tables.ts';
import { buildMpPointer, buildMpTable } from '../../../src/boot/mptable.ts';
import { pciInterruptLine } from '../../../src/layout.ts';

const BASE = 0x1fff_0000;

interface Table {
  readonly signature: string;
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly data: DataView;
}

/** The table at `address` in `image`, which lies at BASE. */
function tableAt(image: Uint8Array, address: number): Table {
  const offset = address - BASE;
  const length = new DataView(image.buffer, image.byteOffset + offset).getUint32(4, true);
  const bytes = image.subarray(offset, offset + length);
  const data = new DataView(image.buffer, image.byteOffset + offset, length);
  return { signature: new TextDecoder().decode(bytes.subarray(0, 4)), address, bytes, data };
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

/** Walks the tables as a guest does: root pointer, XSDT and RSDT, FADT, DSDT and FACS. */
function walk(cpus: number, hpet: boolean): Map<string, Table> {
  const { bytes: image, rsdp } = buildAcpiTables(BASE, { cpus, hpet });
  expect(new TextDecoder().decode(rsdp.subarray(0, 8))).toBe('RSD PTR ');
  expect(sum(rsdp.subarray(0, 20))).toBe(0);
  expect(sum(rsdp)).toBe(0);
  const root = new DataView(rsdp.buffer);
  const rsdt = tableAt(image, root.getUint32(16, true));
  const xsdt = tableAt(image, Number(root.getBigUint64(24, true)));
  const fromRsdt = [];
  for (let at = 36; at < rsdt.bytes.length; at += 4) fromRsdt.push(rsdt.data.getUint32(at, true));
  const fromXsdt = [];
  for (let at = 36; at < xsdt.bytes.length; at += 8) fromXsdt.push(Number(xsdt.data.getBigUint64(at, true)));
  expect(fromXsdt).toEqual(fromRsdt);
  const tables = [rsdt, xsdt, ...fromXsdt.map((address) => tableAt(image, address))];
  const fadt = tables.find(({ signature }) => signature === 'FACP')!;
  const dsdt = tableAt(image, fadt.data.getUint32(40, true));
  expect(Number(fadt.data.getBigUint64(140, true))).toBe(dsdt.address);
  for (const table of [...tables, dsdt]) expect([table.signature, sum(table.bytes)]).toEqual([table.signature, 0]);
  const facs = tableAt(image, fadt.data.getUint32(36, true));
  return new Map([...tables, dsdt, facs].map((table) => [table.signature, table]));
}

describe('ACPI tables', () => {
  it('form a tree with right checksums', () => {
    expect([...walk(1, false).keys()]).toEqual(['RSDT', 'XSDT', 'FACP', 'APIC', 'DSDT', 'FACS']);
    expect([...walk(4, true).keys()]).toEqual(['RSDT', 'XSDT', 'FACP', 'APIC', 'HPET', 'DSDT', 'FACS']);
  });

  it('tell where the fixed hardware is', () => {
    const tables = walk(1, true);
    const { data, bytes } = tables.get('FACP')!;
    expect(bytes).toHaveLength(244);
    expect(data.getUint16(46, true)).toBe(9);
    expect([data.getUint32(48, true), bytes[52], bytes[53]]).toEqual([0xb2, 0xf1, 0xf0]);
    expect([data.getUint32(56, true), data.getUint32(64, true), data.getUint32(76, true)]).toEqual([
      0x600, 0x604, 0x608,
    ]);
    expect([bytes[88], bytes[89], bytes[91]]).toEqual([4, 2, 4]);
    expect([Number(data.getBigUint64(120, true)), bytes[128]]).toEqual([0xcf9, 6]);
    expect(Number(data.getBigUint64(212, true))).toBe(0x608);
    expect(tables.get('FACS')!.address % 64).toBe(0);
    expect(Number(tables.get('HPET')!.data.getBigUint64(44, true))).toBe(0xfed0_0000);
  });

  it('list every CPU and the IOAPIC, with the PIT on pin 2', () => {
    const { data, bytes } = walk(3, false).get('APIC')!;
    expect(data.getUint32(36, true)).toBe(0xfee0_0000);
    const entries: [number, Uint8Array][] = [];
    for (let at = 44; at < bytes.length; at += bytes[at + 1]!) {
      entries.push([bytes[at]!, bytes.subarray(at + 2, at + bytes[at + 1]!)]);
    }
    const ofType = (type: number) => entries.filter(([found]) => found === type).map(([, body]) => [...body]);
    expect(ofType(0).map(([uid, id, flags]) => [uid, id, flags])).toEqual([
      [0, 0, 1],
      [1, 1, 1],
      [2, 2, 1],
    ]);
    expect(ofType(1)).toEqual([[0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]]);
    expect(ofType(2).map(([, source, target, , , , flags]) => [source, target, flags])).toEqual([
      [0, 2, 0],
      [9, 9, 0x0d],
      [10, 10, 0x0f],
      [11, 11, 0x0f],
    ]);
  });

  it('are these bytes: a change of the DSDT must be checked with iasl', () => {
    const dsdt = walk(1, true).get('DSDT')!;
    expect(createHash('sha256').update(dsdt.bytes).digest('hex')).toBe(
      'a2636b9f067c6d0d261606064de42d1af385de14fa34a0e337d66a9a4877dcff',
    );
  });

  it.skipIf(!hasIasl())('disassemble with iasl, and compile again without complaint', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ukl-acpi-'));
    try {
      for (const [signature, { bytes }] of walk(2, true)) writeFileSync(join(folder, `${signature}.dat`), bytes);
      const run = (...options: string[]) => execFileSync('iasl', options, { cwd: folder, stdio: 'pipe' }).toString();
      for (const signature of ['FACP', 'APIC', 'HPET', 'RSDT', 'XSDT', 'FACS']) run('-d', `${signature}.dat`);
      run('-d', 'DSDT.dat');
      expect(run('DSDT.dsl')).toContain('Compilation successful. 0 Errors, 0 Warnings');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function hasIasl(): boolean {
  try {
    execFileSync('iasl', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('AML', () => {
  const bytes = (value: Uint8Array) => [...value];

  it('encodes integers in as few bytes as they take', () => {
    expect(bytes(aml.integer(0))).toEqual([0]);
    expect(bytes(aml.integer(1))).toEqual([1]);
    expect(bytes(aml.integer(0xff))).toEqual([0x0a, 0xff]);
    expect(bytes(aml.integer(0x1234))).toEqual([0x0b, 0x34, 0x12]);
    expect(bytes(aml.integer(0x12_3456))).toEqual([0x0c, 0x56, 0x34, 0x12, 0]);
  });

  it('encodes EISA ids as the specification example', () => {
    expect(bytes(aml.eisaId('PNP0C09'))).toEqual([0x0c, 0x41, 0xd0, 0x0c, 0x09]);
  });

  it.each([1, 61, 62, 63, 64, 0xffc, 0xffd, 0xffe, 0x2000])('a package length counts itself (%d bytes)', (size) => {
    const encoded = aml.scope('X', new Uint8Array(size)).subarray(1);
    const extra = encoded[0]! >> 6;
    let length = extra === 0 ? encoded[0]! & 0x3f : encoded[0]! & 0x0f;
    for (let index = 0; index < extra; index++) length |= encoded[1 + index]! << (4 + 8 * index);
    expect(length).toBe(encoded.length);
  });
});

describe('MP table', () => {
  it('has right lengths, counts and checksums', () => {
    for (const cpus of [1, 2, 64]) {
      const table = buildMpTable(cpus);
      const data = new DataView(table.buffer);
      expect(new TextDecoder().decode(table.subarray(0, 4))).toBe('PCMP');
      expect(data.getUint16(4, true)).toBe(table.length);
      expect(sum(table)).toBe(0);
      let entries = 0;
      for (let at = 44; at < table.length; entries++) at += table[at] === 0 ? 20 : 8;
      expect(data.getUint16(34, true)).toBe(entries);
    }
    const pointer = buildMpPointer(0x1234_0000);
    expect(pointer).toHaveLength(16);
    expect(sum(pointer)).toBe(0);
    expect(new DataView(pointer.buffer).getUint32(4, true)).toBe(0x1234_0000);
  });

  it('routes every PCI pin as layout.ts says, and no ISA line to a PCI pin', () => {
    const table = buildMpTable(1);
    const routes: { bus: number; source: number; pin: number; type: number }[] = [];
    for (let at = 44; at < table.length; at += table[at] === 0 ? 20 : 8) {
      if (table[at] === 3) {
        routes.push({ type: table[at + 1]!, bus: table[at + 4]!, source: table[at + 5]!, pin: table[at + 7]! });
      }
    }
    const pci = routes.filter(({ bus }) => bus === 0);
    expect(pci).toHaveLength(128);
    for (const { source, pin } of pci) expect(pin).toBe(pciInterruptLine(source >> 2, source & 3));
    const isa = routes.filter(({ bus, type }) => bus === 1 && type === 0);
    expect(isa.find(({ source }) => source === 0)?.pin).toBe(2);
    expect(isa.some(({ pin }) => pin === 10 || pin === 11)).toBe(false);
  });
});
