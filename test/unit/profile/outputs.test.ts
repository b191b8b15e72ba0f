import fc from 'fast-check';
import { gunzipSync } from 'fflate';
import { Profile as Pprof } from 'pprof-format';
import { describe, expect, test } from 'vitest';
import { collapsedStacks } from '../../../src/profile/collapsed.ts';
import { flameGraph } from '../../../src/profile/flame-graph.ts';
import { pprofFile } from '../../../src/profile/pprof.ts';
import { addSample, newProfile, type ProfileFrame } from '../../../src/profile/profile.ts';
import { functionShares, topTable } from '../../../src/profile/top-table.ts';

const frame = (name: string, part: ProfileFrame['part'] = 'kernel', address = -0x1000): ProfileFrame => ({
  name,
  part,
  address,
});
const TASK = frame('init 1', 'task', 0);

/** Stacks from the innermost frame outwards, the task last. */
function profileOf(...stacks: (readonly ProfileFrame[])[]) {
  const profile = newProfile(1000);
  for (const stack of stacks) addSample(profile, stack);
  return profile;
}

const PROFILE = profileOf(
  [frame('read'), frame('entry', 'entry'), TASK],
  [frame('read'), frame('entry', 'entry'), TASK],
  [frame('entry', 'entry'), TASK],
  [frame('walk'), frame('walk'), frame('read'), TASK],
  [frame('[user]', 'user', 0), frame('a;b', 'task', 0)],
);

test('collapsed stacks: outermost first, instructions as counts', () => {
  expect(collapsedStacks(PROFILE)).toBe(
    ['init_1;entry 1000', 'init_1;entry;read 2000', 'init_1;read;walk;walk 1000', 'a_b;[user] 1000', ''].join('\n'),
  );
});

test('shares: recursion counts once, tasks are no functions', () => {
  const shares = functionShares(PROFILE).map(({ frame: { name }, self, total }) => [name, self, total]);
  expect(shares).toEqual([
    ['read', 2, 3],
    ['entry', 1, 3],
    ['[user]', 1, 1],
    ['walk', 1, 1],
  ]);
  const table = topTable(PROFILE, 2);
  expect(table).toContain('5 samples, one every 1000 instructions');
  expect(table).toContain('code: kernel 60.0 %, entry 20.0 %, user 20.0 %');
  expect(table).toContain('tasks: init 1 80.0 %, a;b 20.0 %');
  expect(table).toMatch(/^ {2}40\.0 % {4}60\.0 % {2}read$/m);
  expect(table).not.toContain('walk');
});

describe('the file for pprof', () => {
  test('holds samples, instructions, functions and tasks', async () => {
    const file = Pprof.decode(gunzipSync(await pprofFile(PROFILE)));
    const text = (index: number | bigint): string => file.stringTable.strings[Number(index)]!;
    expect(file.sampleType.map(({ type, unit }) => [text(type), text(unit)])).toEqual([
      ['samples', 'count'],
      ['instructions', 'count'],
    ]);
    expect(Number(file.period)).toBe(1000);
    const functions = new Map(file.function.map(({ id, name }) => [Number(id), text(name)]));
    const locations = new Map(file.location.map((location) => [Number(location.id), location]));
    const samples = file.sample.map(({ locationId, value, label }) => ({
      functions: locationId.map((id) => functions.get(Number(locations.get(Number(id))!.line[0]!.functionId))),
      value: value.map(Number),
      task: text(label[0]!.str),
    }));
    expect(samples).toEqual([
      { functions: ['entry'], value: [1, 1000], task: 'init 1' },
      { functions: ['read', 'entry'], value: [2, 2000], task: 'init 1' },
      { functions: ['walk', 'walk', 'read'], value: [1, 1000], task: 'init 1' },
      { functions: ['[user]'], value: [1, 1000], task: 'a;b' },
    ]);
    expect(file.mapping.map(({ filename }) => text(filename)).sort()).toEqual(['[entry]', '[kernel]', '[user]']);
    expect(BigInt(file.location[0]!.address)).toBe(0xffff_ffff_ffff_f000n);
  });
});

describe('the flame graph', () => {
  test('is well-formed whatever the names', () => {
    const svg = flameGraph(profileOf([frame('<a>&"b"'), TASK]), 'a <kernel>');
    expect(svg).toContain('&#60;a&#62;&#38;&#34;b&#34;');
    expect(svg).toContain('a &#60;kernel&#62;');
    expect(svg.match(/<g>/g)).toHaveLength(3);
    expect(svg.match(/<\/g>/g)).toHaveLength(3);
  });

  test('draws nothing wider than what it stands on', () => {
    const names = fc.constantFrom('a', 'b', 'c', 'd');
    fc.assert(
      fc.property(
        fc.array(fc.array(names, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 40 }),
        (stacks) => {
          const profile = profileOf(...stacks.map((stack) => [...stack.map((name) => frame(name)), TASK]));
          expect(profile.root.total).toBe(stacks.length);
          const total = collapsedStacks(profile)
            .trim()
            .split('\n')
            .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
          expect(total).toBe(stacks.length * 1000);
          const widths = [...flameGraph(profile, 't').matchAll(/<rect x="[\d.]+" y="(\d+)" width="([\d.]+)"/g)];
          const rows = new Map<number, number>();
          for (const [, y, width] of widths) rows.set(Number(y), (rows.get(Number(y)) ?? 0) + Number(width));
          for (const width of rows.values()) expect(width).toBeLessThan(1180.5);
        },
      ),
      { numRuns: 50 },
    );
  });
});
